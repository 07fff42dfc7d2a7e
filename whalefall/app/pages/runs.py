"""/runs: everything that ran or did not. /runs/ID: one run with its output, its error and its reason."""

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue

from whalefall.app.pages.scheduler import admin, remaining_s, rows_of
from whalefall.app.roles import Role, needs
from whalefall.scheduler.core.runs import RunState, Source

_PER_PAGE = 50


def add_to(blueprint: Blueprint) -> None:
    """Registers the pages."""
    blueprint.add_url_rule("/runs", "runs", show_runs)
    blueprint.add_url_rule("/runs/<run_id>", "run", show_run)


@needs(Role.VIEW)
def show_runs() -> ResponseReturnValue:
    """The newest first, filtered by job, state and source, paged by key."""
    chosen: dict[str, Any] = {name: request.args.get(name) or None for name in ("job_id", "state", "source")}
    page = admin().list_runs(**chosen, before=request.args.get("before") or None, limit=_PER_PAGE)
    return render_template(
        "whalefall/runs.html",
        runs=page.runs,
        next_page=page.next,
        chosen=chosen,
        states=[state.value for state in RunState],
        sources=[source.value for source in Source],
    )


@needs(Role.VIEW)
def show_run(run_id: str) -> ResponseReturnValue:
    """One run; live while it runs."""
    run = admin().get_run(run_id)
    row = next(iter(rows_of([run.job_id])), None)
    left_s = remaining_s(run, row.usual_s if row else None, datetime.now(UTC)) if run.state == "running" else None
    return render_template("whalefall/run.html", run=run, row=row, left_s=left_s)
