"""Can the new code be loaded? `reload` and `restart` ask before the scheduler goes.

Web's old generation goes on until the next one is ready, so that one may try. There is never a second scheduler: the
old one is stopped first, and code that does not load would leave nobody who fires. So a child imports the application
with the variables that the scheduler will have, except that it is told not to schedule: those of the running one, or
where all is planned again those of the next Plan. What cannot be found out is no refusal.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from whalefall.cli import requests
from whalefall.cli.outcome import Row
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError, WhalefallError
from whalefall.plan import Instance

_OUR_SCHEDULER = "[whalefall-scheduler]"  # in the title of our Gunicorn; a command of one's own loads what it likes
# Sockets that the child does not have, and the tags by which the supervisor would take it for a process of its own.
_NOT_THE_CHILDS = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WHALEFALL_SUPERVISOR", "WHALEFALL_LIFE")
_CHILDS = {"ENABLE_SCHEDULER": "false", "PYTHONDONTWRITEBYTECODE": "1"}


def refuse_what_does_not_load(rows: Iterable[Row], verb: str) -> None:
    """Raises ControlError with file, line and mend, before anything has been stopped."""
    from whalefall.planner.services import START_TIMEOUT_S

    for row in rows:
        environ = environ_of_scheduler(row["pid"]) if row["pid"] else {}
        if environ and (problem := _problem(environ, home_of(row["pid"]), START_TIMEOUT_S)):
            name = row["name"]
            raise ControlError(
                f"{name} is not {verb}ed; the old one goes on: {problem} (whalefall {verb} {name} --no-import does not "
                "ask.)"
            )


def refuse_plan_that_does_not_load(where: Path, verb: str, numbers: Mapping[str, int]) -> None:
    """Likewise for the next Plan, where it replaces the scheduler. `numbers` is what a `scale` has asked for."""
    status = ask(where, Request("status"))
    if any(row["pid"] and environ_of_scheduler(row["pid"]) for row in status["instances"]):
        for instance in _schedulers_that_change(status["supervisor"], numbers):
            environ = {**instance.command.env, **_CHILDS}
            if problem := _problem(environ, Path(instance.command.cwd), instance.start_timeout_s):
                raise ControlError(
                    f"nothing is changed: {instance.name} would be replaced, and {problem} ({verb} --no-import does "
                    "not ask.)"
                )


def _schedulers_that_change(supervisor: Row, numbers: Mapping[str, int]) -> Iterator[Instance]:
    """As the supervisor's own planner would have them; nothing for a bad Plan, for it has the last word on that."""
    from whalefall.planner.build import build, scheduler_digests

    try:
        built = build(requests.of_the_next_plan(supervisor, numbers), dry=True)
    except (WhalefallError, ValueError, OSError):
        return
    before, now = requests.planned(supervisor), scheduler_digests(built.plan.instances, built.world)
    yield from (each for each in built.plan.instances if each.name in now and now[each.name] != before.get(each.name))


def _problem(environ: Mapping[str, str], home: Path, within_s: float) -> str:
    from whalefall.planner import doctor

    spec = environ.get("WHALEFALL_APP", "")
    return doctor.new_code(spec, home, environ, within_s) if spec else ""


def environ_of_scheduler(pid: int) -> Mapping[str, str]:
    """{} for any other process, and where it is not ours: root would leave files of root's in that user's DATA_DIR."""
    process = Path(f"/proc/{pid}")
    try:
        if process.stat().st_uid != os.geteuid():
            return {}
        if _OUR_SCHEDULER not in (process / "cmdline").read_bytes().decode(errors="replace"):
            return {}
        environ = requests.environ_of(pid)
    except OSError:
        return {}
    return {name: value for name, value in environ.items() if name not in _NOT_THE_CHILDS} | _CHILDS


def home_of(pid: int) -> Path:
    """Its working directory, by the name that it had: a deployment may have put another one in its place."""
    return Path(str(Path(f"/proc/{pid}/cwd").resolve()).removesuffix(" (deleted)"))
