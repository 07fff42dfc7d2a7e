"""/api/v1/processes: what the supervisor keeps running, from its control socket."""

from collections.abc import Callable
from typing import Any

from whalefall.app import processes
from whalefall.app.api.blueprint import ApiBlueprint
from whalefall.app.api.envelope import ok
from whalefall.app.api.errors import Problem
from whalefall.app.api.schemas import (
    Accepted,
    CountQuery,
    Dossier,
    LogLines,
    LogQuery,
    NoBody,
    Processes,
    ProcessEvent,
)
from whalefall.app.api.trail import record
from whalefall.app.roles import Role
from whalefall.errors import ControlError

blueprint = ApiBlueprint("processes", "/processes", "The supervised processes")


def from_supervisor(question: Callable[[], Any]) -> Any:
    """The answer; a Problem when no supervisor answers (503) or it refuses (404 for names it does not know)."""
    try:
        return question()
    except ControlError as error:
        sentence = str(error)
        if sentence.startswith("there is no "):
            raise Problem(404, "RESOURCE_NOT_FOUND", sentence_of(sentence)) from None
        raise Problem(
            503,
            "SUPERVISOR_UNAVAILABLE",
            sentence_of(sentence),
            suggestions=("Start the whole site under one supervisor: whalefall serve",),
            headers={"Retry-After": "5"},
        ) from None


def sentence_of(text: str) -> str:
    """As it stands by itself on a page or in an answer."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "serve")) else ".")


@blueprint.operation("GET", "", needs_role=Role.VIEW, gives=Processes, fails=(503,))
def list_processes() -> dict[str, Any]:
    """The supervisor and its instances with state, uptime, restarts, memory and CPU."""
    return ok(from_supervisor(processes.status))


@blueprint.operation("GET", "/<name>/logs", needs_role=Role.VIEW, query=LogQuery, gives=LogLines, fails=(503,))
def process_logs(query: dict[str, Any], name: str) -> dict[str, Any]:
    """The last lines of a service or an instance, as [instance, text]."""
    return ok({"lines": from_supervisor(lambda: processes.last_lines(name, query["lines"]))})


@blueprint.operation("GET", "/events", needs_role=Role.VIEW, query=CountQuery, gives_many=ProcessEvent, fails=(503,))
def process_events(query: dict[str, Any]) -> dict[str, Any]:
    """What the supervisor did lately and why, the newest last."""
    return ok(from_supervisor(lambda: processes.events(query["limit"])))


@blueprint.operation(
    "GET", "/<name>/dossiers", needs_role=Role.VIEW, query=CountQuery, gives_many=Dossier, fails=(503,)
)
def process_dossiers(query: dict[str, Any], name: str) -> dict[str, Any]:
    """The crash reports of a service or an instance, the newest last."""
    return ok(from_supervisor(lambda: processes.dossiers(name, query["limit"])))


@blueprint.operation(
    "POST", "/<name>/actions/restart", needs_role=Role.ADMIN, takes=NoBody, gives=Accepted, fails=(503,)
)
def restart_process(_nothing: dict[str, Any], name: str) -> dict[str, Any]:
    """Stops and starts a service or an instance."""
    return _order("restart", name, "restarts")


@blueprint.operation(
    "POST", "/<name>/actions/reload", needs_role=Role.ADMIN, takes=NoBody, gives=Accepted, fails=(503,)
)
def reload_process(_nothing: dict[str, Any], name: str) -> dict[str, Any]:
    """Brings up a new generation and then retires the old one."""
    return _order("reload", name, "is reloaded")


def _order(command: str, name: str, verb: str) -> dict[str, Any]:
    accepted = from_supervisor(lambda: processes.order(command, name))
    record(f"process.{command}", name, after={"accepted": accepted})
    return ok({"accepted": accepted}, f"{', '.join(accepted) or name} {verb}.")
