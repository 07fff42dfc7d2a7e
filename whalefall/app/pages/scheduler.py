"""/scheduler: the strip, what needs attention, what runs now, and the jobs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

from flask import Blueprint, current_app, render_template, request
from flask.typing import ResponseReturnValue

from whalefall import scheduler
from whalefall.app.pages.schedules import schedule_words
from whalefall.app.roles import Role, needs
from whalefall.app.store import results
from whalefall.app.store.engine import engine
from whalefall.app.store.results import Result
from whalefall.scheduler import JobAdmin, JobView

DOTS = 20
JOBS_PER_PAGE = 100
_SLOW_FACTOR = 3  # a run that takes three times the usual is worth a look
_OVERDUE = timedelta(seconds=60)


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
    def failures_in_a_row(self) -> int:
        """Unhappy ends since the last success."""
        count = 0
        for run in reversed(self.runs):
            if run.state == "succeeded":
                break
            count += run.state in ("failed", "timed_out", "lost")
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
    wanted = request.args.get("q", "").strip().lower()[:100]
    jobs = sorted(admin().list_jobs(), key=lambda job: (job.source == "retired", job.id))
    matching = [job for job in jobs if wanted in f"{job.id} {job.name} {job.description}".lower()]
    pages = max(1, -(-len(matching) // JOBS_PER_PAGE))
    page = min(max(request.args.get("page", 1, type=int), 1), pages)
    shown = matching[(page - 1) * JOBS_PER_PAGE : page * JOBS_PER_PAGE]
    rows = rows_of(shown)
    return render_template(
        "whalefall/scheduler.html",
        health=admin().health(),
        rows=rows,
        attention=[item for row in rows for item in needs_attention(row)],
        running=admin().list_runs(state="running", limit=50).runs,
        today=counts_of_today(),
        usual={row.job.id: row.usual_s for row in rows},
        query=wanted,
        page_number=page,
        pages=pages,
        count=len(matching),
        schedule_words=schedule_words,
    )


def rows_of(jobs: Sequence[JobView]) -> list[JobRow]:
    """The jobs with their last results."""
    found = results.last_results(engine(), [job.id for job in jobs], DOTS)
    return [JobRow(job, found[job.id]) for job in jobs]


def needs_attention(row: JobRow) -> list[Attention]:
    """What is wrong with this job, if anything."""
    job, found = row.job, []
    if job.source == "broken":
        found.append(Attention("broken", job, job.broken_reason))
    if job.next_run_time and datetime.now(UTC) - job.next_run_time > _OVERDUE:
        found.append(Attention("overdue", job))
    if row.failures_in_a_row:
        found.append(Attention("failing", job, str(row.failures_in_a_row), row.last))
    usual, last = row.usual_s, row.last
    if usual and last and last.duration_s and usual > 1 and last.duration_s > _SLOW_FACTOR * usual:
        found.append(Attention("slow", job, run=last))
    return found


def counts_of_today() -> Counter[str]:
    """What became of the instants since midnight UTC."""
    return results.counts_since(engine(), datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
