"""Bringing code and ledger together: what the code declares, what somebody edited, and what is in effect, kept apart.

New jobs are added, changed ones updated, jobs gone from code retired, jobs that cannot be imported quarantined. Edits,
pauses and cursors survive; nothing is ever deleted here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from whalefall.scheduler.core.triggers import TriggerSpec, build_trigger, first_fire
from whalefall.scheduler.declaration import Declaration
from whalefall.scheduler.errors import ForeignLedger
from whalefall.scheduler.ledger import events, fires, jobs
from whalefall.scheduler.ledger.records import JobRecord

EDITED = "the code changed its trigger before it fired"
BUILTIN = "whalefall.app"  # what `serve` runs without an application; its one job may be retired by any
_NAMED = 3  # jobs in a sentence
_UNSEEN_MAX = 2_000  # declarations between two statements: less than a second


@dataclass(frozen=True, slots=True)
class Code:
    """What this release's code says."""

    declarations: Sequence[Declaration]
    broken: Mapping[str, str]  # job_id → why its function cannot be found
    timezone: str  # of jobs that name none
    actor: str
    undelete: bool = False  # an explicit reload brings back what a person deleted
    application: str = ""  # whose code it is; empty: nobody says


@dataclass(frozen=True, slots=True)
class Reconciled:
    added: tuple[str, ...]
    changed: tuple[str, ...]
    retired: tuple[str, ...]
    broken: tuple[str, ...]
    declared: tuple[str, ...]


def reconcile(connection: Connection, code: Code) -> Reconciled:
    """Runs in one transaction, so that a crash leaves the old state."""
    now = jobs.now(connection)
    stored = jobs.every_row(connection)
    refuse_foreign({record.job_id: record.application for record in stored.values() if _declared(record)}, code)
    added = [
        _new(declaration, code, now)
        for declaration in _showing_life(connection, code.declarations)
        if declaration.job_id not in stored
    ]
    jobs.add(connection, [jobs.as_row(record) for record in added])
    events.note_many(
        connection,
        "schedule",
        actor=code.actor,
        details={
            record.job_id: jobs.schedule_detail(record, jobs.just_before(record.next_fire_at, now), "declared")
            for record in added
        },
    )
    changed = [
        declaration.job_id
        for declaration in _showing_life(connection, code.declarations)
        if declaration.job_id in stored and _update(connection, stored[declaration.job_id], declaration, code, now)
    ]
    declared = {declaration.job_id for declaration in code.declarations}
    gone = [record for job_id, record in stored.items() if job_id not in declared]
    retired, broken = [], []
    for record in gone:
        if record.job_id in code.broken:
            broken.append(record.job_id)
            _quarantine(connection, record, code.broken[record.job_id])
        elif _declared(record):
            retired.append(record.job_id)
            _retire(connection, record, now, code.actor)
        elif record.broken_reason:
            _heal(connection, record)
    return Reconciled(
        tuple(record.job_id for record in added), tuple(changed), tuple(retired), tuple(broken), tuple(sorted(declared))
    )


def _showing_life(connection: Connection, declarations: Sequence[Declaration]) -> Iterator[Declaration]:
    """To compute a hundred thousand triggers takes longer than a transaction may be idle on PostgreSQL."""
    for number, declaration in enumerate(declarations, start=1):
        if number % _UNSEEN_MAX == 0:
            jobs.now(connection)
        yield declaration


def refuse_foreign(owners: Mapping[str, str], code: Code) -> None:
    """Raises ForeignLedger if the ledger is another application's, whose jobs would be retired by this one.

    `owners`: the declared jobs that fire, and whose they are. Another name alone proves nothing, since applications are
    renamed: it is another one if it declares fewer of these jobs than it would take away.
    """
    if not code.application:
        return
    declared = {declaration.job_id for declaration in code.declarations}
    known = ("", BUILTIN, code.application)
    strange = {job_id: owner for job_id, owner in owners.items() if owner not in known}
    foreign = sorted(strange.keys() - declared)
    if len(foreign) <= len(declared & owners.keys()):
        return
    names = ", ".join(foreign[:_NAMED]) + (", …" if len(foreign) > _NAMED else "")
    owner = strange[foreign[0]]
    raise ForeignLedger(
        f"DATABASE_URL: the ledger there belongs to the application {owner!r} (jobs {names}), and this is "
        f"{code.application!r}, which would retire them. Give each application its own database or PostgreSQL schema; "
        f"if this is the same application, renamed, set SCHEDULER_APPLICATION = {owner!r} in its configuration."
    )


def first_cursor(record: JobRecord, now: datetime) -> datetime | None:
    """Where a job's cursor starts when its trigger begins to be in effect at `now`."""
    spec = record.effective_trigger
    trigger = build_trigger(spec, timezone=record.timezone, anchor=record.anchor, dst=record.policies.dst)
    return first_fire(spec, trigger, now)


def _new(declaration: Declaration, code: Code, now: datetime) -> JobRecord:
    record = JobRecord.of(declaration, timezone=declaration.timezone or code.timezone, now=now, origin="code")
    record = replace(record, application=code.application)
    return replace(record, next_fire_at=first_cursor(record, now))


def _update(connection: Connection, old: JobRecord, declaration: Declaration, code: Code, now: datetime) -> bool:
    """True if anything changed. The cursor moves only if the trigger in effect is another."""
    if old.deleted_at is not None and not code.undelete:
        return False
    fresh = _new(declaration, code, now)
    kept_date = _undated(declaration) and old.code_trigger is not None and old.code_trigger["type"] == "date"
    new = replace(
        fresh,
        code_trigger=old.code_trigger if kept_date else fresh.code_trigger,
        override_trigger=old.override_trigger,
        anchor=old.anchor,
        paused_at=old.paused_at,
        paused_until=old.paused_until,
        paused_by=old.paused_by,
        pause_reason=old.pause_reason,
        next_fire_at=old.next_fire_at,
        version=old.version,
        created_at=old.created_at,
        updated_at=old.updated_at,
    )
    new = replace(new, broken_reason=jobs.uncomputable(new))
    reschedule = _schedule_of(new) != _schedule_of(old) or jobs.has_bad_trigger(new) != jobs.has_bad_trigger(old)
    if reschedule:
        new = replace(new, next_fire_at=None if new.broken_reason else first_cursor(new, now))
    if new == old:
        return False
    if reschedule:
        late = jobs.unfired(connection, old, now, EDITED) if old.fires else []
        fires.insert_new(connection, [_late_row(old, row, now) for row in late])
        jobs.note_schedule(
            connection, new, since=jobs.just_before(new.next_fire_at, now), actor=code.actor, why="declared anew"
        )
    if new.broken_reason and not jobs.has_bad_trigger(old):
        events.note(connection, "broken", job_id=old.job_id, detail={"why": new.broken_reason})
    if old.broken_reason and not new.broken_reason:
        events.note(connection, "healed", job_id=old.job_id)
    row = jobs.as_row(new)
    for name in ("job_id", "version", "created_at", "updated_at"):
        del row[name]
    jobs.change(connection, old, **row)
    return True


def _declared(record: JobRecord) -> bool:
    return record.origin == "code" and record.fires


def _schedule_of(record: JobRecord) -> tuple[TriggerSpec, str, object, bool]:
    return (record.effective_trigger, record.timezone, record.policies.dst, record.fires)


def _undated(declaration: Declaration) -> bool:
    """A date trigger without a date means "at the first start", not "at every start"."""
    return declaration.trigger_kind == "date" and declaration.trigger_arguments.get("run_date") is None


def _retire(connection: Connection, record: JobRecord, now: datetime, actor: str) -> None:
    late = jobs.unfired(connection, record, now, "the job is gone from the code")
    fires.insert_new(connection, [_late_row(record, row, now) for row in late])
    gone = replace(record, retired_at=now, next_fire_at=None)
    jobs.change(connection, record, retired_at=now, next_fire_at=None, broken_reason="")
    events.note(connection, "retired", job_id=record.job_id, actor=actor)
    jobs.note_schedule(connection, gone, since=now, actor=actor, why="retired")


def _quarantine(connection: Connection, record: JobRecord, why: str) -> None:
    """Its cursor goes on, so that every instant is on record as skipped, with the reason."""
    if record.broken_reason == why or not record.fires:
        return
    jobs.change(connection, record, broken_reason=why)
    events.note(connection, "broken", job_id=record.job_id, detail={"why": why})


def _heal(connection: Connection, record: JobRecord) -> None:
    jobs.change(connection, record, broken_reason="")
    events.note(connection, "healed", job_id=record.job_id)


def _late_row(record: JobRecord, row: dict[str, Any], now: datetime) -> dict[str, Any]:
    return fires.run_row(record, now=now, not_before=row["scheduled_at"], **row)
