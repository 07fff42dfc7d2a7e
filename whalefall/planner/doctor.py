"""What runs, but will hurt: advice of `whalefall check`, a sentence each. It imports the application, in a child."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from whalefall.planner import python
from whalefall.planner.environment import plain
from whalefall.planner.world import World

IMPORT_WITHIN_S = 60.0
HOW_TO_MOVE = "docs/how-to/move-from-flask-apscheduler.md"
_DOCKER_S, _KUBERNETES_S = 10, 30  # what they wait by default between TERM and KILL


def advice(world: World) -> Iterator[str]:
    """In the order of how much it hurts."""
    for spec in dict.fromkeys(filter(None, (world.app, *(role.app for role in world.roles)))):
        yield from _own_schedulers(world, spec)
    yield from _of_settings(world)


def _own_schedulers(world: World, spec: str) -> Iterator[str]:
    found = _import(world, spec)
    if found["error"]:
        yield f"{spec} cannot be imported here: {found['error']}"
    for each in found["started"]:
        file = Path(each["file"])
        home = world.request.home.absolute()
        where = file.relative_to(home) if file.is_relative_to(home) else file
        yield (
            f"{where}:{each['line']} starts {each['what']} when the application is imported: each web worker would run "
            f"its jobs. {_way_out(each['what'])} See {HOW_TO_MOVE}."
        )


def _way_out(what: str) -> str:
    if what == "Flask-APScheduler":
        return "Import APScheduler from whalefall.compat.flask_apscheduler instead."
    return "Declare the jobs with `@scheduler.task(…)` of whalefall.Scheduler instead."


def _import(world: World, spec: str) -> dict[str, Any]:
    """What planner/imported.py tells. The application may do anything: it has a limit, and a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="whalefall-check-") as scratch:
        own = {"ENABLE_SCHEDULER": "false", "DATA_DIR": scratch, "RUN_DIR": scratch, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [*python.module("whalefall.planner.imported"), spec],
                cwd=world.request.home,
                env=plain(world.environment) | own,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=IMPORT_WITHIN_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"started": [], "error": f"it takes longer than {IMPORT_WITHIN_S:g} s"}
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"started": [], "error": f"the import ends its process with code {done.returncode}"}
    return found


def _of_settings(world: World) -> Iterator[str]:
    settings = world.settings
    if settings.web_concurrency == 1 and any(role.role == "web" and role.ours for role in world.running_roles()):
        yield "WEB_CONCURRENCY=1: while the one worker is busy, hung or being replaced, all others wait. Take two."
    given = world.environment.get("GUNICORN_CMD_ARGS")
    if given and "--preload" in given.value and any(r.role == "scheduler" and r.ours for r in world.running_roles()):
        yield f"GUNICORN_CMD_ARGS ({given.source}) has --preload, which the scheduler refuses. Remove it."
    in_kubernetes = "KUBERNETES_SERVICE_HOST" in world.request.environ
    patience_s = _KUBERNETES_S if in_kubernetes else _DOCKER_S
    if settings.grace_s >= patience_s:
        who = "Kubernetes" if in_kubernetes else "Docker"
        mend = "terminationGracePeriodSeconds" if in_kubernetes else "stop_grace_period or `docker stop -t`"
        yield f"GRACE={settings.grace_s}: {who} kills after {patience_s} s unless told otherwise. Set {mend} above it."
