"""In `whalefall dev`: asks for a reload when a file changes that the Plan is made of. `… RUN_DIR FILE…`

It looks twice a second at four files: inotify would save nothing that one could measure, and misses what a container's
mounts change.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError

LOOK_EVERY_S = 0.5
_PLANNED_WITHIN_S = 90.0  # the supervisor ends a planner after 60


def main(argv: Sequence[str]) -> None:
    """For ever; whoever started it ends it."""
    run_dir, files = Path(argv[0]), [Path(word) for word in argv[1:]]
    before = seen(files)
    while True:
        time.sleep(LOOK_EVERY_S)
        now = seen(files)
        if changed := [file for file in files if now[file] != before[file]]:
            before = now
            print(f"{', '.join(file.name for file in changed)} changed: {_reload(run_dir)}", flush=True)


def seen(files: Sequence[Path]) -> dict[Path, tuple[int, int, int] | None]:
    """What changes when a file is written, replaced, made or removed; None for one that is not there."""
    found: dict[Path, tuple[int, int, int] | None] = {}
    for file in files:
        try:
            state = file.stat()
        except OSError:
            found[file] = None
        else:
            found[file] = (state.st_mtime_ns, state.st_size, state.st_ino)
    return found


def _reload(run_dir: Path) -> str:
    """What came of it; the reasons of a refusal are the planner's own sentence."""
    try:
        answer = ask(run_dir, Request("reload"), _PLANNED_WITHIN_S)
    except ControlError as error:
        return str(error)
    changed = answer.get("changed", [])
    return f"the new Plan is applied to {', '.join(changed)}" if changed else "nothing in the Plan has changed"


if __name__ == "__main__":
    main(sys.argv[1:])
