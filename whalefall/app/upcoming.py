"""The fires of the next hours, of all jobs together: what runs tonight, and what collides."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from whalefall.scheduler import JobAdmin, JobView
from whalefall.scheduler.errors import InvalidTrigger

FIRES_OF_JOB_MAX = 96  # a job that fires more often within the span is drawn as a band, not as so many dots
JOBS_MAX = 200  # the soonest; computing fires is work, and nobody reads more


@dataclass(frozen=True, slots=True)
class Lane:
    """One job's fires; `is_dense` when there are more than could be listed."""

    job: JobView
    fires: tuple[datetime, ...]
    is_dense: bool


def lanes(admin: JobAdmin, start: datetime, span: timedelta) -> list[Lane]:
    """A lane for each job that fires within `span`, the soonest first."""
    due = [job for job in admin.list_jobs() if job.next_run_time and job.next_run_time < start + span]
    due.sort(key=lambda job: (job.next_run_time, job.id))
    return [lane for job in due[:JOBS_MAX] if (lane := _lane(admin, job, start + span)).fires]


def _lane(admin: JobAdmin, job: JobView, end: datetime) -> Lane:
    try:
        fires = admin.preview(job.id, None, FIRES_OF_JOB_MAX + 1)
    except InvalidTrigger:  # edited to something else between the list and now
        fires = []
    within = [fire for fire in fires if fire < end]
    return Lane(job, tuple(within[:FIRES_OF_JOB_MAX]), is_dense=len(within) > FIRES_OF_JOB_MAX)


def collisions(found: list[Lane]) -> list[tuple[datetime, list[str]]]:
    """Instants at which more than one job fires, jobs in a band left out: they meet everybody."""
    sparse = [(fire, lane.job.id) for lane in found if not lane.is_dense for fire in lane.fires]
    often = Counter(fire for fire, _ in sparse)
    together: dict[datetime, list[str]] = {}
    for fire, job_id in sorted(sparse):
        if often[fire] > 1:
            together.setdefault(fire, []).append(job_id)
    return list(together.items())
