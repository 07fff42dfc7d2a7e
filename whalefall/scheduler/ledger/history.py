"""Looking back: pages of runs, the last run of each job, what is overdue, and forgetting what is old."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, func, or_, select

from whalefall.scheduler.core.runs import ALIVE, FINAL, RunState
from whalefall.scheduler.ledger.dialects import chunks, clock_after
from whalefall.scheduler.ledger.records import RunRecord, run_record
from whalefall.scheduler.ledger.schema import attempt, job, run


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question about history; None means any."""

    job_id: str | None = None
    state: str | None = None
    source: str | None = None
    before: str | None = None  # a run_id
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Retention:
    """What a job keeps: its newest `keep_runs`, and nothing that ended before `ended_before`.

    Whatever is younger than `always_since` stays in any case: the fire key must outlive the catch-up window.
    """

    keep_runs: int
    ended_before: datetime
    always_since: datetime


def page(connection: Connection, wanted: Wanted) -> list[RunRecord]:
    """Newest first."""
    query = select(run).order_by(run.c.run_id.desc()).limit(wanted.limit)
    if wanted.job_id is not None:
        query = query.where(run.c.job_id == wanted.job_id)
    if wanted.state is not None:
        query = query.where(run.c.state == wanted.state)
    if wanted.source is not None:
        query = query.where(run.c.source == wanted.source)
    if wanted.before is not None:
        query = query.where(run.c.run_id < wanted.before)
    return [run_record(dict(row)) for row in connection.execute(query).mappings()]


def last_runs(connection: Connection, job_ids: Sequence[str]) -> dict[str, RunRecord]:
    """The newest run of each job that really started."""
    newest = select(func.max(run.c.run_id).label("run_id")).where(run.c.started_at.is_not(None)).group_by(run.c.job_id)
    found: dict[str, RunRecord] = {}
    for part in chunks(job_ids):
        query = select(run).where(run.c.run_id.in_(newest.where(run.c.job_id.in_(part))))
        found.update({row["job_id"]: run_record(dict(row)) for row in connection.execute(query).mappings()})
    return found


def backlog(connection: Connection, late_s: float) -> int:
    """Jobs whose instant has passed unrecorded, and runs that nobody has started, for longer than `late_s`."""
    edge = clock_after(-late_s)
    fires = select(func.count()).select_from(job).where(job.c.next_fire_at < edge).scalar_subquery()
    starts = (
        select(func.count())
        .select_from(run)
        .where(run.c.state == RunState.QUEUED, run.c.not_before < edge)
        .scalar_subquery()
    )
    return int(connection.execute(select(fires + starts)).scalar_one())


def with_dedupe(connection: Connection, job_id: str, dedupe: str) -> str | None:
    """The run that was asked for with this key."""
    query = select(run.c.run_id).where(run.c.job_id == job_id, run.c.source == "manual", run.c.dedupe == dedupe)
    return connection.execute(query).scalars().first()


def alive(connection: Connection, job_id: str | None = None) -> list[RunRecord]:
    query = select(run).where(run.c.state.in_(list(ALIVE))).order_by(run.c.run_id)
    if job_id is not None:
        query = query.where(run.c.job_id == job_id)
    return [run_record(dict(row)) for row in connection.execute(query).mappings()]


def covering(connection: Connection, job_id: str, start: datetime, end: datetime) -> list[RunRecord]:
    """The schedule's rows of [start, end], also those that stand for a stretch reaching into it, in order of time."""
    query = (
        select(run)
        .where(
            run.c.job_id == job_id,
            run.c.source == "schedule",
            run.c.scheduled_at <= end,
            or_(run.c.scheduled_at >= start, run.c.span_end >= start),
        )
        .order_by(run.c.scheduled_at)
    )
    return [run_record(dict(row)) for row in connection.execute(query).mappings()]


def attempts(connection: Connection, run_id: str) -> list[Mapping[str, object]]:
    query = select(attempt).where(attempt.c.run_id == run_id).order_by(attempt.c.attempt)
    return [dict(row) for row in connection.execute(query).mappings()]


def durations_s(connection: Connection, job_id: str, limit: int = 50) -> list[float]:
    """Seconds of the newest good runs, newest first."""
    query = (
        select(run.c.started_at, run.c.finished_at)
        .where(run.c.job_id == job_id, run.c.state == RunState.SUCCEEDED)
        .order_by(run.c.run_id.desc())
        .limit(limit)
    )
    return [(end - start).total_seconds() for start, end in connection.execute(query) if start and end]


def prune(connection: Connection, job_id: str, retention: Retention) -> int:
    """Forgets ended runs of a job beyond what it keeps. Answers how many."""
    old = select(run.c.run_id).where(
        run.c.job_id == job_id,
        run.c.state.in_(list(FINAL)),
        func.coalesce(run.c.span_end, run.c.scheduled_at) < retention.always_since,
    )
    beyond = (
        select(run.c.run_id)
        .where(run.c.job_id == job_id)
        .order_by(run.c.run_id.desc())
        .offset(retention.keep_runs)
        .limit(1)
        .scalar_subquery()
    )
    doomed = old.where(or_(run.c.created_at < retention.ended_before, run.c.run_id <= beyond))
    connection.execute(delete(attempt).where(attempt.c.run_id.in_(doomed)))
    return connection.execute(delete(run).where(run.c.run_id.in_(doomed))).rowcount


def orphaned_job_ids(connection: Connection) -> list[str]:
    """Jobs that exist only in history."""
    query = select(run.c.job_id).distinct().where(run.c.job_id.not_in(select(job.c.job_id)))
    return list(connection.execute(query).scalars())
