"""Verbs on jobs: declare, edit, pause, quarantine, retire. Edits carry the version that they were made from."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from whalefall.scheduler.core.fires import Due, plan_fires
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.core.triggers import UNCOMPUTABLE, TriggerError
from whalefall.scheduler.ledger import events, history
from whalefall.scheduler.ledger.dialects import chunks, clock, clock_after, locked
from whalefall.scheduler.ledger.records import JobRecord, job_record
from whalefall.scheduler.ledger.schema import job


def now(connection: Connection) -> datetime:
    """The database's clock."""
    moment = connection.execute(select(clock())).scalar_one()
    assert moment is not None  # noqa: S101 - clocks have no NULL
    return moment


def every(connection: Connection) -> list[JobRecord]:
    """All but the deleted, by id."""
    query = select(job).where(job.c.deleted_at.is_(None)).order_by(job.c.job_id)
    return [job_record(dict(row)) for row in connection.execute(query).mappings()]


def some(connection: Connection, job_ids: Sequence[str]) -> list[JobRecord]:
    """Those of the ids that exist, by id."""
    found: list[JobRecord] = []
    for part in chunks(job_ids):
        query = select(job).where(job.c.job_id.in_(part), job.c.deleted_at.is_(None))
        found += [job_record(dict(row)) for row in connection.execute(query).mappings()]
    return sorted(found, key=lambda record: record.job_id)


def broken(connection: Connection, limit: int) -> list[JobRecord]:
    query = select(job).where(job.c.broken_reason != "", job.c.deleted_at.is_(None)).order_by(job.c.job_id).limit(limit)
    return [job_record(dict(row)) for row in connection.execute(query).mappings()]


def overdue(connection: Connection, late_s: float, limit: int) -> list[tuple[str, datetime]]:
    """Jobs whose instant passed `late_s` ago, and nobody has looked; the longest first."""
    late = job.c.next_fire_at < clock_after(-late_s)
    query = select(job.c.job_id, job.c.next_fire_at).where(late).order_by(job.c.next_fire_at).limit(limit)
    return [(job_id, at) for job_id, at in connection.execute(query) if at is not None]


def every_row(connection: Connection) -> dict[str, JobRecord]:
    """Also the deleted, locked: for bringing code and ledger together."""
    return {row["job_id"]: job_record(dict(row)) for row in connection.execute(locked(select(job))).mappings()}


def owners(connection: Connection) -> dict[str, str]:
    """The declared jobs that fire, and whose code declares them."""
    query = select(job.c.job_id, job.c.application).where(
        job.c.origin == "code", job.c.retired_at.is_(None), job.c.deleted_at.is_(None)
    )
    return {row.job_id: row.application for row in connection.execute(query)}


def find(connection: Connection, job_id: str) -> JobRecord | None:
    row = connection.execute(select(job).where(job.c.job_id == job_id, job.c.deleted_at.is_(None))).mappings().first()
    return None if row is None else job_record(dict(row))


def hold(connection: Connection, job_id: str) -> JobRecord | None:
    """The same, kept from changing until the transaction ends."""
    query = locked(select(job).where(job.c.job_id == job_id, job.c.deleted_at.is_(None)))
    row = connection.execute(query).mappings().first()
    return None if row is None else job_record(dict(row))


def add(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    for part in chunks(rows):
        connection.execute(insert(job), list(part))


def change(connection: Connection, record: JobRecord, **values: Any) -> None:
    """Writes `values` and moves the version on."""
    connection.execute(
        update(job).where(job.c.job_id == record.job_id).values(version=job.c.version + 1, updated_at=clock(), **values)
    )


def remove(connection: Connection, job_id: str) -> None:
    """For jobs that were added at run time; a declared job is marked instead."""
    connection.execute(delete(job).where(job.c.job_id == job_id))


def quarantine_trigger(connection: Connection, job_id: str, cursor: datetime, why: str) -> None:
    """A job whose next instant nobody can tell: out of the way until an edit, or a release, gives it a good trigger."""
    connection.execute(
        update(job)
        .where(job.c.job_id == job_id)
        .values(broken_reason=why, version=job.c.version + 1, updated_at=clock())
    )
    events.note(connection, "broken", job_id=job_id, detail={"why": why})
    unknown = {"why": "quarantined", "since": cursor.isoformat(), "trigger": None}
    events.note(connection, "schedule", job_id=job_id, detail=unknown)


def uncomputable(record: JobRecord) -> str:
    """Why its trigger cannot be computed; empty if it can."""
    try:
        record.trigger()
    except TriggerError as error:
        return f"{UNCOMPUTABLE}: {error}"
    return ""


def note_schedule(connection: Connection, record: JobRecord, *, since: datetime, actor: str, why: str) -> None:
    """From `since` on (exclusive) the job's instants follow this trigger: what `verify` computes from."""
    detail = schedule_detail(record, since, why)
    events.note(connection, "schedule", job_id=record.job_id, actor=actor, detail=detail)


def schedule_detail(record: JobRecord, since: datetime, why: str) -> dict[str, Any]:
    return {
        "why": why,
        "since": since.isoformat(),
        "trigger": record.effective_trigger if record.fires and not has_bad_trigger(record) else None,
        "timezone": record.timezone,
        "anchor": record.anchor.isoformat(),
        "dst_gap": record.policies.dst_gap,
        "dst_fold": record.policies.dst_fold,
    }


def has_bad_trigger(record: JobRecord) -> bool:
    """Is it in quarantine because of its trigger, not of its function?"""
    return record.broken_reason.startswith(UNCOMPUTABLE)


def unfired(connection: Connection, record: JobRecord, moment: datetime, why: str) -> list[dict[str, Any]]:
    """Rows for instants that were due under a trigger that is about to change: recorded, not forgotten."""
    if record.next_fire_at is None or record.next_fire_at > moment:
        return []
    try:
        trigger = record.trigger()
    except TriggerError:
        return []
    rows: list[dict[str, Any]] = []
    cursor: datetime | None = record.next_fire_at
    while cursor is not None and cursor <= moment:
        due = Due(record.job_id, cursor, trigger, record.policies, broken=why)
        plan = plan_fires(due, moment)
        if plan.is_long and (known := history.on_record(connection, {record.job_id: (cursor, moment)})):
            plan = plan_fires(replace(due, on_record=known[record.job_id]), moment)
        rows += [
            {
                "scheduled_at": row.scheduled_at,
                "state": RunState.SKIPPED_EDITED,
                "reason": why,
                "span_end": row.span_end,
                "span_count": row.span_count,
            }
            for row in plan.rows
        ]
        cursor = plan.next_fire_at
    return rows


def as_row(record: JobRecord) -> dict[str, Any]:
    names = JobRecord.__dataclass_fields__
    return {name: getattr(record, name) for name in names} | {"policies": record.policies.to_json()}


def just_before(cursor: datetime | None, now: datetime) -> datetime:
    """Since when a schedule counts: a date in the past is due all the same, so it began before that date."""
    return now if cursor is None or cursor > now else cursor - timedelta(microseconds=1)
