"""/scheduler: the strip, what needs attention, what runs now, and the jobs."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from flask import Blueprint, current_app, render_template, request
from flask.typing import ResponseReturnValue

from whalefall import scheduler
from whalefall.app.pages.schedules import schedule_words
from whalefall.app.pages.show import last_words
from whalefall.app.remembering import Remembered
from whalefall.app.roles import Role, needs
from whalefall.app.store.engine import engine, looking
from whalefall.app.today import Today
from whalefall.scheduler import JobAdmin, JobView, RunView
from whalefall.scheduler.core.runs import UNHAPPY
from whalefall.scheduler.ledger import overview
from whalefall.scheduler.ledger.overview import Result

DOTS = 20
JOBS_PER_PAGE = 50
_SLOW_FACTOR = 3  # a run that takes three times the usual is worth a look
_OVERDUE = timedelta(seconds=60)
_FAILED_WITHIN = timedelta(days=1)
_ATTENTION_MAX = 20  # more than that is one problem, not twenty
_RUNNING_MAX = 50
_PROGRESS_TOLD = 0.05  # of a run: less tells nothing about the rest
_ELAPSED_TOLD_S = 2.0


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job with its last results, the newest last."""

    job: JobView
    runs: tuple[Result, ...]

    @property
    def last(self) -> Result | None:
        """The newest run."""
        return self.runs[-1] if self.runs else None

    @property
    def last_took_s(self) -> float | None:
        """How long the newest run that has ended took."""
        return next((run.duration_s for run in reversed(self.runs) if run.duration_s is not None), None)

    @property
    def durations(self) -> list[float]:
        """Of the runs that succeeded, oldest first."""
        return [run.duration_s for run in self.runs if run.state == "succeeded" and run.duration_s is not None]

    @property
    def usual_s(self) -> float | None:
        """What a run of this job usually takes."""
        return median(self.durations) if self.durations else None

    @property
    def last_failure(self) -> Result | None:
        """The newest unhappy end."""
        return next((run for run in reversed(self.runs) if run.state in UNHAPPY), None)

    @property
    def failures_in_a_row(self) -> int:
        """Unhappy ends since the last success."""
        count = 0
        for run in reversed(self.runs):
            if run.state == "succeeded":
                break
            count += run.state in UNHAPPY
        return count


@dataclass(frozen=True, slots=True)
class Attention:
    """Something that a person should look at; `kind` chooses the sentence in the template."""

    kind: str
    job: JobView
    detail: str = ""
    run: Result | None = None


def add_to(blueprint: Blueprint) -> None:
    """Registers the page."""
    blueprint.add_url_rule("/scheduler", "scheduler", show_scheduler)


def admin() -> JobAdmin:
    """Reads the ledger; changes go through the API."""
    return scheduler.of(current_app).admin


@needs(Role.VIEW)
def show_scheduler() -> ResponseReturnValue:
    """The page."""
    wanted = request.args.get("q", "").strip()[:100]
    page = max(request.args.get("page", 1, type=int), 1)
    now = datetime.now(UTC)
    jobs = admin().page_of_jobs(text=wanted, limit=JOBS_PER_PAGE, offset=(page - 1) * JOBS_PER_PAGE)
    with looking() as connection:
        troubled = overview.troubled_ids(connection, now - _OVERDUE, now - _FAILED_WITHIN, _ATTENTION_MAX)
        running = overview.running_ids(connection, _RUNNING_MAX)
    rows = _rows(jobs.jobs)
    known = {row.job.id: row for row in rows}
    active = [admin().get_run(run_id) for run_id in running]
    others = {*troubled, *(run.job_id for run in active)} - set(known)
    known |= {row.job.id: row for row in rows_of(sorted(others))}
    usual = {job_id: row.usual_s for job_id, row in known.items()}
    attention = [item for row in known.values() for item in needs_attention(row)]
    return render_template(
        "whalefall/scheduler.html",
        health=admin().health(),
        rows=rows,
        attention=attention,
        said=_said(attention),
        running=active,
        today=_today(now),
        usual=usual,
        remaining={run.run_id: remaining_s(run, usual.get(run.job_id), now) for run in active},
        query=wanted,
        page_number=page,
        pages=max(1, -(-jobs.count // JOBS_PER_PAGE)),
        count=jobs.count,
        schedule_words=schedule_words,
    )


def _said(attention: Sequence[Attention]) -> dict[str, str]:
    """What the runs among them died of, by run."""
    with looking() as connection:
        found = overview.last_words(connection, [item.run.run_id for item in attention if item.run])
    return defaultdict(str, {run_id: last_words(tail) for run_id, tail in found.items()})


_counts: Remembered[Counter[str]] = Remembered()
_today_so_far = Today()


def _today(now: datetime) -> Counter[str]:
    """Since midnight, UTC."""
    database = str(engine().url)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)

    def count(made_from: datetime, made_before: datetime | None) -> Counter[str]:
        with looking() as connection:
            return overview.counts_since(connection, midnight, made_from, made_before)

    return _counts.get((database, midnight), lambda: _today_so_far.counts(database, now, count))


def rows_of(job_ids: Sequence[str]) -> list[JobRow]:
    """The jobs with their last results; one that was deleted meanwhile is left out."""
    return _rows(admin().list_jobs(job_ids)) if job_ids else []


def _rows(jobs: Sequence[JobView]) -> list[JobRow]:
    with looking() as connection:
        found = overview.last_results(connection, [job.id for job in jobs], DOTS)
    return [JobRow(job, found[job.id]) for job in jobs]


def remaining_s(run: RunView, usual_s: float | None, now: datetime) -> float | None:
    """How long a run may still take: by its progress, else by what is usual; None when there is nothing to go by."""
    if run.started_at is None:
        return None
    elapsed_s = (now - run.started_at).total_seconds()
    if run.progress and run.progress >= _PROGRESS_TOLD and elapsed_s >= _ELAPSED_TOLD_S:
        return elapsed_s * (1 - run.progress) / run.progress
    return usual_s - elapsed_s if usual_s and usual_s > elapsed_s else None


def needs_attention(row: JobRow) -> list[Attention]:
    """What is wrong with this job, if anything."""
    job, found = row.job, []
    if job.source == "broken":
        found.append(Attention("broken", job, job.broken_reason))
    if job.next_run_time and datetime.now(UTC) - job.next_run_time > _OVERDUE:
        found.append(Attention("overdue", job))
    if row.failures_in_a_row:
        found.append(Attention("failing", job, str(row.failures_in_a_row), row.last_failure))
    usual, last = row.usual_s, row.last
    if usual and last and last.duration_s and usual > 1 and last.duration_s > _SLOW_FACTOR * usual:
        found.append(Attention("slow", job, run=last))
    return found
