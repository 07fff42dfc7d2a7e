"""Looking back: pages of runs, the last run of each job, what is overdue, and forgetting what is old."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, ScalarSelect, Select, delete, func, or_, select

from whalefall.scheduler.core.fires import OnRecord
from whalefall.scheduler.core.runs import ALIVE, FINAL, UNHAPPY, RunState
from whalefall.scheduler.ledger.dialects import among, as_list, chunks, clock_after
from whalefall.scheduler.ledger.records import LastRun, RunRecord, run_record
from whalefall.scheduler.ledger.schema import IS_ALIVE, attempt, job, run


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question about history; None means any."""

    job_id: str | None = None
    state: str | None = None
    source: str | None = None
    before: str | None = None  # a run_id
    limit: int = 50
    after: str | None = None  # a run_id
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class Retention:
    """What a job keeps: its newest `keep_runs`, and nothing that ended before `ended_before`.

    Whatever is younger than `always_since` stays in any case: the fire key must outlive the catch-up window.
    """

    keep_runs: int
    ended_before: datetime
    always_since: datetime


def page(connection: Connection, wanted: Wanted) -> list[RunRecord]:
    """Newest first, unless the oldest are wanted first."""
    newest_first = not wanted.oldest_first
    if wanted.state in ALIVE:
        # Few, and behind a small index. Asked for in order, SQLite would walk the whole history backwards instead.
        ids = sorted(connection.execute(_filtered(select(run.c.run_id), wanted)).scalars(), reverse=newest_first)
        found = _by_id(connection, ids[: wanted.limit])
        return sorted(found, key=lambda record: record.run_id, reverse=newest_first)
    order = run.c.run_id.desc() if newest_first else run.c.run_id
    query = _filtered(select(run), wanted).order_by(order).limit(wanted.limit)
    return [run_record(dict(row)) for row in connection.execute(query).mappings()]


def _filtered(query: Select[Any], wanted: Wanted) -> Select[Any]:
    if wanted.job_id is not None:
        query = query.where(run.c.job_id == wanted.job_id)
    if wanted.state is not None:
        query = query.where(run.c.state == wanted.state)
    if wanted.source is not None:
        query = query.where(run.c.source == wanted.source)
    if wanted.before is not None:
        query = query.where(run.c.run_id < wanted.before)
    if wanted.after is not None:
        query = query.where(run.c.run_id > wanted.after)
    return query


def _by_id(connection: Connection, run_ids: Sequence[str]) -> list[RunRecord]:
    found: list[RunRecord] = []
    for part in chunks(run_ids):
        rows = connection.execute(select(run).where(run.c.run_id.in_(part))).mappings()
        found += [run_record(dict(row)) for row in rows]
    return found


def _of_last_run(column: ColumnElement[Any]) -> ScalarSelect[Any]:
    """A column of the newest run of `job` that really started: one short look along an index."""
    mine = (run.c.job_id == job.c.job_id, run.c.started_at.is_not(None))
    return select(column).where(*mine).order_by(run.c.run_id.desc()).limit(1).correlate(job).scalar_subquery()


def last_runs(connection: Connection, job_ids: Sequence[str]) -> dict[str, LastRun]:
    """The newest run of each job that really started."""
    found: dict[str, LastRun] = {}
    columns = (run.c.job_id, run.c.run_id, run.c.state, run.c.scheduled_at, run.c.started_at, run.c.finished_at)
    for part in chunks(job_ids):
        ids = select(_of_last_run(run.c.run_id)).where(job.c.job_id.in_(part))
        newest = [run_id for run_id in connection.execute(ids).scalars() if run_id is not None]
        rows = connection.execute(select(*columns).where(run.c.run_id.in_(newest)))
        found.update({row.job_id: LastRun(*row) for row in rows})
    return found


def failing(connection: Connection, limit: int) -> list[RunRecord]:
    """The last runs of jobs whose last run went wrong."""
    ended = (
        select(_of_last_run(run.c.run_id).label("run_id"), _of_last_run(run.c.state).label("state"))
        .where(job.c.retired_at.is_(None), job.c.deleted_at.is_(None))
        .subquery()
    )
    query = select(ended.c.run_id).where(ended.c.state.in_(list(UNHAPPY))).limit(limit)
    return _by_id(connection, list(connection.execute(query).scalars()))


def waiting(connection: Connection, late_s: float, limit: int) -> list[RunRecord]:
    """Runs that might have started `late_s` ago, and nobody has."""
    overdue = (run.c.state == RunState.QUEUED, run.c.not_before < clock_after(-late_s))
    query = select(run).where(*overdue).order_by(run.c.not_before).limit(limit)
    return [run_record(dict(row)) for row in connection.execute(query).mappings()]


def newest_instant(connection: Connection) -> datetime | None:
    """When, by the database's clock, the newest run was recorded."""
    query = select(run.c.created_at).order_by(run.c.run_id.desc()).limit(1)
    return connection.execute(query).scalar()


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
    """Oldest first. One statement: between two, a run that is claimed or handed back would be in neither."""
    query = _filtered(select(run).where(IS_ALIVE), Wanted(job_id=job_id))
    found = [run_record(dict(row)) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda record: record.run_id)  # asked for in order, SQLite would walk the whole history


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


def by_hand(connection: Connection, job_id: str, start: datetime, end: datetime) -> list[RunRecord]:
    """What people asked for in [start, end], in order of time."""
    mine = (run.c.job_id == job_id, run.c.source == "manual", run.c.scheduled_at.between(start, end))
    query = select(run).where(*mine).order_by(run.c.run_id)
    return [run_record(dict(row)) for row in connection.execute(query).mappings()]


def on_record(connection: Connection, stretches: Mapping[str, tuple[datetime, datetime]]) -> dict[str, OnRecord]:
    """Of jobs and a stretch of time each: the instants in it that the schedule's rows name, or stand for."""
    first = min(since for since, _ in stretches.values())
    last = max(until for _, until in stretches.values())
    query = select(run.c.job_id, run.c.scheduled_at, run.c.span_end).where(
        among(run.c.job_id, "job_ids"),
        run.c.source == "schedule",
        run.c.scheduled_at <= last,
        or_(run.c.scheduled_at >= first, run.c.span_end >= first),
    )
    instants: dict[str, set[datetime]] = defaultdict(set)
    spans: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for job_id, scheduled_at, span_end in connection.execute(query, {"job_ids": as_list(stretches)}):
        if span_end is None:
            instants[job_id].add(scheduled_at)
        else:
            spans[job_id].append((scheduled_at, span_end))
    return {job_id: OnRecord(frozenset(instants[job_id]), tuple(spans[job_id])) for job_id in {*instants, *spans}}


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
