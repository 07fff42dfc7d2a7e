"""The fires of the next hours, of all jobs together: what runs tonight, and what collides."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from whalefall.app.store.engine import looking
from whalefall.scheduler import JobAdmin, JobView
from whalefall.scheduler.errors import InvalidTrigger, JobNotFound
from whalefall.scheduler.ledger import overview

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
    with looking() as connection:
        ids = overview.soonest_ids(connection, start + span, JOBS_MAX)
    views = {view.id: view for view in admin.list_jobs(ids)} if ids else {}
    found = (_lane(admin, views[job_id], start + span) for job_id in ids if job_id in views)
    return [lane for lane in found if lane and lane.fires]


def _lane(admin: JobAdmin, job: JobView, end: datetime) -> Lane | None:
    """None when the job was deleted or edited between the list and now."""
    try:
        fires = admin.preview(job.id, None, FIRES_OF_JOB_MAX + 1) if job.next_run_time else []
    except (JobNotFound, InvalidTrigger):
        return None
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
