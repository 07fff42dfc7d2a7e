"""In a child of `whalefall check`: imports the application and tells which schedulers of its own it wanted to start.

`python -m whalefall.planner.imported MODULE:CALLABLE` prints one JSON object. Nothing is started: APScheduler's `start`
is replaced by one that takes notes, and our own scheduler, which does not use it, is told not to run.
"""

import json
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

from apscheduler.schedulers.base import BaseScheduler

_NOT_THE_USERS = ("apscheduler", "flask_apscheduler")


def main(spec: str) -> None:
    """Prints {"started": [{"what", "file", "line"}], "error": "…"}; what the import itself prints goes to stderr."""
    answer, sys.stdout = sys.stdout, sys.stderr
    started: list[dict[str, Any]] = []

    def note(scheduler: BaseScheduler, *_: Any, **__: Any) -> None:
        started.append(_where(type(scheduler).__name__))

    BaseScheduler.start = note
    error = ""
    try:
        from gunicorn.util import import_app  # noqa: PLC0415 - it reads MODULE:CALLABLE as the web will

        import_app(spec)
    except (Exception, SystemExit) as problem:  # noqa: BLE001 - the border: whatever a module does
        error = traceback.format_exception_only(problem)[-1].strip()
    json.dump({"started": started, "error": error}, answer)
    answer.flush()


def _where(name: str) -> dict[str, Any]:
    """The nearest caller that is no library of schedulers."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001 - traceback.extract_stack would read every file
    packages = set()
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _NOT_THE_USERS:
            break
        packages.add(package)
        frame = frame.f_back
    what = "Flask-APScheduler" if "flask_apscheduler" in packages else f"an APScheduler {name}"
    file = "" if frame is None else frame.f_code.co_filename
    return {"what": what, "file": file, "line": 0 if frame is None else frame.f_lineno}


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main(sys.argv[1])
