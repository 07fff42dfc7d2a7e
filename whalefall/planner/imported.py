"""In a child of `whalefall check`: imports the application and tells which schedulers of its own it wanted to start.

`python -m whalefall.planner.imported MODULE:CALLABLE FILE` writes one JSON object to FILE. Nothing is started:
APScheduler's `start` is replaced by one that takes notes, and our own scheduler, which does not use it, is told not to
run.
"""

import inspect
import json
import os
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType, FunctionType
from typing import Any

from apscheduler.schedulers.base import BaseScheduler

from whalefall.errors import ConfigError
from whalefall.planner import places

_NOT_THE_USERS = ("apscheduler", "flask_apscheduler")
_SENTENCES = {"AppImportError", "WhalefallError"}  # Gunicorn's and ours; the class would tell nobody more
_INSTALLED = {"site-packages", "dist-packages"}
_SCHEDULER, _PAGES = "whalefall_scheduler", "whalefall"  # what our two leave in `app.extensions`
_MESSAGE_SHOWN = 300  # characters; a database's has a paragraph
_END_WITHIN_S = 2.0


def main(spec: str, answer: Path) -> None:
    """Writes {"started": [{"what", "file", "line"}], "problem": {…} or null, "pages_missing": …, "ledger": …}."""
    started: list[dict[str, Any]] = []

    def note(scheduler: BaseScheduler, *_: Any, **__: Any) -> None:
        started.append(_where(type(scheduler).__name__))

    BaseScheduler.start = note
    problem, pages_missing, ledger = None, False, ""
    try:
        from gunicorn.util import import_app  # noqa: PLC0415 - it reads MODULE:CALLABLE as the web will

        found = import_app(spec)
        problem, pages_missing = _no_application(found, spec), _pages_missing(found)
        ledger = _ledger_refused(found)
    except BaseException as error:  # noqa: BLE001 - the border: whatever a module does
        problem = _told(error, spec.partition(":")[0].partition(".")[0])
    told = {"started": started, "problem": problem, "pages_missing": pages_missing, "ledger": ledger}
    answer.write_text(json.dumps(told), encoding="utf-8")
    # A thread that the application started on import would keep this process for ever.
    threading.Thread(target=_end_anyway, daemon=True).start()


def _no_application(found: Any, spec: str) -> dict[str, Any] | None:
    """A factory that was named without being called: each request would end in its TypeError."""
    if not isinstance(found, FunctionType):
        return None
    try:
        inspect.signature(found).bind({}, print)
    except TypeError:
        said = f"it is a function without the two arguments of a WSGI application. If it makes one, write '{spec}()'"
        return {"kinds": ["TypeError"], "text": said, "missing": "", "variable": "", **_at(found)}
    return None


def _at(function: FunctionType) -> dict[str, Any]:
    return {"file": str(Path(function.__code__.co_filename).absolute()), "line": function.__code__.co_firstlineno}


def _pages_missing(found: Any) -> bool:
    """A Flask application with our scheduler, but without our pages."""
    extensions = getattr(found, "extensions", None)
    return isinstance(extensions, dict) and _SCHEDULER in extensions and _PAGES not in extensions


def _ledger_refused(found: Any) -> str:
    """Why no ledger can be opened at the URL that a Flask application has for it; "" when one can. Opens none."""
    extensions = getattr(found, "extensions", None)
    if not isinstance(extensions, dict) or _SCHEDULER not in extensions:
        return ""
    from whalefall.scheduler.ledger.engine import make_engine  # noqa: PLC0415 - the application has loaded it already

    try:
        make_engine(extensions[_SCHEDULER].database_url, make_directory=False)
    except ConfigError as error:
        return str(error)
    return ""


def _told(error: BaseException, package: str) -> dict[str, Any]:
    """The exception in one line, and where it was raised: the innermost line of the user's own code, "" for none."""
    file, line = _place(error, package)
    kind = type(error)
    name = (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )
    said = " ".join((error.msg if isinstance(error, SyntaxError) else _text(error)).split())
    kinds = [each.__name__ for each in kind.__mro__]
    said = said.removeprefix(f"{file}:{line}: ")  # who tells of the problem begins with that
    return {
        "kinds": kinds,
        "text": ": ".join(filter(None, [name * (not _SENTENCES & set(kinds)), said[:_MESSAGE_SHOWN]])),
        "missing": (error.name or "") if isinstance(error, ModuleNotFoundError) else "",
        "variable": _unset_variable(error),
        "file": file,
        "line": line,
    }


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the border: the application's own class
        return ""


def _place(error: BaseException, package: str) -> tuple[str, int]:
    """Of a syntax error its own line; else of the exception, or of the one that it came from."""
    if isinstance(error, SyntaxError) and error.filename and places.is_file(Path(error.filename)):
        return str(Path(error.filename).absolute()), error.lineno or 1
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        own = [(frame, line) for frame, line in traceback.walk_tb(cause.__traceback__) if _is_the_users(frame, package)]
        if own:
            frame, line = own[-1]
            return str(Path(frame.f_code.co_filename).absolute()), line
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "", 0


def _is_the_users(frame: FrameType, package: str) -> bool:
    """Below the working directory, which is the project's, and not installed there; or in the application's package."""
    path = Path(frame.f_code.co_filename)
    if path == Path(__file__) or path.name.startswith("<"):
        return False
    if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package:
        return True
    path, home, environment = path.absolute(), Path.cwd(), Path(sys.prefix)
    in_venv = environment.is_relative_to(home) and environment != home and path.is_relative_to(environment)
    return path.is_relative_to(home) and not in_venv and not _INSTALLED & set(path.parts)


def _unset_variable(error: BaseException) -> str:
    """The variable that was asked of os.environ and is not there; "" for any other error."""
    if not isinstance(error, KeyError) or not error.args:
        return ""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    raised_there = frame.f_globals.get("__name__") == "os" and frame.f_code.co_name == "__getitem__"
    return str(error.args[0]) if raised_there else ""


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


def _end_anyway() -> None:
    time.sleep(_END_WITHIN_S)
    os._exit(0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path.cwd()))
    main(sys.argv[1], Path(sys.argv[2]))
