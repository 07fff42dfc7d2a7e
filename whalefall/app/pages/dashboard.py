"""/dashboard: what runs, how the machine is, what happened lately. /processes/NAME: one process and its last lines."""

import socket
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Blueprint, current_app, render_template
from flask.typing import ResponseReturnValue

from whalefall import scheduler
from whalefall.app import processes
from whalefall.app.api.health import scheduler_health
from whalefall.app.api.processes import from_supervisor, sentence_of
from whalefall.app.jobs import look_at_host
from whalefall.app.roles import Role, needs
from whalefall.app.store import process_samples, samples
from whalefall.app.store.engine import engine
from whalefall.errors import ControlError

_SHOWN = timedelta(hours=1)
_RECENT_RUNS = 12
_EVENTS = 8
_DOSSIERS = 5


def add_to(blueprint: Blueprint) -> None:
    """Registers the pages."""
    blueprint.add_url_rule("/dashboard", "dashboard", dashboard)
    blueprint.add_url_rule("/processes/<name>", "process", process)


@needs(Role.VIEW)
def dashboard() -> ResponseReturnValue:
    """The first page after the login."""
    try:
        status, events, unavailable = processes.status(), processes.events(_EVENTS), ""
    except ControlError as error:
        status, events, unavailable = None, [], sentence_of(str(error))
    shown_since, hostname = datetime.now(UTC) - _SHOWN, socket.gethostname()
    return render_template(
        "whalefall/dashboard.html",
        status=status,
        events=_timed(events),
        unavailable=unavailable,
        own=processes.usage(status["supervisor"]["pid"], alone=True) if status else None,
        health=scheduler_health(),
        host=samples.since(engine(), shown_since, hostname),
        lines=process_samples.since(engine(), shown_since, hostname),
        newest=look_at_host(),
        runs=scheduler.of(current_app).admin.list_runs(limit=_RECENT_RUNS).runs,
    )


@needs(Role.VIEW)
def process(name: str) -> ResponseReturnValue:
    """One process with its last lines."""
    status: dict[str, Any] = from_supervisor(processes.status)
    found = [instance for instance in status["instances"] if name in (instance["name"], instance["service"])]
    lines = from_supervisor(lambda: processes.last_lines(name, 200))
    for instance in found:
        instance["workers_below"] = processes.workers(instance["pid"])
    kept = process_samples.since(engine(), datetime.now(UTC) - _SHOWN, socket.gethostname())
    reports = from_supervisor(lambda: processes.dossiers(name, _DOSSIERS))
    return render_template(
        "whalefall/process.html", name=name, instances=found, lines=lines, kept=kept, dossiers=_timed(reports)
    )


def _timed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest first, `at` as an instant."""
    return [row | {"at": datetime.fromtimestamp(row["at"], UTC)} for row in reversed(rows)]
