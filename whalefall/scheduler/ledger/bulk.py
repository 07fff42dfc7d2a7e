"""Many rows in one statement, past SQLAlchemy's per-row work: the difference between hundreds and thousands a second.

Measured with 10,000 jobs due at once. PostgreSQL takes columns as arrays (`unnest`), SQLite's driver loops in C.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from whalefall.scheduler.ledger.schema import run

# What differs from row to row of one batch, with PostgreSQL's names of the types; all else is the same for the batch.
_VARYING = {
    "run_id": "text",
    "job_id": "text",
    "scheduled_at": "timestamptz",
    "state": "text",
    "reason": "text",
    "span_end": "timestamptz",
    "span_count": "int",
    "not_before": "timestamptz",
    "slots": "int",
    "executor": "text",
}


def insert_runs(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts what the fire key does not know yet. The rows differ in _VARYING only."""
    if not rows:
        return
    constant = {name: value for name, value in rows[0].items() if name not in _VARYING and value is not None}
    names = [*_VARYING, *constant]
    if connection.dialect.name == "sqlite":
        _insert_sqlite(connection, names, [[_plain(row[name]) for name in names] for row in rows])
        return
    columns = {name: [row[name] for row in rows] for name in _VARYING}
    arrays = ", ".join(f"%({name})s::{kind}[]" for name, kind in _VARYING.items())
    same = "".join(f", %({name})s" for name in constant)
    statement = (
        f"INSERT INTO {run.name} ({', '.join(names)}) "  # noqa: S608 - the names are ours, the values are parameters
        f"SELECT u.*{same} FROM unnest({arrays}) AS u ON CONFLICT DO NOTHING"
    )
    connection.exec_driver_sql(statement, {**columns, **constant})


def move_cursors(connection: Connection, moves: Sequence[tuple[str, datetime, datetime | None]]) -> None:
    """(job, where it stands, where it goes): compare and set, for each."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "UPDATE wf_job SET next_fire_at = ? WHERE job_id = ? AND next_fire_at = ?",
            [(_plain(then), job_id, _plain(was)) for job_id, was, then in moves],
        )
        return
    connection.exec_driver_sql(
        "UPDATE wf_job AS j SET next_fire_at = m.goes FROM "
        "unnest(%(job)s::text[], %(stands)s::timestamptz[], %(goes)s::timestamptz[]) AS m(job_id, stands, goes) "
        "WHERE j.job_id = m.job_id AND j.next_fire_at = m.stands",
        {"job": [m[0] for m in moves], "stands": [m[1] for m in moves], "goes": [m[2] for m in moves]},
    )


def set_started(connection: Connection, holder: str, starts: Sequence[tuple[str, int, float]]) -> None:
    """(run, attempt, seconds since its code began), of those that `holder` runs."""
    if not starts:
        return
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "UPDATE wf_run SET started_at = strftime('%Y-%m-%d %H:%M:%f000', 'now', (-?) || ' seconds') "
            "WHERE run_id = ? AND attempt = ? AND claimed_by = ? AND state = 'running'",
            [(max(ago_s, 0.0), run_id, attempt, holder) for run_id, attempt, ago_s in starts],
        )
        return
    connection.exec_driver_sql(
        "UPDATE wf_run AS r SET started_at = clock_timestamp() - make_interval(secs => s.ago) FROM "
        "unnest(%(run)s::text[], %(attempt)s::int[], %(ago)s::float8[]) AS s(run_id, attempt, ago) "
        "WHERE r.run_id = s.run_id AND r.attempt = s.attempt AND r.claimed_by = %(holder)s AND r.state = 'running'",
        {
            "run": [run_id for run_id, _, _ in starts],
            "attempt": [attempt for _, attempt, _ in starts],
            "ago": [max(ago_s, 0.0) for _, _, ago_s in starts],
            "holder": holder,
        },
    )


def _insert_sqlite(connection: Connection, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    marks = ", ".join("?" for _ in names)
    connection.exec_driver_sql(
        f"INSERT INTO {run.name} ({', '.join(names)}) VALUES ({marks}) ON CONFLICT DO NOTHING",  # noqa: S608 - names are ours
        [tuple(row) for row in rows],
    )


def _plain(value: Any) -> Any:
    """As SQLAlchemy stores it in SQLite."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return str(value) if isinstance(value, str) else value
