"""Many jobs and runs at a glance, for pages and metrics: identities, last results and counts, never outputs or errors.

The verbs of `Ledger` answer with whole records. A page of a hundred jobs among ten thousand, with twenty results each,
must not read megabytes of them; each query here follows an index, and each has a limit.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, case, func, or_, select

from whalefall.scheduler.core.fires import NEWER_RAN
from whalefall.scheduler.core.runs import UNHAPPY, RunState
from whalefall.scheduler.ledger.dialects import chunks
from whalefall.scheduler.ledger.schema import job, run

_TAIL = 300  # characters of a traceback that say what it was
SKEW = timedelta(minutes=5)  # a run id has the clock of whoever fired it; its instant is never after that


@dataclass(frozen=True, slots=True)
class Result:
    """One run in a row of dots."""

    run_id: str
    state: str
    scheduled_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end."""
        if self.started_at is None or self.finished_at is None:
            return None
        return (self.finished_at - self.started_at).total_seconds()


def last_results(connection: Connection, job_ids: Sequence[str], count: int) -> dict[str, tuple[Result, ...]]:
    """The last `count` runs of each job, the newest last.

    One short look along the index (job_id, run_id) per job: a window function would read every run of these jobs.
    """
    columns = run.c
    wanted = select(columns.run_id, columns.state, columns.scheduled_at, columns.started_at, columns.finished_at)
    found: dict[str, tuple[Result, ...]] = {}
    for job_id in job_ids:
        query = wanted.where(columns.job_id == job_id).order_by(columns.run_id.desc()).limit(count)
        found[job_id] = tuple(Result(*row) for row in connection.execute(query))[::-1]
    return found


def counts_since(
    connection: Connection, moment: datetime, made_from: datetime | None = None, made_before: datetime | None = None
) -> Counter[str]:
    """Instants since `moment` by what became of them: succeeded, failed, missed, skipped.

    Run ids grow with time, so the primary key finds them, also those alone that were made within a while. A row that
    stands for many skipped instants counts them all.
    """
    columns = run.c
    wanted = [columns.run_id >= _first_id(made_from or moment - SKEW), columns.scheduled_at >= moment]
    if made_before is not None:
        wanted.append(columns.run_id < _first_id(made_before))
    query = select(columns.state, func.sum(columns.span_count)).where(*wanted).group_by(columns.state)
    counts: Counter[str] = Counter()
    for state, number in connection.execute(query):
        counts[_meaning(state)] += number
    return counts


def _meaning(state: str) -> str:
    if state in UNHAPPY:
        return "failed"
    if state == "skipped_late":
        return "missed"
    return "skipped" if state.startswith("skipped_") else state


def _first_id(moment: datetime) -> str:
    """The smallest run id of that millisecond: ids are UUIDs of version 7 (RFC 9562), 48 bits of time first."""
    digits = f"{max(int(moment.timestamp() * 1000), 0):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def page_of_ids(connection: Connection, text: str, limit: int, offset: int) -> tuple[list[str], int]:
    """Ids of jobs whose id, name or description contains `text`, retired ones last, and how many there are in all."""
    wanted: list[ColumnElement[bool]] = [job.c.deleted_at.is_(None)]
    if text:
        words = func.lower(job.c.job_id + " " + job.c.name + " " + job.c.description)
        wanted.append(words.contains(text.lower(), autoescape=True))
    count = connection.execute(select(func.count()).select_from(job).where(*wanted)).scalar_one()
    order = (case((job.c.retired_at.is_(None), 0), else_=1), job.c.job_id)
    query = select(job.c.job_id).where(*wanted).order_by(*order).limit(limit).offset(offset)
    return list(connection.execute(query).scalars()), count


def soonest_ids(connection: Connection, until: datetime, limit: int) -> list[str]:
    """Ids of the jobs that fire before `until`, the soonest first."""
    query = select(job.c.job_id).where(_fires(), job.c.next_fire_at < until)
    return list(connection.execute(query.order_by(job.c.next_fire_at, job.c.job_id).limit(limit)).scalars())


def troubled_ids(connection: Connection, overdue_before: datetime, failed_since: datetime, limit: int) -> list[str]:
    """Ids of jobs that a person should look at: broken, overdue, or with an unhappy end since `failed_since`."""
    wrong = select(job.c.job_id).where(
        job.c.deleted_at.is_(None),
        job.c.retired_at.is_(None),
        or_(job.c.broken_reason != "", _fires() & (job.c.next_fire_at < overdue_before)),
    )
    failed = (
        select(run.c.job_id)
        .where(run.c.run_id >= _first_id(failed_since), run.c.state.in_(UNHAPPY))
        .order_by(run.c.run_id.desc())
        .limit(10 * limit)
    )
    found = [*connection.execute(wrong.limit(limit)).scalars(), *connection.execute(failed).scalars()]
    return list(dict.fromkeys(found))[:limit]


def _fires() -> ColumnElement[bool]:
    return job.c.deleted_at.is_(None) & job.c.retired_at.is_(None) & (job.c.broken_reason == "")


@dataclass(frozen=True, slots=True)
class UnhappyEnd:
    """A run that failed, or an instant that was missed."""

    run_id: str
    job_id: str
    state: str
    scheduled_at: datetime
    ended_at: datetime
    span_count: int
    reason: str
    last_words: str  # the end of its traceback


def unhappy_ends(connection: Connection, since: datetime, limit: int) -> list[UnhappyEnd]:
    """What failed or was missed of the runs that were made after `since`, the newest first.

    An instant in whose place a newer one ran is not missed: that is what catch_up='last' is for.
    """
    columns = run.c
    query = (
        select(
            columns.run_id,
            columns.job_id,
            columns.state,
            columns.scheduled_at,
            func.coalesce(columns.finished_at, columns.created_at),
            columns.span_count,
            columns.reason,
            _tail_of_error(connection),
        )
        .where(columns.state.in_([*UNHAPPY, RunState.SKIPPED_LATE]), columns.run_id >= _first_id(since))
        .where(columns.reason != NEWER_RAN)
        .order_by(columns.run_id.desc())
        .limit(limit)
    )
    return [UnhappyEnd(*row) for row in connection.execute(query)]


def last_words(connection: Connection, run_ids: Sequence[str]) -> dict[str, str]:
    """The end of the traceback of each of these runs, which are few; of one without, its reason."""
    query = select(run.c.run_id, _tail_of_error(connection), run.c.reason).where(run.c.run_id.in_(run_ids))
    return {row.run_id: row[1] or row.reason for row in connection.execute(query)}


def _tail_of_error(connection: Connection) -> ColumnElement[str]:
    error = run.c.error
    return func.substr(error, -_TAIL) if connection.dialect.name == "sqlite" else func.right(error, _TAIL)


def quiet_ids(connection: Connection) -> set[str]:
    """Jobs of which nobody is told: gone, or declared with notify=False."""
    query = select(job.c.job_id).where(
        or_(
            job.c.retired_at.is_not(None),
            job.c.deleted_at.is_not(None),
            job.c.policies["notify"].as_boolean().is_(False),
        )
    )
    return set(connection.execute(query).scalars())


def unknown_ids(connection: Connection, job_ids: Sequence[str]) -> set[str]:
    """Those of `job_ids` that are no job any more."""
    found: set[str] = set()
    for part in chunks(job_ids):
        found |= set(connection.execute(select(job.c.job_id).where(job.c.job_id.in_(part))).scalars())
    return set(job_ids) - found


def running_ids(connection: Connection, limit: int) -> list[str]:
    """Ids of the runs that are running, the newest first."""
    query = select(run.c.run_id).where(run.c.state == RunState.RUNNING)  # the partial index; sorted here, they are few
    return sorted(connection.execute(query).scalars(), reverse=True)[:limit]


def next_fires(connection: Connection, limit: int) -> dict[str, datetime]:
    """The next fire of each job that has one."""
    query = select(job.c.job_id, job.c.next_fire_at).where(_fires(), job.c.next_fire_at.is_not(None))
    return {job_id: at for job_id, at in connection.execute(query.order_by(job.c.job_id).limit(limit)) if at}


def counts_of_jobs(connection: Connection) -> Counter[str]:
    """Jobs by what holds them: running, paused, broken, retired."""
    held = case(
        (job.c.retired_at.is_not(None), "retired"),
        (job.c.broken_reason != "", "broken"),
        (job.c.paused_at.is_not(None), "paused"),
        else_="running",
    )
    query = select(held.label("state"), func.count().label("number")).where(job.c.deleted_at.is_(None)).group_by(held)
    return Counter({str(row.state): row.number for row in connection.execute(query)})
