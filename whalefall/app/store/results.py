"""What the pages show of many runs at once: last results and counts, without the runs' output and errors.

The ledger room's own queries answer with whole runs; twenty of them for each of a hundred jobs would be megabytes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, func, select

from whalefall.scheduler.core.runs import UNHAPPY
from whalefall.scheduler.ledger.engine import reading
from whalefall.scheduler.ledger.schema import run

_HOUR_MAX = 20_000  # rows that one scrape may read
_LONGEST = timedelta(days=1)  # a run that began on the day before may have ended today


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


def last_results(engine: Engine, job_ids: Sequence[str], count: int) -> dict[str, tuple[Result, ...]]:
    """The last `count` runs of each job, the newest last.

    One short look along the index (job_id, run_id) per job: a window function would read every run of these jobs.
    """
    columns = run.c
    wanted = select(columns.run_id, columns.state, columns.scheduled_at, columns.started_at, columns.finished_at)
    found: dict[str, tuple[Result, ...]] = {}
    with reading(engine) as connection:
        for job_id in job_ids:
            query = wanted.where(columns.job_id == job_id).order_by(columns.run_id.desc()).limit(count)
            found[job_id] = tuple(Result(*row) for row in connection.execute(query))[::-1]
    return found


def counts_since(engine: Engine, moment: datetime) -> Counter[str]:
    """Instants since `moment` by what became of them: succeeded, failed, missed, skipped.

    Run ids grow with time, so the primary key finds them; a row that stands for many skipped instants counts them all.
    """
    columns = run.c
    query = (
        select(columns.state, func.sum(columns.span_count))
        .where(columns.run_id >= _first_id(moment - _LONGEST), columns.scheduled_at >= moment)
        .group_by(columns.state)
    )
    counts: Counter[str] = Counter()
    with reading(engine) as connection:
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


@dataclass(frozen=True, slots=True)
class HourOfJob:
    """What became of one job's instants in a while, by state."""

    job_id: str
    state: str
    count: int
    longest_s: float | None
    latest_s: float | None


def hour(engine: Engine, since: datetime) -> list[HourOfJob]:
    """Runs whose instant was after `since`, by job and state."""
    columns = run.c
    query = (
        select(
            columns.job_id,
            columns.state,
            columns.span_count,
            columns.scheduled_at,
            columns.started_at,
            columns.finished_at,
        )
        .where(columns.run_id >= _first_id(since - _LONGEST), columns.scheduled_at >= since)
        .order_by(columns.run_id.desc())
        .limit(_HOUR_MAX)
    )
    found: dict[tuple[str, str], HourOfJob] = {}
    with reading(engine) as connection:
        for row in connection.execute(query):
            result = Result("", row.state, row.scheduled_at, row.started_at, row.finished_at)
            late_s = (row.started_at - row.scheduled_at).total_seconds() if row.started_at else None
            key = (row.job_id, row.state)
            before = found.get(key) or HourOfJob(row.job_id, row.state, 0, None, None)
            found[key] = HourOfJob(
                row.job_id,
                row.state,
                before.count + row.span_count,
                _larger(before.longest_s, result.duration_s),
                _larger(before.latest_s, late_s),
            )
    return list(found.values())


def _larger(one: float | None, other: float | None) -> float | None:
    return max((value for value in (one, other) if value is not None), default=None)
