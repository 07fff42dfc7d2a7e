"""/scheduler/jobs/ID: one job, its history, and the panels to run, pause and edit it."""

from datetime import datetime
from itertools import zip_longest

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from whalefall.app.api import represent
from whalefall.app.pages import show
from whalefall.app.pages.scheduler import admin, rows_of
from whalefall.app.pages.schedules import schedule_words
from whalefall.app.retelling import retold
from whalefall.app.roles import Role, needs
from whalefall.scheduler.errors import InvalidTrigger

_HISTORY = 50
_PREVIEWED = 10


def add_to(blueprint: Blueprint) -> None:
    """Registers the pages."""
    blueprint.add_url_rule("/scheduler/jobs/<job_id>", "job", show_job)
    blueprint.add_url_rule("/scheduler/jobs/<job_id>/run", "run_panel", run_panel)
    blueprint.add_url_rule("/scheduler/jobs/<job_id>/pause", "pause_panel", pause_panel)
    blueprint.add_url_rule("/scheduler/jobs/<job_id>/edit", "edit_panel", edit_panel)


@needs(Role.VIEW)
def show_job(job_id: str) -> ResponseReturnValue:
    """Everything about one job."""
    job = admin().get_job(job_id)
    page = admin().list_runs(job_id=job_id, limit=_HISTORY, before=request.args.get("before") or None)
    return render_template(
        "whalefall/job.html",
        job=job,
        row=rows_of([job_id])[0],
        runs=page.runs,
        bars=show.bars(page.runs[::-1]),
        longest_s=max((run.duration_s for run in page.runs if run.duration_s is not None), default=None),
        next_page=page.next,
        trigger=represent.trigger_text(job),
        words=schedule_words(job),
        fires=admin().preview(job_id, None, 5) if job.next_run_time else [],
    )


@needs(Role.ADMIN)
def run_panel(job_id: str) -> ResponseReturnValue:
    """Run now, with arguments and a reason."""
    return render_template("whalefall/run_panel.html", job=admin().get_job(job_id))


@needs(Role.ADMIN)
def pause_panel(job_id: str) -> ResponseReturnValue:
    """Pause, with a reason and an end."""
    return render_template("whalefall/pause_panel.html", job=admin().get_job(job_id))


@needs(Role.ADMIN)
def edit_panel(job_id: str) -> ResponseReturnValue:
    """Edit the trigger, with the next fires as they are and as they would be."""
    job = admin().get_job(job_id)
    expression = request.args.get("cron_expression", job.cron_expression or "").strip()[:200]
    wanted: list[datetime] = []
    nights: list[str] = []
    complaint = ""
    try:
        wanted = admin().preview(job_id, expression, _PREVIEWED) if expression else []
        nights = admin().odd_nights(job_id, expression or None)
    except InvalidTrigger as error:
        complaint = retold(str(error))
    current = admin().preview(job_id, None, _PREVIEWED)
    return render_template(
        "whalefall/edit_panel.html",
        job=job,
        expression=expression,
        complaint=complaint,
        nights=nights,
        fires=list(zip_longest(current, wanted)),
    )
