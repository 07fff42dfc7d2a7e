"""What `whalefall jobs …` and `whalefall ledger …` do: each verb is a function from an office to an Answer.

They work on the ledger, from any process on any host that reaches it; the scheduler notices within a second. The
command line prints the answer's text and exits with its code.
"""

import dataclasses
import difflib
import getpass
import json
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask import Flask

from whalefall.errors import UsageError
from whalefall.scheduler import moments, tables
from whalefall.scheduler.core.runs import FINAL, RunState
from whalefall.scheduler.errors import JobNotFound, LedgerUnavailable
from whalefall.scheduler.extension import Scheduler
from whalefall.scheduler.housekeeping import forget_old_runs
from whalefall.scheduler.state import SchedulerState, of
from whalefall.scheduler.verify import verify
from whalefall.scheduler.views import JobView, RunView, SchedulerHealth
from whalefall.scheduler.why import why, why_lately
from whalefall.settings import Settings

_PROBLEMS_SHOWN = 100
_LINES_SHOWN = 2000  # characters of an output or a traceback
_LOOK_EVERY_S = 0.25
_WITHOUT_LEDGER_S = 60.0  # a restart of the database is no end of a run
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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


def jobs_list(state: SchedulerState, *, as_json: bool = False, width: int | None = None) -> Answer:
    """One line per job, and one that says who leads and who stands by. `width` is a terminal's, None without one."""
    views = state.admin.list_jobs()
    if as_json:
        return Answer(_json([dataclasses.asdict(view) for view in views]))
    heading = ("ID", "STATE", "TRIGGER", "NEXT (UTC)", "LAST (UTC)", "SOURCE")
    rows = [
        (view.id, _state(view), view.trigger_words, _clock(view.next_run_time), _last(view, _clock), view.source)
        for view in views
    ]
    nothing = "There are no jobs yet: the scheduler has not started, or none is declared."
    table = "\n".join(tables.fitted([heading, *rows], width, cut=(0, 1, 2))) if views else nothing
    return Answer(f"{table}\n\n{_who_leads(state.admin.health())}")


def jobs_show(state: SchedulerState, job_id: str, *, as_json: bool = False) -> Answer:
    """All about one job, and its next five fires; or all about one run, if it is a run's id."""
    try:
        view = state.admin.get_job(job_id)
    except JobNotFound:
        if _RUN_ID.fullmatch(job_id):
            return _show_run(state.admin.get_run(job_id), as_json=as_json)
        raise
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
        ("last", _last(view, _when)),
        ("broken", view.broken_reason.strip()),
        *(
            ("next" if index == 0 else "", _when(fire))
            for index, fire in enumerate(state.admin.preview(job_id, None, 5))
        ),
        *(("clocks" if index == 0 else "", night) for index, night in enumerate(state.admin.odd_nights(job_id))),
    ]
    return Answer(_labelled(lines))


def _show_run(run: RunView, *, as_json: bool) -> Answer:
    if as_json:
        return Answer(_json(dataclasses.asdict(run)))
    late = f" ({run.lateness_s:.3f} s after its time) by {run.claimed_by}" if run.lateness_s is not None else ""
    took = f" ({run.duration_s:.3f} s after its start)" if run.duration_s is not None else ""
    lines = [
        ("run", run.run_id),
        ("job", run.job_id),
        ("state", _in_words(run)),
        ("attempt", str(run.attempt) if run.attempt > 1 else ""),
        ("asked by", run.created_by if run.source == "manual" else ""),
        ("reason", run.reason),
        ("arguments", _json(run.args) if run.args else ""),
        ("due", _when(run.scheduled_at) + (f", and {run.span_count - 1} more" if run.span_count > 1 else "")),
        ("started", f"{_when(run.started_at)}{late}" if run.started_at else ""),
        ("ended", f"{_when(run.finished_at)}{took}" if run.finished_at else ""),
        ("progress", f"{run.progress:.0%} {run.progress_text}".strip() if run.progress is not None else ""),
        *_block("error", run.error),
        *_block("output", run.output),
    ]
    return Answer(_labelled(lines))


def _labelled(lines: list[tuple[str, str]]) -> str:
    return "\n".join(f"{label:10} {text}" for label, text in lines if text)


def _block(label: str, text: str) -> list[tuple[str, str]]:
    return [("" if index else label, line) for index, line in enumerate(text.rstrip().splitlines())]


def jobs_run(
    state: SchedulerState,
    job_id: str,
    *,
    args: str = "",
    reason: str = "",
    dedupe: str | None = None,
    as_json: bool = False,
    wait: Callable[[str], None] | None = None,
    start: Callable[[], str] = lambda: "Start one: whalefall serve",
) -> Answer:
    """Queues a run. `args` is a JSON object of keyword arguments.

    With `wait` the answer is how the run ended, its exit code 1 unless it succeeded; `wait` is told what it waits for.
    `start` says how to start a scheduler, and is asked where none runs.
    """
    run_id = state.admin.run_now(job_id, actor=actor(), args=_object(args), reason=reason, dedupe=dedupe)
    run = state.admin.get_run(run_id)
    begun = f"run {run_id} of {run.job_id} {'is waiting' if run.state == RunState.QUEUED else _in_words(run)}"
    if run.state == RunState.QUEUED and not (health := state.admin.health()).leader:
        begun += f" for a scheduler, and none runs ({health.reason}). {start()}"
    if wait is None:
        told = f"{begun}\nfollow it: whalefall jobs show {run_id}"
        return Answer(_json(dataclasses.asdict(run)) if as_json else told)
    wait(begun)
    run = _ended(state, run_id)
    code = 0 if run.state == RunState.SUCCEEDED else 1
    if as_json:
        return Answer(_json(dataclasses.asdict(run)), code)
    took = f" after {run.duration_s:.3f} s" if run.duration_s is not None else ""
    why_not = (run.error.strip().splitlines() or [run.reason])[-1] if code else ""
    told = f"run {run_id} of {run.job_id} {_in_words(run)}{took}" + (f": {why_not}" if why_not else "")
    traceback = run.error.rstrip() if code and "\n" in run.error.strip() else ""
    return Answer("\n".join(filter(None, [run.output.rstrip(), traceback, told])), code)


def _ended(state: SchedulerState, run_id: str) -> RunView:
    """Looks until the run is over. Raises LedgerUnavailable when the ledger stays away."""
    seen = time.monotonic()
    while True:
        try:
            run = state.admin.get_run(run_id)
            seen = time.monotonic()
        except LedgerUnavailable:
            if time.monotonic() > seen + _WITHOUT_LEDGER_S:
                raise
        else:
            if run.state in FINAL:
                return run
        time.sleep(_LOOK_EVERY_S)


def jobs_pause(state: SchedulerState, job_id: str, *, reason: str = "", until: str = "") -> Answer:
    """`until` is a time like 2026-12-31T18:00 (UTC unless it says otherwise)."""
    view = state.admin.pause(job_id, actor=actor(), reason=reason, until=_moment(state, until) if until else None)
    return Answer(f"{view.id} is paused" + (f" until {_when(view.paused_until)}." if view.paused_until else "."))


def jobs_resume(state: SchedulerState, job_id: str) -> Answer:
    view = state.admin.resume(job_id, actor=actor())
    if view.next_run_time is None:
        return Answer(f"{view.id} is not paused; it fires no more, because it is {_state(view)}.")
    return Answer(f"{view.id} goes on; it fires next {_when(view.next_run_time)}.")


def jobs_history(
    state: SchedulerState,
    job_id: str | None = None,
    *,
    run_state: str | None = None,
    limit: int = 20,
    as_json: bool = False,
    width: int | None = None,
) -> Answer:
    """Runs and non-runs, newest first."""
    if run_state is not None and run_state not in list(RunState):
        near = difflib.get_close_matches(run_state, list(RunState), 1) or list(RunState)
        raise UsageError(f"There is no state {run_state!r}. {_one_of(near)}")
    page = state.admin.list_runs(job_id=job_id, state=run_state, limit=limit)
    if job_id is not None and not page.runs:
        _known(state, job_id)
    if as_json:
        return Answer(_json([dataclasses.asdict(view) for view in page.runs]))
    rows: list[tuple[str, ...]] = [("SCHEDULED (UTC)", "JOB", "STATE", "TRY", "LATE", "TOOK", "REASON")]
    rows += [_history_row(run) for run in page.runs]
    return Answer("\n".join(tables.told_below(rows, width)) if page.runs else "There are no runs.")


def jobs_why(state: SchedulerState, job_id: str, when: str = "") -> Answer:
    """The chain of reasons for one job at one moment; without one, for its newest instant."""
    if not when:
        return Answer("\n".join(why_lately(state.ledger, job_id)))
    return Answer("\n".join(why(state.ledger, job_id, _moment(state, when))))


def did_you_mean(state: SchedulerState, job_id: str) -> str:
    """What to say to somebody whose job there is not."""
    known = [*(record.job_id for record in state.ledger.jobs()), *state.ledger.orphaned_job_ids()]
    near = difflib.get_close_matches(job_id, known, 1)
    return _one_of(near) if near else "See: whalefall jobs list"


def _one_of(words: Sequence[str]) -> str:
    return f"Did you mean '{words[0]}'?" if len(words) == 1 else f"There are: {', '.join(words)}."


def _known(state: SchedulerState, job_id: str) -> None:
    """Raises JobNotFound for a job that neither is nor was; one that was deleted may have left its runs."""
    if job_id not in state.ledger.orphaned_job_ids() and not state.ledger.events_of(job_id, ["deleted"]):
        state.ledger.job(job_id)


# whalefall ledger …


def ledger_verify(state: SchedulerState, *, start: str = "", end: str = "", job_id: str | None = None) -> Answer:
    """Every expected instant has exactly one row: exit code 0. If not: 1, and the list. Default: the last day."""
    now = state.ledger.now()
    if job_id is not None:
        _known(state, job_id)
    first = _moment(state, start) if start else now - timedelta(days=1)
    last = min(_moment(state, end), now) if end else now
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


def _moment(state: SchedulerState, text: str) -> datetime:
    """A time that a person wrote, UTC unless it says otherwise. Raises UsageError."""
    found = moments.moment(text, state.ledger.now())
    if found is None:
        raise UsageError(
            f"{text!r} is not a time; write it like '2026-12-31 18:00' (UTC), '2026-12-31 18:00 Europe/Berlin', "
            "2026-12-31T18:00+01:00 or 'today 18:00'."
        )
    return found


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


def _last(view: JobView, told: Callable[[datetime], str]) -> str:
    return f"{view.last_state} {told(view.last_run_time)}" if view.last_run_time else "-"


def _in_words(run: RunView) -> str:
    """The state, as what a sentence says of the run."""
    told = run.state.replace("_", " ")
    return {"queued": "is waiting", "running": "is running"}.get(run.state, told)


def _history_row(run: RunView) -> tuple[str, ...]:
    reason = run.reason or (run.error.strip().splitlines()[-1] if run.error else "")
    return (
        _clock(run.scheduled_at) + (f" (x{run.span_count})" if run.span_count > 1 else ""),
        run.job_id,
        run.state,
        str(run.attempt),
        f"{run.lateness_s:.3f}s" if run.lateness_s is not None else "-",
        f"{run.duration_s:.3f}s" if run.duration_s is not None else "-",
        reason[:_LINES_SHOWN],
    )


def _when(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC" if when is not None else "-"


def _clock(when: datetime | None) -> str:
    """In a column whose heading names the zone."""
    return f"{when:%Y-%m-%d %H:%M:%S}" if when is not None else "-"


def _json(value: Any) -> str:
    return json.dumps(value, default=lambda other: other.isoformat() if isinstance(other, datetime) else str(other))
