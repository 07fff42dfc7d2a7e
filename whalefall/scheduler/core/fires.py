"""What becomes of the instants that are due: which run, which are skipped and why, and where the cursor goes.

The law of this file: every due instant ends in exactly one planned row, unless it is on record already. A row is a run
or a skip with its reason; many old skips in a stretch share one row that names the last instant and their number
(`span_end`, `span_count`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from whalefall.scheduler.core.chance import share
from whalefall.scheduler.core.policies import ON_TIME_S, Policies
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.core.triggers import Trigger

DUE_MAX = 5_000  # instants of one job looked at in one turn: bounds the time of a turn, not what is caught up
SINGLE_ROWS_MAX = 100  # newest skips that get a row each; older ones share one


NEWER_RAN = "catch_up='last': a newer instant was due as well"  # as its job wishes: nothing is amiss


@dataclass(frozen=True, slots=True)
class Pause:
    """Who stopped the job, why, and until when (None: until somebody resumes it)."""

    until: datetime | None
    by: str
    reason: str

    def covers(self, instant: datetime) -> bool:
        return self.until is None or instant < self.until

    def __str__(self) -> str:
        return f"paused by {self.by or 'somebody'}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True)
class Alive:
    """The runs of a job that are queued or running now."""

    count: int = 0
    waiting: int = 0
    example: str = ""  # run_id of the oldest


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What a cursor that was put back meets. The fire key knows only the first instant of a row for a stretch."""

    instants: frozenset[datetime] = frozenset()
    stretches: tuple[tuple[datetime, datetime], ...] = ()  # from and until, both included

    def has(self, instant: datetime) -> bool:
        return instant in self.instants or any(first <= instant <= last for first, last in self.stretches)


NOTHING = OnRecord()


@dataclass(frozen=True, slots=True)
class Due:
    """All that decides about a job's due instants."""

    job_id: str
    cursor: datetime
    trigger: Trigger
    policies: Policies
    pause: Pause | None = None
    broken: str = ""
    alive: Alive = Alive()
    on_record: OnRecord = NOTHING


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One row of the ledger to be."""

    scheduled_at: datetime
    state: RunState
    not_before: datetime
    reason: str = ""
    span_end: datetime | None = None
    span_count: int = 1


@dataclass(frozen=True, slots=True)
class FirePlan:
    rows: tuple[PlannedRun, ...]
    next_fire_at: datetime | None
    pause_ended: bool = False
    uncomputable: str = ""  # why there is no next instant to be known: the job goes into quarantine

    @property
    def is_long(self) -> bool:
        """Whether it may reach into what shares a row, since the newest never do; or makes such a row itself."""
        return sum(row.span_count for row in self.rows) > SINGLE_ROWS_MAX


def plan_fires(due: Due, now: datetime) -> FirePlan:
    """Decides about every instant from the cursor to `now`, at most DUE_MAX of them."""
    instants, rest = _due_instants(due, now)
    blocked = [instant for instant in instants if due.broken or (due.pause and due.pause.covers(instant))]
    free = instants[len(blocked) :]  # a pause and a quarantine cover the older instants, never the newer
    rows = [_blocked_row(due, instant) for instant in blocked]
    if free and rest is not None and rest <= now:
        rows += [_late(instant, "there were more missed instants than one turn looks at") for instant in free]
    else:
        rows += _caught_up(due, free, now)
    pause_ended = due.pause is not None and not due.pause.covers(now)
    return FirePlan(_spanned(rows, due.on_record), rest, pause_ended)


def not_before(job_id: str, instant: datetime, policies: Policies) -> datetime:
    """The nominal instant plus jitter: the same for all replicas and after any restart."""
    if not policies.jitter_s:
        return instant
    return instant + timedelta(seconds=policies.jitter_s * share(job_id, instant.timestamp()))


def _due_instants(due: Due, now: datetime) -> tuple[list[datetime], datetime | None]:
    instants: list[datetime] = []
    instant: datetime | None = due.cursor
    while instant is not None and instant <= now and len(instants) < DUE_MAX:
        instants.append(instant)
        instant = due.trigger.next_after(instant)
    return instants, instant


def _blocked_row(due: Due, instant: datetime) -> PlannedRun:
    if due.broken:
        return PlannedRun(instant, RunState.SKIPPED_BROKEN, instant, f"broken: {due.broken.strip().splitlines()[-1]}")
    return PlannedRun(instant, RunState.SKIPPED_PAUSED, instant, str(due.pause))


def _late(instant: datetime, why: str) -> PlannedRun:
    return PlannedRun(instant, RunState.SKIPPED_LATE, instant, why)


def _caught_up(due: Due, instants: Sequence[datetime], now: datetime) -> list[PlannedRun]:
    policies = due.policies
    grace_s = policies.misfire_grace_s
    if grace_s is None and policies.catch_up == "skip":
        grace_s = ON_TIME_S
    rows: list[PlannedRun] = []
    wanted: list[datetime] = []
    for position, instant in enumerate(reversed(instants)):  # newest first
        late_s = (now - instant).total_seconds()
        if grace_s is not None and late_s > grace_s:
            rows.append(_late(instant, f"late by {late_s:.1f} s, the grace is {grace_s:g} s"))
        elif policies.catch_up == "last" and position > 0:
            rows.append(_late(instant, NEWER_RAN))
        elif policies.catch_up == "all" and position > policies.catch_up_limit:
            rows.append(_late(instant, f"more than {policies.catch_up_limit} instants were missed (catch_up_limit)"))
        else:
            wanted.append(instant)
    rows += _overlapped(due, wanted[::-1], now)
    return sorted(rows, key=lambda row: row.scheduled_at)


def _overlapped(due: Due, instants: Sequence[datetime], now: datetime) -> list[PlannedRun]:
    """Overlap is judged against what was alive before: instants that are due together wait for each other."""
    rows = []
    for index, instant in enumerate(instants):
        start = max(not_before(due.job_id, instant, due.policies), _paced(due.policies, now, index, instant))
        rows.append(PlannedRun(instant, RunState.QUEUED, start))
    slots, alive = due.policies.slots, due.alive
    if not rows or not slots or alive.count < slots:
        return rows
    if due.policies.overlap == "skip":
        why = f"run {alive.example} was still alive ({alive.count} of {slots} allowed)"
        return [replace(row, state=RunState.SKIPPED_OVERLAP, reason=why) for row in rows]
    room = max(due.policies.queue_limit - alive.waiting, 0)
    why = f"{due.policies.queue_limit} runs were waiting already (queue_limit)"
    return [*rows[:room], *(replace(row, state=RunState.SKIPPED_OVERLAP, reason=why) for row in rows[room:])]


def _paced(policies: Policies, now: datetime, index: int, instant: datetime) -> datetime:
    if policies.catch_up != "all" or policies.catch_up_per_minute is None:
        return instant
    return now + timedelta(seconds=index * 60 / policies.catch_up_per_minute)


def _spanned(rows: Sequence[PlannedRun], on_record: OnRecord) -> tuple[PlannedRun, ...]:
    """Folds the older of many skips in a row into one per state. No stretch reaches over what is on record."""
    skips = [row for row in rows if row.state != RunState.QUEUED]
    edge = skips[-SINGLE_ROWS_MAX].scheduled_at if len(skips) > SINGLE_ROWS_MAX else None
    folded: list[PlannedRun] = []
    last: PlannedRun | None = None  # that the next may join
    for row in rows:
        if on_record.has(row.scheduled_at):
            last = None
            continue
        old = edge is not None and row.scheduled_at < edge
        if old and last is not None and last.state == row.state != RunState.QUEUED:
            last = folded[-1] = replace(last, span_end=row.scheduled_at, span_count=last.span_count + 1)
        else:
            last = row
            folded.append(row)
    return tuple(folded)
