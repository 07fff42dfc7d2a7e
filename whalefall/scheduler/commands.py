"""What `whalefall jobs …` and `whalefall ledger …` do: each verb is a function from an office to an Answer.

They work on the ledger, from any process on any host that reaches it; the scheduler notices within a second. The
command line prints the answer's text and exits with its code.
"""

import dataclasses
import getpass
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask

from whalefall.errors import UsageError
from whalefall.scheduler.extension import Scheduler
from whalefall.scheduler.housekeeping import forget_old_runs
from whalefall.scheduler.state import SchedulerState, of
from whalefall.scheduler.verify import verify
from whalefall.scheduler.views import JobView, RunView, SchedulerHealth
from whalefall.scheduler.why import why
from whalefall.settings import Settings

_PROBLEMS_SHOWN = 100
_LINES_SHOWN = 2000  # characters of an output or a traceback


@dataclass(frozen=True, slots=True)
class Answer:
    """Lines for standard output, and the exit code."""

    text: str
    exit_code: int = 0


def office(settings: Settings, directory: Path | None = None) -> SchedulerState:
    """The ledger that `settings` name, without an application and without a running scheduler."""
    if directory is not None:
        settings = dataclasses.replace(settings, data_dir=str(settings.data_path(directory)))
    app = Flask("whalefall.commands")
    Scheduler().init_app(app, settings)
    return of(app)


def actor() -> str:
    """Who sits at the keyboard, for the record."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a uid without a name, as in many containers
        return "command line"


# whalefall jobs …


def jobs_list(state: SchedulerState, *, as_json: bool = False) -> Answer:
    """One line per job, and one that says who leads and who stands by."""
    views = state.admin.list_jobs()
    if as_json:
        return Answer(_json([dataclasses.asdict(view) for view in views]))
    rows: list[tuple[str, ...]] = [("ID", "STATE", "TRIGGER", "NEXT", "LAST", "SOURCE")]
    rows += [
        (view.id, _state(view), view.trigger_words, _when(view.next_run_time), _last(view), view.source)
        for view in views
    ]
    nothing = "There are no jobs yet: the scheduler has not started, or none is declared."
    return Answer(f"{_columns(rows) if views else nothing}\n\n{_who_leads(state.admin.health())}")


def jobs_show(state: SchedulerState, job_id: str, *, as_json: bool = False) -> Answer:
    """All about one job, and its next five fires."""
    view = state.admin.get_job(job_id)
    if as_json:
        return Answer(_json(dataclasses.asdict(view)))
    lines = [
        ("id", view.id),
        ("name", view.name),
        ("what", view.description),
        ("function", view.func_ref),
        ("arguments", _json({"args": view.args, "kwargs": view.kwargs}) if view.args or view.kwargs else ""),
        ("state", _state(view)),
        ("trigger", f"{view.trigger_words} ({view.timezone})"),
        ("cron", view.cron_expression or ""),
        ("in code", view.code_cron_expression or "" if view.source == "edited" else ""),
        ("policies", ", ".join(f"{name}={value}" for name, value in view.policies.items())),
        ("last", _last(view)),
        ("broken", view.broken_reason.strip()),
        *(
            ("next" if index == 0 else "", _when(fire))
            for index, fire in enumerate(state.admin.preview(job_id, None, 5))
        ),
        *(("clocks" if index == 0 else "", night) for index, night in enumerate(state.admin.odd_nights(job_id))),
    ]
    return Answer("\n".join(f"{label:10} {text}" for label, text in lines if text))


def jobs_run(
    state: SchedulerState, job_id: str, *, args: str = "", reason: str = "", dedupe: str | None = None
) -> Answer:
    """Queues a run. `args` is a JSON object of keyword arguments."""
    run_id = state.admin.run_now(job_id, actor=actor(), args=_object(args), reason=reason, dedupe=dedupe)
    return Answer(run_id)


def jobs_pause(state: SchedulerState, job_id: str, *, reason: str = "", until: str = "") -> Answer:
    """`until` is a time like 2026-12-31T18:00 (UTC unless it says otherwise)."""
    view = state.admin.pause(job_id, actor=actor(), reason=reason, until=moment(until) if until else None)
    return Answer(f"{view.id} is paused" + (f" until {_when(view.paused_until)}." if view.paused_until else "."))


def jobs_resume(state: SchedulerState, job_id: str) -> Answer:
    view = state.admin.resume(job_id, actor=actor())
    return Answer(f"{view.id} goes on; it fires next {_when(view.next_run_time)}.")


def jobs_history(
    state: SchedulerState,
    job_id: str | None = None,
    *,
    run_state: str | None = None,
    limit: int = 20,
    as_json: bool = False,
) -> Answer:
    """Runs and non-runs, newest first."""
    page = state.admin.list_runs(job_id=job_id, state=run_state, limit=limit)
    if as_json:
        return Answer(_json([dataclasses.asdict(view) for view in page.runs]))
    rows: list[tuple[str, ...]] = [("SCHEDULED", "JOB", "STATE", "TRY", "LATE", "TOOK", "REASON")]
    rows += [_history_row(run) for run in page.runs]
    return Answer(_columns(rows) if page.runs else "There are no runs.")


def jobs_why(state: SchedulerState, job_id: str, when: str) -> Answer:
    """The chain of reasons for one job at one moment."""
    return Answer("\n".join(why(state.ledger, job_id, moment(when))))


# whalefall ledger …


def ledger_verify(state: SchedulerState, *, start: str = "", end: str = "", job_id: str | None = None) -> Answer:
    """Every expected instant has exactly one row: exit code 0. If not: 1, and the list. Default: the last day."""
    now = state.ledger.now()
    first = moment(start) if start else now - timedelta(days=1)
    last = min(moment(end), now) if end else now
    if first >= last:
        raise UsageError(f"The stretch from {_when(first)} to {_when(last)} is empty.")
    report = verify(state.ledger, first, last, job_id)
    lines = [str(problem) for problem in report.problems[:_PROBLEMS_SHOWN]]
    if len(report.problems) > _PROBLEMS_SHOWN:
        lines.append(f"… and {len(report.problems) - _PROBLEMS_SHOWN} more")
    lines.append(
        f"{report.expected} instants of {report.jobs} jobs from {_when(first)} to {_when(last)}: "
        + (f"{len(report.problems)} do not agree." if report.problems else "each is on record exactly once.")
    )
    return Answer("\n".join(lines), exit_code=1 if report.problems else 0)


def ledger_fast_forward(state: SchedulerState) -> Answer:
    """After restoring a backup, before the scheduler starts: nothing from the past will be caught up."""
    moved = state.ledger.fast_forward(actor())
    return Answer("\n".join([*moved, f"{len(moved)} jobs moved to now; what was passed over is on record as skipped."]))


def ledger_vacuum(state: SchedulerState) -> Answer:
    """Forgets old runs by each job's policy and gives the space back."""
    count = forget_old_runs(state.ledger)
    state.ledger.compact()
    return Answer(f"{count} runs forgotten; the ledger is compact.")


def ledger_import(state: SchedulerState, url: str, *, table: str, dry_run: bool = False) -> Answer:
    """APScheduler's own table becomes jobs of the ledger. Exit code 1 if one of them could not be taken."""
    from whalefall.compat.apscheduler_jobs import import_jobs  # noqa: PLC0415 - beside its only use

    imported = list(import_jobs(state, url, table=table, actor=actor(), dry_run=dry_run))
    taken = [one for one in imported if not one.refused]
    lines = [f"{one.job_id}: {one.refused or ('can be taken' if dry_run else 'taken')}" for one in imported]
    return Answer("\n".join([*lines, f"{len(taken)} of {len(imported)} jobs"]), 0 if len(taken) == len(imported) else 1)


def moment(text: str) -> datetime:
    """A time that a person wrote: ISO 8601, UTC unless it says otherwise. Raises UsageError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a time; write it like 2026-12-31T18:00 (UTC) or 2026-12-31T18:00+01:00."
        ) from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _object(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UsageError(f'The arguments are no JSON: {error}. Write an object, like {{"name": "value"}}.') from None
    if not isinstance(found, dict):
        raise UsageError('The arguments are no object. Write names and values, like {"name": "value"}.')
    return found


def _who_leads(health: SchedulerHealth) -> str:
    leads = f"{health.leader} leads, term {health.term}" if health.leader else "nobody leads"
    trouble = f" ({health.reason})" if health.reason else ""
    waiting = ", ".join(standby.holder for standby in health.standbys)
    return f"{leads}{trouble}; {f'standing by: {waiting}' if waiting else 'nobody stands by'}"


def _state(view: JobView) -> str:
    if view.source in ("broken", "retired"):
        return view.source
    if view.state == "STATE_RUNNING":
        return "active"
    if not view.paused_by and not view.pause_reason and view.paused_until is None:
        return "ended"
    return f"paused by {view.paused_by or 'somebody'}" + (f": {view.pause_reason}" if view.pause_reason else "")


def _last(view: JobView) -> str:
    return f"{view.last_state} {_when(view.last_run_time)}" if view.last_run_time else "-"


def _history_row(run: RunView) -> tuple[str, ...]:
    reason = run.reason or (run.error.strip().splitlines()[-1] if run.error else "")
    return (
        _when(run.scheduled_at) + (f" (x{run.span_count})" if run.span_count > 1 else ""),
        run.job_id,
        run.state,
        str(run.attempt),
        f"{run.lateness_s:.3f}s" if run.lateness_s is not None else "-",
        f"{run.duration_s:.3f}s" if run.duration_s is not None else "-",
        reason[:_LINES_SHOWN],
    )


def _when(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC" if when is not None else "-"


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda other: other.isoformat() if isinstance(other, datetime) else str(other))


def _columns(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
