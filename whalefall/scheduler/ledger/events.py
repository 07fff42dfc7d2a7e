"""What happened to jobs and to leadership, in order: the answer to "why did this not run?"."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from whalefall.scheduler.ledger.dialects import chunks, clock
from whalefall.scheduler.ledger.records import EventRecord
from whalefall.scheduler.ledger.schema import event

# kinds: led, schedule (the trigger from then on), paused, resumed, broken, healed, retired, deleted,
# cut_off (what a stop could not wait for), cut_off_told (by the next start)
_PASSING = ("led", "cut_off", "cut_off_told")


def note(
    connection: Connection, kind: str, *, job_id: str = "", actor: str = "", detail: dict[str, Any] | None = None
) -> None:
    connection.execute(insert(event).values(at=clock(), kind=kind, job_id=job_id, actor=actor, detail=detail or {}))


def note_many(connection: Connection, kind: str, *, actor: str, details: Mapping[str, dict[str, Any]]) -> None:
    """One event for each job of `details`."""
    rows = [{"kind": kind, "job_id": job_id, "actor": actor, "detail": detail} for job_id, detail in details.items()]
    for part in chunks(rows):
        connection.execute(insert(event).values(at=clock()), list(part))


def of_job(connection: Connection, job_id: str, kinds: Sequence[str] = ()) -> list[EventRecord]:
    """Oldest first."""
    query = select(event).where(event.c.job_id == job_id).order_by(event.c.event_id)
    if kinds:
        query = query.where(event.c.kind.in_(kinds))
    return [EventRecord(**row) for row in connection.execute(query).mappings()]


def newest(connection: Connection, limit: int) -> list[EventRecord]:
    query = select(event).order_by(event.c.event_id.desc()).limit(limit)
    return [EventRecord(**row) for row in connection.execute(query).mappings()]


def prune(connection: Connection, before: datetime) -> int:
    """Forgets old changes of leadership and old stops; what happened to jobs stays, `verify` needs it."""
    return connection.execute(delete(event).where(event.c.kind.in_(_PASSING), event.c.at < before)).rowcount
