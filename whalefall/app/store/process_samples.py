"""Memory and CPU of each supervised process over time, for the dashboard. Whoever claims a slot first writes it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, delete, insert, select
from sqlalchemy.exc import IntegrityError

from whalefall.app.store.tables import process_samples
from whalefall.scheduler.ledger.engine import reading, writing

_ROWS_MAX = 20_000  # of one look: an hour of a hundred processes
_CLAIM = ""  # the name in the row that claims a slot


@dataclass(frozen=True, slots=True)
class Lines:
    """One process over time, oldest first."""

    memory_bytes: tuple[int | None, ...]
    cpu_percent: tuple[float | None, ...]


def claim(engine: Engine, host: str, at: datetime) -> bool:
    """True for the one process that is to write this slot."""
    row = {"host": host, "at": at, "name": _CLAIM}
    is_this = [process_samples.c[name] == value for name, value in row.items()]
    with reading(engine) as connection:
        if connection.execute(select(process_samples.c.name).where(*is_this)).first():
            return False  # the usual case costs no write
    try:
        with writing(engine) as connection:
            connection.execute(insert(process_samples).values(row))
    except IntegrityError:
        return False
    return True


def write(engine: Engine, host: str, at: datetime, instances: Sequence[Mapping[str, Any]]) -> None:
    """One row for each instance of `processes.status()`."""
    rows = [
        {"host": host, "at": at, "name": str(one["name"])[:128]}
        | {name: one.get(name) for name in ("memory_bytes", "cpu_percent")}
        for one in instances
    ]
    if rows:
        with writing(engine) as connection:
            connection.execute(insert(process_samples), rows)


def since(engine: Engine, start: datetime, host: str) -> dict[str, Lines]:
    """By name."""
    columns = process_samples.c
    query = (
        select(columns.name, columns.memory_bytes, columns.cpu_percent)
        .where(columns.host == host, columns.at > start, columns.name != _CLAIM)
        .order_by(columns.at)
        .limit(_ROWS_MAX)
    )
    found: dict[str, list[tuple[int | None, float | None]]] = defaultdict(list)
    with reading(engine) as connection:
        for name, memory, cpu in connection.execute(query):
            found[name].append((memory, cpu))
    return {
        name: Lines(tuple(memory for memory, _ in rows), tuple(cpu for _, cpu in rows)) for name, rows in found.items()
    }


def prune(engine: Engine, host: str, until: datetime) -> int:
    """Removes what is older; returns how many rows."""
    columns = process_samples.c
    with writing(engine) as connection:
        return connection.execute(delete(process_samples).where(columns.host == host, columns.at < until)).rowcount
