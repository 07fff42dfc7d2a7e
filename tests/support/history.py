"""A ledger with a past: many jobs, many runs, from one seed. For measuring, and for looking at query plans."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from tests.support.ledgers import bring_in, declared
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.schema import run

# Of a thousand runs; the rest succeeded.
ODD = {"failed": 8, "timed_out": 1, "lost": 1, "cancelled": 1, "skipped_late": 2, "skipped_overlap": 5}
BY_HAND = 2  # of a thousand
_BATCH = 20_000


def fill(ledger: Ledger, *, jobs: int, runs_each: int, seed: int = 1) -> list[str]:
    """One run of each job per minute until now. Answers the ids of the jobs."""
    ids = [f"job{number:05}" for number in range(jobs)]
    bring_in(ledger, *(declared(job_id, "cron", minute="*") for job_id in ids))
    batch: list[tuple[Any, ...]] = []
    with ledger.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        driver = connection.connection.driver_connection
        assert driver is not None
        indexes = _without_indexes(connection)
        for row in _rows(ids, runs_each, random.Random(seed)):
            batch.append(row)
            if len(batch) == _BATCH:
                _insert(driver, batch)
                batch.clear()
        _insert(driver, batch)
        for statement in indexes:
            connection.execute(text(statement))
        connection.execute(text("ANALYZE"))
    return ids


def _without_indexes(connection: Connection) -> list[str]:
    """Drops SQLite's, because an index that is made at the end costs a tenth; answers with what makes them again."""
    if connection.dialect.name != "sqlite":
        return []
    found = connection.execute(
        text("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 'wf_run' AND sql IS NOT NULL")
    ).all()
    connection.execute(text("PRAGMA cache_size = -262144"))
    for name, _ in found:
        connection.execute(text(f"DROP INDEX {name}"))
    return [statement for _, statement in found]


_COLUMNS = tuple(column.name for column in run.columns)


def _rows(ids: list[str], runs_each: int, chance: random.Random) -> Iterator[tuple[Any, ...]]:
    states, weights = [*ODD, "succeeded"], [*ODD.values(), 1000 - sum(ODD.values())]
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    for back in range(runs_each, 0, -1):
        instant = end - timedelta(minutes=back)
        for number, job_id in enumerate(ids):
            state = chance.choices(states, weights)[0]
            began = None if state.startswith("skipped") else instant + timedelta(milliseconds=chance.randrange(500))
            ended = began and began + timedelta(milliseconds=chance.randrange(1, 5000))
            values = {
                "run_id": _run_id(instant, number),
                "job_id": job_id,
                "source": "manual" if chance.randrange(1000) < BY_HAND else "schedule",
                "scheduled_at": instant,
                "state": state,
                "span_count": 1,
                "not_before": instant,
                "slots": 1,
                "executor": "thread",
                "created_at": instant,
                "attempt": 0 if began is None else 1,
                "cancel_requested": False,
                "started_at": began,
                "finished_at": ended,
                "output": f"{job_id} did what it does\n" * 5,
                "error": "ValueError: no shelf" if state == "failed" else "",
            }
            yield tuple(_plain(values.get(name, _EMPTY.get(name))) for name in _COLUMNS)


_EMPTY: dict[str, Any] = {column.name: "" for column in run.columns if not column.nullable}


def _run_id(instant: datetime, number: int) -> str:
    digits = f"{int(instant.timestamp() * 1000):012x}7{number >> 12:03x}8{number & 0xFFF:03x}{number:012x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _plain(value: Any) -> Any:
    return value.replace(tzinfo=None).isoformat(" ", "microseconds") if isinstance(value, datetime) else value


def _insert(driver: Any, rows: list[tuple[Any, ...]]) -> None:
    if not rows:
        return
    names = ", ".join(_COLUMNS)
    if hasattr(driver, "executescript"):  # SQLite's
        driver.executemany(f"INSERT INTO wf_run ({names}) VALUES ({', '.join('?' * len(_COLUMNS))})", rows)  # noqa: S608 - the names are ours
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY wf_run ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([value + "+00" if name.endswith(("_at", "_before")) and value else value
                            for name, value in zip(_COLUMNS, row, strict=True)])  # fmt: skip
