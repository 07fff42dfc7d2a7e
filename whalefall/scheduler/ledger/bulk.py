"""Many rows in one statement, past SQLAlchemy's per-row work: the difference between hundreds and thousands a second.

Measured with 10,000 jobs due at once. SQLite's driver loops in C. PostgreSQL takes a value that all rows have in common
once, which in a crowd are most, and each other column as one list in JSON: psycopg makes its arrays item by item.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection

from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger.schema import run


class NewRun(NamedTuple):
    """What differs from row to row of one batch; all else is the same for the batch."""

    run_id: str
    job_id: str
    scheduled_at: datetime
    state: RunState
    reason: str
    span_end: datetime | None
    span_count: int
    not_before: datetime
    slots: int
    executor: str


@dataclass(frozen=True, slots=True)
class NewRuns:
    """`usual` are the columns that all have in common, and their values."""

    usual: Mapping[str, Any]
    each: Sequence[NewRun]


_VARYING = NewRun._fields
_TYPES = {  # in PostgreSQL, of those that are no text
    "scheduled_at": "timestamptz",
    "span_end": "timestamptz",
    "span_count": "int",
    "not_before": "timestamptz",
    "slots": "int",
    "stands": "timestamptz",
    "goes": "timestamptz",
}


def insert_runs(connection: Connection, rows: NewRuns) -> int:
    """Inserts what the fire key does not know yet: so many."""
    if not rows.each:
        return 0
    if connection.dialect.name == "sqlite":
        return _insert_sqlite(connection, rows)
    same = {name: value for name, value in rows.usual.items() if value is not None}
    given, parameters = _given(_VARYING, rows.each)
    statement = (
        f"INSERT INTO {run.name} ({', '.join((*_VARYING, *same))}) "  # noqa: S608 - the names are ours, the values are parameters
        f"SELECT {', '.join(('u.*', *(f'%({name})s' for name in same)))} FROM {given} ON CONFLICT DO NOTHING"
    )
    return connection.exec_driver_sql(statement, {**parameters, **same}).rowcount


def move_cursors(connection: Connection, moves: Sequence[tuple[str, datetime, datetime | None]]) -> None:
    """(job, where it stands, where it goes): compare and set, for each."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(
            "UPDATE wf_job SET next_fire_at = ? WHERE job_id = ? AND next_fire_at = ?",
            [(_plain(then), job_id, _plain(was)) for job_id, was, then in moves],
        )
        return
    given, parameters = _given(("job", "stands", "goes"), moves)
    connection.exec_driver_sql(
        f"UPDATE wf_job AS j SET next_fire_at = u.goes FROM {given} "  # noqa: S608 - the names are ours
        "WHERE j.job_id = u.job AND j.next_fire_at = u.stands",
        parameters,
    )


def _given(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> tuple[str, dict[str, Any]]:
    """The rows as a table `u` for PostgreSQL, and its parameters. No two rows are the same."""
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    lists = [name for name, values in columns.items() if values.count(values[0]) < len(values)]
    of_all = ", ".join(
        f"{f'e.{name}' if name in lists else f'%({name})s'}::{_TYPES.get(name, 'text')} AS {name}" for name in names
    )
    of_each = ", ".join(f"json_array_elements_text(%({name})s::json)" for name in lists)
    source = f" FROM ROWS FROM ({of_each}) AS e({', '.join(lists)})" if lists else ""
    parameters = {
        name: json.dumps(values, default=datetime.isoformat) if name in lists else values[0]
        for name, values in columns.items()
    }
    return f"(SELECT {of_all}{source}) AS u", parameters


def _insert_sqlite(connection: Connection, rows: NewRuns) -> int:
    names = (*_VARYING, *rows.usual)
    same = tuple(_plain(value) for value in rows.usual.values())
    return connection.exec_driver_sql(
        f"INSERT INTO {run.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) ON CONFLICT DO NOTHING",  # noqa: S608 - names are ours
        [(*map(_plain, row), *same) for row in rows.each],
    ).rowcount


def _plain(value: Any) -> Any:
    """As SQLAlchemy stores it in SQLite."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ", "microseconds")
    return value if value is None or isinstance(value, int) else str(value)
