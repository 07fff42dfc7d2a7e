"""Recording fires: the runs of all jobs that are due, and their cursors, in one transaction.

The promise of the whole room is kept here. A run is inserted under the fire key, so that an instant which somebody
has recorded already stays single; the cursor moves only if it stands where it was read. Nothing starts before the
commit.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Integer, Text, bindparam, cast, func, select, update

from whalefall.scheduler.core.fires import NOTHING, Alive, Due, FirePlan, OnRecord, Pause, PlannedRun, plan_fires
from whalefall.scheduler.core.policies import Policies, policies_of
from whalefall.scheduler.core.runs import RunState, Source
from whalefall.scheduler.core.triggers import UNCOMPUTABLE, Trigger, TriggerError, TriggerSpec, build_trigger
from whalefall.scheduler.ledger import events, history, jobs, leases, news
from whalefall.scheduler.ledger.bulk import NewRun, NewRuns, insert_runs, move_cursors
from whalefall.scheduler.ledger.dialects import among, as_list, chunks, clock, insert, locked
from whalefall.scheduler.ledger.records import ClaimedRun, JobRecord, RunRecord, Tenure, new_run_id
from whalefall.scheduler.ledger.schema import IS_ALIVE, job, run

Reached = Callable[[str], None]
_KNOWN = select(run.c.run_id).where(among(run.c.run_id, "run_ids"))

# Made once: to make a statement takes longer than to have it answered, and these are part of every fire.
_DUE = locked(
    select(
        job.c.job_id,
        func.coalesce(cast(job.c.override_trigger, Text), cast(job.c.code_trigger, Text), "null").label("trigger"),
        job.c.timezone,
        job.c.anchor,
        cast(job.c.policies, Text).label("policies"),
        job.c.paused_at,
        job.c.paused_until,
        job.c.paused_by,
        job.c.pause_reason,
        job.c.broken_reason,
        job.c.next_fire_at,
        job.c.func_ref,
        cast(job.c.args, Text).label("args"),
        cast(job.c.kwargs, Text).label("kwargs"),
    )
    .where(job.c.next_fire_at <= bindparam("now"))
    .order_by(job.c.next_fire_at)  # and no further: the index has the order, else each batch sorts all that is due
    .limit(bindparam("most", type_=Integer))
)
_ALIVE = (
    select(run.c.job_id, run.c.state, func.count(), func.min(run.c.run_id))
    .where(among(run.c.job_id, "job_ids"), IS_ALIVE)
    .group_by(run.c.job_id, run.c.state)
)


@dataclass(frozen=True, slots=True)
class DueJob:
    """What decides about a job's fires, and no more: ten thousand of them are read at once."""

    job_id: str
    trigger_spec: TriggerSpec
    timezone: str
    anchor: datetime
    policies: Policies
    pause: Pause | None
    broken_reason: str
    next_fire_at: datetime
    func_ref: str
    args: str  # JSON, read when the run is claimed
    kwargs: str

    def trigger(self) -> Trigger:
        return build_trigger(self.trigger_spec, timezone=self.timezone, anchor=self.anchor, dst=self.policies.dst)


@dataclass(frozen=True, slots=True)
class Fired:
    """What one transaction recorded."""

    jobs: int
    queued: int  # including those that are claimed
    skipped: int
    claimed: tuple[ClaimedRun, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """Places for runs that need not wait, since nobody waits before them: recorded as claimed by us for `lease_s`."""

    free: Mapping[str, int]  # executor: how many runs it could start
    lease_s: float


NO_OFFER = Offer({}, 0.0)


def record(
    connection: Connection,
    tenure: Tenure,
    now: datetime | None,
    limit: int,
    reached: Reached,
    *,
    offer: Offer = NO_OFFER,
) -> Fired:
    """Records every instant due by `now`, or by the database's clock, of up to `limit` jobs.

    Raises Deposed when somebody else leads.
    """
    clock_now = leases.prove(connection, tenure)
    now = now or clock_now
    due = _due(connection, now, limit)
    if not due:
        return Fired(0, 0, 0)
    reached("due.read")
    alive = _alive(connection, [record.job_id for record in due])
    plans = _around_what_is_on_record(
        connection, [(record, _plan(record, alive.get(record.job_id, Alive()), now)) for record in due], alive, now
    )
    usual = {**_usual(now), "fired_by": tenure.holder, "fired_term": tenure.term}
    chosen = _choose(plans, alive, now, offer) if len(due) < limit else {}
    rows = NewRuns(
        usual, [r for record, plan in plans if record.job_id not in chosen for r in _rows(record, plan, now)]
    )
    insert_runs(connection, rows)
    claimed = _insert_claimed(connection, list(chosen.values()), usual, now=now, lease_s=offer.lease_s)
    planned = ((record.job_id, row) for record, plan in plans for row in plan.rows)
    news.note(connection, (news.Recorded(job_id, row.state, row.span_count, row.reason) for job_id, row in planned))
    reached("fire.inserted")
    move_cursors(connection, [(record.job_id, record.next_fire_at, plan.next_fire_at) for record, plan in plans])
    _end_pauses(connection, [record for record, plan in plans if plan.pause_ended])
    for record, plan in plans:
        if plan.uncomputable:
            jobs.quarantine_trigger(connection, record.job_id, record.next_fire_at, plan.uncomputable)
    reached("fire.advanced")
    queued = sum(row.state is RunState.QUEUED for row in rows.each)
    return Fired(len(due), queued + len(chosen), len(rows.each) - queued, tuple(claimed))


def run_row(record: DueJob | JobRecord, *, now: datetime, **values: Any) -> dict[str, Any]:
    """A complete row of wf_run; `values` say what is not the usual."""
    return {
        "run_id": new_run_id(now),
        "job_id": record.job_id,
        "state": RunState.QUEUED,
        "reason": "",
        "span_end": None,
        "span_count": 1,
        "slots": record.policies.slots,
        "executor": record.policies.executor,
        **_usual(now),
        **values,
    }


def _usual(now: datetime) -> dict[str, Any]:
    """Of a run on the schedule that nobody has touched yet."""
    return {
        "source": Source.SCHEDULE,
        "dedupe": "",
        "args": None,
        "created_at": now,
        "created_by": "",
        "note": "",
        "fired_by": "",
        "fired_term": None,
        "attempt": 0,
        "claimed_by": "",
        "cancel_requested": False,
        "cancelled_by": "",
        "progress_text": "",
        "output": "",
        "error": "",
    }


def _choose(
    plans: Sequence[tuple[DueJob, FirePlan]], alive: Mapping[str, Alive], now: datetime, offer: Offer
) -> dict[str, tuple[DueJob, FirePlan]]:
    """Jobs with one run, to start now, beside none that is alive; as many as there are places."""
    free = Counter(offer.free)
    chosen: dict[str, tuple[DueJob, FirePlan]] = {}
    for record, plan in plans:
        executor = record.policies.executor
        alone = record.job_id not in alive and len(plan.rows) == 1
        if free[executor] > 0 and alone and plan.rows[0].state is RunState.QUEUED and plan.rows[0].not_before <= now:
            free[executor] -= 1
            chosen[record.job_id] = record, plan
    return chosen


def _insert_claimed(
    connection: Connection,
    chosen: Sequence[tuple[DueJob, FirePlan]],
    usual: Mapping[str, Any],
    *,
    now: datetime,
    lease_s: float,
) -> list[ClaimedRun]:
    """Records runs as running here. Answers those that the fire key did not know: only these may start."""
    rows = [row._replace(state=RunState.RUNNING) for record, plan in chosen for row in _rows(record, plan, now)]
    ours = {
        **usual,
        "attempt": 1,
        "claimed_by": usual["fired_by"],
        "started_at": now,
        "lease_until": now + timedelta(seconds=lease_s),
    }
    known = {row.run_id for row in rows}
    if insert_runs(connection, NewRuns(ours, rows)) < len(rows):
        known = set(connection.execute(_KNOWN, {"run_ids": as_list(known)}).scalars())
    return [
        ClaimedRun(
            run=RunRecord(**{**dict.fromkeys(RunRecord.__dataclass_fields__), **row._asdict(), **ours}),
            func_ref=record.func_ref,
            args=json.loads(record.args),
            kwargs=json.loads(record.kwargs),
            policies=record.policies,
        )
        for (record, _), row in zip(chosen, rows, strict=True)
        if row.run_id in known
    ]


def insert_new(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    """Inserts what the fire key does not know yet."""
    for part in chunks(rows):
        statement = insert(connection, run).on_conflict_do_nothing()
        columns = (run.c.job_id, run.c.state, run.c.span_count, run.c.source)
        inserted = connection.execute(statement.returning(*columns), list(part)).all()
        instants = [row for row in inserted if row.source == Source.SCHEDULE]
        news.note(connection, [news.Recorded(row[0], RunState(row.state), row.span_count) for row in instants])


def _due(connection: Connection, now: datetime, limit: int) -> list[DueJob]:
    return [
        DueJob(
            row.job_id,
            _spec_of(row.trigger),
            row.timezone,
            row.anchor,
            policies_of(row.policies),
            Pause(row.paused_until, row.paused_by, row.pause_reason) if row.paused_at is not None else None,
            row.broken_reason,
            row.next_fire_at,
            row.func_ref,
            row.args,
            row.kwargs,
        )
        for row in connection.execute(_DUE, {"now": now, "most": limit})
    ]


@lru_cache(4096)
def _spec_of(text: str) -> TriggerSpec:
    """Nobody changes it; as for policies, thousands of jobs have few different ones."""
    spec: TriggerSpec = json.loads(text)
    return spec


def _alive(connection: Connection, job_ids: Sequence[str]) -> dict[str, Alive]:
    alive: dict[str, Alive] = {}
    for job_id, state, count, oldest in connection.execute(_ALIVE, {"job_ids": as_list(job_ids)}):
        known = alive.get(job_id, Alive())
        alive[job_id] = Alive(
            known.count + count,
            known.waiting + (count if state == RunState.QUEUED else 0),
            min(filter(None, (known.example, oldest))),
        )
    return alive


def _around_what_is_on_record(
    connection: Connection, plans: Sequence[tuple[DueJob, FirePlan]], alive: Mapping[str, Alive], now: datetime
) -> list[tuple[DueJob, FirePlan]]:
    """Of a long absence, or a cursor that was put back: the second may meet rows for a stretch, which the fire key
    cannot tell from each other. Few jobs and seldom, so a look and a second plan cost nothing that matters."""
    stretches = {
        record.job_id: (record.next_fire_at, max(row.span_end or row.scheduled_at for row in plan.rows))
        for record, plan in plans
        if plan.is_long
    }
    known = history.on_record(connection, stretches) if stretches else {}
    return [
        (record, _plan(record, alive.get(record.job_id, Alive()), now, known[record.job_id]))
        if record.job_id in known
        else (record, plan)
        for record, plan in plans
    ]


def _plan(record: DueJob, alive: Alive, now: datetime, on_record: OnRecord = NOTHING) -> FirePlan:
    try:
        trigger = record.trigger()
    except TriggerError as error:  # a zone that is gone, what a later release wrote: the other jobs go on
        why, at = f"{UNCOMPUTABLE}: {error}", record.next_fire_at
        return FirePlan((PlannedRun(at, RunState.SKIPPED_BROKEN, at, f"broken: {why}"),), None, uncomputable=why)
    due = Due(
        record.job_id,
        record.next_fire_at,
        trigger,
        record.policies,
        record.pause,
        record.broken_reason,
        alive,
        on_record,
    )
    return plan_fires(due, now)


def _rows(record: DueJob, plan: FirePlan, now: datetime) -> list[NewRun]:
    slots, executor = record.policies.slots, record.policies.executor
    return [
        NewRun(
            new_run_id(now),
            record.job_id,
            planned.scheduled_at,
            planned.state,
            planned.reason,
            planned.span_end,
            planned.span_count,
            planned.not_before,
            slots,
            executor,
        )
        for planned in plan.rows
    ]


def _end_pauses(connection: Connection, ended: Sequence[DueJob]) -> None:
    for record in ended:
        connection.execute(
            update(job)
            .where(job.c.job_id == record.job_id)
            .values(paused_at=None, paused_until=None, paused_by="", pause_reason="", updated_at=clock())
        )
        detail = {"why": "the end of the pause", "pause": str(record.pause)}
        events.note(connection, "resumed", job_id=record.job_id, detail=detail)
