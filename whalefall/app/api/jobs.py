"""/api/v1/scheduler/jobs: list, look at, edit, pause, resume, run, reload. Paths and names are the original platform's.

Its mistakes are mended: 409 on every verb when this process runs no scheduler, 404 for every unknown id, and edits
and pauses survive a reload. Every verb goes through the ledger.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import current_app

from whalefall import scheduler
from whalefall.app import access, upcoming
from whalefall.app.api import represent
from whalefall.app.api.blueprint import ApiBlueprint
from whalefall.app.api.envelope import ok
from whalefall.app.api.errors import Problem
from whalefall.app.api.schemas import (
    Job,
    JobDetail,
    JobQuery,
    NoBody,
    PauseRequest,
    Preview,
    PreviewQuery,
    Reloaded,
    RunRequest,
    RunStarted,
    SchedulerState,
    TriggerEdit,
    Upcoming,
    UpcomingQuery,
)
from whalefall.app.api.trail import record
from whalefall.app.retelling import retold
from whalefall.app.roles import Role
from whalefall.scheduler import JobAdmin

blueprint = ApiBlueprint("scheduler", "/scheduler", "The jobs and what can be done with them")

_JOBS_PER_PAGE = 100


def admin() -> JobAdmin:
    """The verbs of the scheduler of the current application."""
    return scheduler.of(current_app).admin


def _needs_a_scheduler() -> None:
    """Nginx routes this part of the site to the scheduler's process; asked elsewhere, say so."""
    if not scheduler.of(current_app).enabled:
        raise Problem(
            409,
            "CONSTRAINT_VIOLATION",
            "This process runs no scheduler (ENABLE_SCHEDULER is false here). Ask through Nginx, which routes "
            "/api/v1/scheduler/ to the scheduler's process, or ask that process directly.",
        )


blueprint.before_request(_needs_a_scheduler)


@blueprint.operation("GET", "/jobs", needs_role=Role.VIEW, query=JobQuery, gives_many=Job, fails=(409,))
def list_jobs(query: dict[str, Any]) -> dict[str, Any]:
    """All jobs, by id, or a page of them; `meta.next` is the next page's `offset`, `meta.count` how many there are."""
    if query["limit"] is None and not query["q"] and not query["offset"]:
        jobs = sorted(admin().list_jobs(), key=lambda job: job.id)
        return ok([represent.job(job) for job in jobs], f"{len(jobs)} jobs.")
    return _page_of_jobs(query["q"], query["limit"] or _JOBS_PER_PAGE, query["offset"])


def _page_of_jobs(text: str, limit: int, offset: int) -> dict[str, Any]:
    page = admin().page_of_jobs(text=text, limit=limit, offset=offset)
    following = offset + limit if offset + limit < page.count else None
    jobs = [represent.job(job) for job in page.jobs]
    return ok(jobs, f"{len(jobs)} jobs.", meta={"count": page.count, "next": following})


@blueprint.operation("GET", "/jobs/<job_id>", needs_role=Role.VIEW, gives=JobDetail, fails=(409,))
def get_job(job_id: str) -> dict[str, Any]:
    """One job."""
    return ok(represent.job_detail(admin().get_job(job_id)))


@blueprint.operation("PUT", "/jobs/<job_id>", needs_role=Role.ADMIN, takes=TriggerEdit, gives=JobDetail, fails=(409,))
def edit_job(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Changes when the job fires; the edit survives a deploy until it is reset."""
    return _edit(wanted, job_id)


@blueprint.operation(
    "POST", "/jobs/<job_id>/actions/edit", needs_role=Role.ADMIN, takes=TriggerEdit, gives=JobDetail, fails=(409,)
)
def edit_job_by_form(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """The same for plain forms, which know no PUT."""
    return _edit(wanted, job_id)


def _edit(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    before = admin().get_job(job_id)
    if "trigger" not in before.editable_fields:
        raise Problem(409, "CONSTRAINT_VIOLATION", f"The trigger of '{job_id}' cannot be edited here.")
    after = admin().edit_trigger(job_id, wanted["cron_expression"], actor=access.actor())
    record("job.edit", job_id, before=represent.trigger(before), after=represent.trigger(after))
    return ok(represent.job_detail(after), f"'{job_id}' now fires on {after.cron_expression}.")


@blueprint.operation("DELETE", "/jobs/<job_id>", needs_role=Role.ADMIN, fails=(409,))
def delete_job(job_id: str) -> dict[str, Any]:
    """Retires the job; its history stays. A job that the code declares comes back with the next reload."""
    before = admin().get_job(job_id)
    admin().delete(job_id, actor=access.actor())
    record("job.delete", job_id, before=represent.trigger(before))
    return ok(message=f"'{job_id}' is retired.")


@blueprint.operation(
    "GET", "/jobs/<job_id>/fires", needs_role=Role.VIEW, query=PreviewQuery, gives=Preview, fails=(409,)
)
def preview_fires(query: dict[str, Any], job_id: str) -> dict[str, Any]:
    """The next fires of the job, or of the job under another cron expression: what an edit would do."""
    fires = admin().preview(job_id, query["cron_expression"], query["count"])
    nights = admin().odd_nights(job_id, query["cron_expression"])
    return ok({"fires": fires, "odd_nights": [retold(night) for night in nights]})


@blueprint.operation(
    "POST", "/jobs/<job_id>/actions/pause", needs_role=Role.ADMIN, takes=PauseRequest, gives=JobDetail, fails=(409,)
)
def pause_job(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Stops the job from firing, with a reason and, if wanted, an end."""
    until = wanted["until"]
    if until is not None and wanted["minutes"] is not None:
        raise Problem(400, "VALIDATION_ERROR", "until, minutes: these are two ends of one pause; send one of them.")
    if wanted["minutes"] is not None:
        until = datetime.now(UTC) + timedelta(minutes=wanted["minutes"])
    if until is not None and until <= datetime.now(UTC):
        raise Problem(400, "VALIDATION_ERROR", "until: the end of the pause is in the past.")
    before = admin().get_job(job_id)
    job = admin().pause(job_id, actor=access.actor(), reason=wanted["reason"], until=until)
    record("job.pause", job_id, before=represent.pause(before), after=represent.pause(job))
    return ok(represent.job_detail(job), f"'{job_id}' is paused.")


@blueprint.operation(
    "POST", "/jobs/<job_id>/actions/resume", needs_role=Role.ADMIN, takes=NoBody, gives=JobDetail, fails=(409,)
)
def resume_job(_nothing: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Lets the job fire again."""
    before = admin().get_job(job_id)
    job = admin().resume(job_id, actor=access.actor())
    record("job.resume", job_id, before=represent.pause(before), after=represent.pause(job))
    return ok(represent.job_detail(job), f"'{job_id}' fires again.")


@blueprint.operation(
    "POST", "/jobs/<job_id>/actions/reset", needs_role=Role.ADMIN, takes=NoBody, gives=JobDetail, fails=(409,)
)
def reset_job(_nothing: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Undoes the edit: the job fires as the code says."""
    before = admin().get_job(job_id)
    after = admin().reset_trigger(job_id, actor=access.actor())
    record("job.reset", job_id, before=represent.trigger(before), after=represent.trigger(after))
    return ok(represent.job_detail(after), f"'{job_id}' fires as the code says.")


@blueprint.operation(
    "POST", "/jobs/<job_id>/actions/run", needs_role=Role.ADMIN, takes=RunRequest, gives=RunStarted, fails=(409,)
)
def run_job(wanted: dict[str, Any], job_id: str) -> dict[str, Any]:
    """Runs the job now, besides its schedule."""
    run_id = admin().run_now(
        job_id, actor=access.actor(), args=wanted["kwargs"], reason=wanted["reason"], dedupe=wanted["dedupe"]
    )
    record("job.run", job_id, after={"run_id": run_id, "kwargs": wanted["kwargs"], "reason": wanted["reason"]})
    return ok({"manual_job_id": run_id, "run_id": run_id}, f"'{job_id}' was started.")


@blueprint.operation("POST", "/jobs/actions/reload", needs_role=Role.ADMIN, takes=NoBody, gives=Reloaded, fails=(409,))
def reload_jobs(_nothing: dict[str, Any]) -> dict[str, Any]:
    """Reads the declarations again; edits and pauses stay."""
    report = admin().reload(actor=access.actor())
    record("jobs.reload", "*", after={"deleted": report.deleted, "reloaded": report.reloaded})
    data = {
        "deleted": report.deleted,
        "reloaded": report.reloaded,
        "deleted_count": len(report.deleted),
        "reloaded_count": len(report.reloaded),
    }
    return ok(data, f"{len(report.reloaded)} jobs were read again, {len(report.deleted)} retired.")


@blueprint.operation("GET", "/fires", needs_role=Role.VIEW, query=UpcomingQuery, gives_many=Upcoming, fails=(409,))
def list_fires(query: dict[str, Any]) -> dict[str, Any]:
    """What fires in the next hours, job by job, the soonest first."""
    lanes = upcoming.lanes(admin(), datetime.now(UTC), timedelta(hours=query["hours"]))
    data = [{"job_id": lane.job.id, "fires": lane.fires, "is_dense": lane.is_dense} for lane in lanes]
    return ok(data, f"{len(data)} jobs fire in the next {query['hours']} hours.")


@blueprint.operation("GET", "/state", needs_role=Role.VIEW, gives=SchedulerState, fails=(409,))
def scheduler_state() -> dict[str, Any]:
    """Leader, term, last tick, backlog, next fire."""
    return ok(represent.health(admin().health()))
