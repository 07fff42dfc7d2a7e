"""Can the new code be loaded? `reload` asks before the scheduler goes.

Web's old generation goes on until the next one is ready, so that one may try. There is never a second scheduler: the
old one is stopped first, and code that does not load would leave nobody who fires. So a child imports the application
with the variables that the running scheduler has, except that it is told not to schedule. What cannot be found out
is no refusal, and `restart` asks nobody.
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from whalefall.cli.outcome import Row
from whalefall.errors import ControlError

_OUR_SCHEDULER = "[whalefall-scheduler]"  # in the title of our Gunicorn; a command of one's own loads what it likes
# Sockets that the child does not have, and the tags by which the supervisor would take it for a process of its own.
_NOT_THE_CHILDS = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WHALEFALL_SUPERVISOR", "WHALEFALL_LIFE")


def refuse_what_does_not_load(rows: Iterable[Row]) -> None:
    """Raises ControlError with file, line and mend, before anything has been stopped."""
    from whalefall.planner import doctor, services

    for row in rows:
        environ = environ_of_scheduler(row["pid"]) if row["pid"] else {}
        if spec := environ.get("WHALEFALL_APP", ""):
            home = Path(f"/proc/{row['pid']}/cwd").resolve()
            if problem := doctor.new_code(spec, home, environ, services.START_TIMEOUT_S):
                name = row["name"]
                raise ControlError(
                    f"{name} is not reloaded; the old one goes on: {problem} (whalefall restart {name} does not ask.)"
                )


def environ_of_scheduler(pid: int) -> Mapping[str, str]:
    """{} for any other process, and where it is not ours: root would leave files of root's in that user's DATA_DIR."""
    process = Path(f"/proc/{pid}")
    try:
        if process.stat().st_uid != os.geteuid():
            return {}
        if _OUR_SCHEDULER not in (process / "cmdline").read_bytes().decode(errors="replace"):
            return {}
        entries = (process / "environ").read_bytes().decode(errors="surrogateescape").split("\0")
    except OSError:
        return {}
    environ = {name: value for name, _, value in (entry.partition("=") for entry in entries if "=" in entry)}
    return {name: value for name, value in environ.items() if name not in _NOT_THE_CHILDS} | {
        "ENABLE_SCHEDULER": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
