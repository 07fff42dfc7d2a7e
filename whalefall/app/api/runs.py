"""/api/v1/scheduler/runs: what ran, what did not, and why. Paged by key: `meta.next` is the next page's `before`, or
its `after` when the oldest come first.
"""

from typing import Any

from whalefall.app import access
from whalefall.app.api import represent
from whalefall.app.api.envelope import ok
from whalefall.app.api.jobs import admin, blueprint
from whalefall.app.api.schemas import NoBody, Run, RunDetail, RunQuery, RunStarted
from whalefall.app.api.trail import record
from whalefall.app.roles import Role


@blueprint.operation("GET", "/runs", needs_role=Role.VIEW, query=RunQuery, gives_many=Run, fails=(409,))
def list_runs(query: dict[str, Any]) -> dict[str, Any]:
    """The runs, the newest or the oldest first."""
    oldest_first = query.pop("order") == "oldest"
    page = admin().list_runs(**query, oldest_first=oldest_first)
    return ok([represent.run(run) for run in page.runs], f"{len(page.runs)} runs.", meta={"next": page.next})


@blueprint.operation("GET", "/runs/<run_id>", needs_role=Role.VIEW, gives=RunDetail, fails=(409,))
def get_run(run_id: str) -> dict[str, Any]:
    """One run with its output and its error."""
    return ok(represent.run_detail(admin().get_run(run_id)))


@blueprint.operation(
    "POST", "/runs/<run_id>/actions/cancel", needs_role=Role.ADMIN, takes=NoBody, gives=RunDetail, fails=(409,)
)
def cancel_run(_nothing: dict[str, Any], run_id: str) -> dict[str, Any]:
    """Asks the run to stop, or takes it out of the queue."""
    before = admin().get_run(run_id)
    admin().cancel_run(run_id, actor=access.actor())
    after = admin().get_run(run_id)
    told = {"job_id": before.job_id, "state": before.state}
    record("run.cancel", run_id, before=told, after={"state": after.state, "asked_to_stop": after.cancel_requested})
    return ok(represent.run_detail(after), "The run was asked to stop.")


@blueprint.operation(
    "POST", "/runs/<run_id>/actions/rerun", needs_role=Role.ADMIN, takes=NoBody, gives=RunStarted, fails=(409,)
)
def rerun(_nothing: dict[str, Any], run_id: str) -> dict[str, Any]:
    """Runs the same job again, now, with the same arguments."""
    old = admin().get_run(run_id)
    new_id = admin().rerun(run_id, actor=access.actor())
    record("run.rerun", run_id, after={"run_id": new_id})
    return ok({"manual_job_id": new_id, "run_id": new_id}, f"'{old.job_id}' was started again.")
