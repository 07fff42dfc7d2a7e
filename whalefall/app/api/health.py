"""/api/v1/health: is this process alive, can it serve, is everything well. Only the detailed answer wants a login.

`basic`, `ping` and `live` never ask the database: a probe must not restart a process because a database is away.
`ready` and the detailed answer do, and say in a sentence what is wrong with it and how to mend it; one that can be read
and not written (a standby, a full disk) is not ready either. `ready` is also where a stop shows first: with DRAIN_DELAY
the site still serves while load balancers take it out. An unhealthy scheduler makes the detailed answer a 503 in every
process (the web workers are the scheduler's watchman), but `ready` only in the scheduler's own: a site without a
scheduler still serves. What the watchman has seen stands beside it, as `alarms`.
"""

import time
from dataclasses import asdict
from typing import Any

from flask import current_app

from whalefall import __version__, scheduler
from whalefall.app import processes
from whalefall.app.api.blueprint import ApiBlueprint
from whalefall.app.api.envelope import ok
from whalefall.app.api.errors import Problem
from whalefall.app.api.schemas import BasicHealth, DetailedHealth, Word
from whalefall.app.retelling import retold
from whalefall.app.roles import Role
from whalefall.app.state import app_state
from whalefall.scheduler.errors import LedgerUnavailable

blueprint = ApiBlueprint("health", "/health", "Is it alive, can it serve, is everything well")


@blueprint.operation("GET", "/ping", needs_role=Role.NONE, gives=Word)
def ping() -> dict[str, Any]:
    """The shortest answer there is."""
    return ok({"status": "ok"}, "This process answers.")


@blueprint.operation("GET", "/live", needs_role=Role.NONE, gives=Word)
def live() -> dict[str, Any]:
    """For liveness probes: only ever asks this process itself."""
    return ok({"status": "alive"}, "This process answers.")


@blueprint.operation("GET", "/basic", needs_role=Role.NONE, gives=BasicHealth)
def basic() -> dict[str, Any]:
    """200 as long as this process can serve; in web and scheduler alike."""
    return ok(_basic("healthy"), "This process can serve.")


@blueprint.operation("GET", "/ready", needs_role=Role.NONE, gives=Word, fails=(503,))
def ready() -> dict[str, Any]:
    """For readiness probes: whalefall is not stopping, the database answers, and the scheduler, if here, works."""
    components = {"supervisor": supervisor_health(), "database": database_health()}
    if _runs_scheduler():
        components["scheduler"] = scheduler_health()
    _raise_unless_healthy(components, {"status": "not ready"})
    return ok({"status": "ready"}, "This process is ready.")


@blueprint.operation("GET", "", needs_role=Role.VIEW, gives=DetailedHealth, fails=(503,))
def detailed() -> dict[str, Any]:
    """Everything at once: database, scheduler, this process; 503 when one of them is not well."""
    return _detailed()


@blueprint.operation("GET", "/detailed", needs_role=Role.VIEW, gives=DetailedHealth, fails=(503,))
def detailed_by_its_old_name() -> dict[str, Any]:
    """The same under the original platform's name."""
    return _detailed()


def _detailed() -> dict[str, Any]:
    components = {"database": database_health(), "scheduler": scheduler_health()}
    data = _basic("healthy") | {
        "uptime": round(time.time() - app_state().started_at, 3),
        "role": "scheduler" if _runs_scheduler() else "web",
        "database": "connected" if components["database"]["healthy"] else "error",
        "components": components,
        "alarms": alarms(),
    }
    _raise_unless_healthy(components, data)
    return ok(data, "Everything is well.")


def _basic(status: str) -> dict[str, Any]:
    return {"status": status, "timestamp": time.time(), "version": __version__}


def _runs_scheduler() -> bool:
    return scheduler.of(current_app).enabled


def _raise_unless_healthy(components: dict[str, dict[str, Any]], data: dict[str, Any]) -> None:
    """The 503 carries the same data in `extra`, so that a program need not parse the sentence."""
    reasons = [f"{name}: {found['reason']}" for name, found in components.items() if not found["healthy"]]
    if reasons:
        extra = data | {"status": "unhealthy", "components": components}
        raise Problem(503, "UNHEALTHY", "; ".join(reasons), extra=extra, headers={"Retry-After": "5"})


def supervisor_health() -> dict[str, Any]:
    """Whether we shall go on; without a supervisor nobody knows better."""
    reason = processes.leaving()
    return {"healthy": not reason, "status": "stopping" if reason else "running", "reason": reason}


def database_health() -> dict[str, Any]:
    """Whether the database takes what is written."""
    try:
        scheduler.of(current_app).ledger.refuse_unwritable()
    except LedgerUnavailable as error:
        return {"healthy": False, "status": "error", "reason": str(error)}
    return {"healthy": True, "status": "connected"}


def scheduler_health() -> dict[str, Any]:
    """What the ledger says about the scheduler, from whichever process asks."""
    try:
        found = scheduler.of(current_app).admin.health()
    except LedgerUnavailable as error:
        return {"healthy": False, "status": "unknown", "reason": str(error)}
    if found.healthy:
        return {"healthy": True, "status": "running", "reason": found.reason}
    return {"healthy": False, "status": "unhealthy", "reason": found.reason}


def alarms() -> list[dict[str, Any]]:
    """What the watchman sees: missed, overdue, failing, slower than usual, nobody who leads. It makes no 503 by itself:
    one job that fails is no reason to take a site out of service.
    """
    try:
        found = scheduler.of(current_app).admin.alarms()
    except LedgerUnavailable:
        return []  # the components say why
    return [
        asdict(alarm) | {"since": alarm.since.isoformat(timespec="milliseconds"), "text": retold(alarm.text)}
        for alarm in found
    ]
