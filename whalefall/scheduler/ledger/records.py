"""Rows as frozen values. What leaves the ledger knows nothing of SQL."""

import os
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from whalefall.scheduler.core.fires import Pause
from whalefall.scheduler.core.policies import Policies, stored_policies
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.core.triggers import Trigger, TriggerSpec, build_trigger
from whalefall.scheduler.declaration import Declaration


@dataclass(frozen=True, slots=True)
class JobRecord:
    job_id: str
    name: str
    description: str
    func_ref: str
    args: list[Any]
    kwargs: dict[str, Any]
    code_trigger: TriggerSpec | None
    override_trigger: TriggerSpec | None
    timezone: str
    anchor: datetime
    policies: Policies
    origin: str
    is_builtin: bool
    paused_at: datetime | None
    paused_until: datetime | None
    paused_by: str
    pause_reason: str
    broken_reason: str
    retired_at: datetime | None
    deleted_at: datetime | None
    next_fire_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime
    application: str = ""  # whose code declares it; empty: not known

    @classmethod
    def of(cls, declaration: Declaration, *, timezone: str, now: datetime, origin: str) -> "JobRecord":
        """A job as it is on its first day, its cursor not yet set."""
        return cls(
            job_id=declaration.job_id,
            name=declaration.name,
            description=declaration.description,
            func_ref=declaration.func_ref,
            args=list(declaration.args),
            kwargs=declaration.kwargs,
            code_trigger=declaration.spec(timezone=timezone, now=now),
            override_trigger=None,
            timezone=timezone,
            anchor=now.replace(microsecond=0),
            policies=declaration.policies,
            origin=origin,
            is_builtin=declaration.is_builtin,
            paused_at=None,
            paused_until=None,
            paused_by="",
            pause_reason="",
            broken_reason="",
            retired_at=None,
            deleted_at=None,
            next_fire_at=None,
            version=1,
            created_at=now,
            updated_at=now,
        )

    @property
    def effective_trigger(self) -> TriggerSpec:
        spec = self.override_trigger or self.code_trigger
        assert spec is not None, "a job has a trigger from code or from an edit"  # noqa: S101 - the verbs keep it so
        return spec

    @property
    def pause(self) -> Pause | None:
        if self.paused_at is None:
            return None
        return Pause(self.paused_until, self.paused_by, self.pause_reason)

    @property
    def fires(self) -> bool:
        return self.retired_at is None and self.deleted_at is None

    def trigger(self) -> Trigger:
        """Raises TriggerError for what another release may have stored."""
        return build_trigger(self.effective_trigger, timezone=self.timezone, anchor=self.anchor, dst=self.policies.dst)


@dataclass(frozen=True, slots=True)
class RunRecord:
    run_id: str
    job_id: str
    source: str
    scheduled_at: datetime
    dedupe: str
    state: RunState
    reason: str
    span_end: datetime | None
    span_count: int
    not_before: datetime
    slots: int
    executor: str
    args: dict[str, Any] | None
    created_at: datetime
    created_by: str
    note: str
    fired_by: str
    fired_term: int | None
    attempt: int
    claimed_by: str
    lease_until: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    cancel_requested: bool
    cancelled_by: str
    progress: float | None
    progress_text: str
    output: str
    error: str


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run of a job that really started, without what it said."""

    job_id: str
    run_id: str
    state: str
    scheduled_at: datetime
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    holder: str
    term: int
    expires_at: datetime
    taken_at: datetime
    ticked_at: datetime
    now: datetime  # the database's clock when it was read

    @property
    def alive(self) -> bool:
        return self.expires_at > self.now


@dataclass(frozen=True, slots=True)
class Trouble:
    """What may be wrong, as the ledger shows it at one moment of the database's clock."""

    now: datetime
    lease: LeaseRecord | None
    newest: datetime | None  # when the newest run was recorded
    broken: list[JobRecord]
    overdue: list[tuple[str, datetime]]  # job, and the instant that nobody has looked at
    failing: list[RunRecord]
    waiting: list[RunRecord]
    running: list[RunRecord]
    missed: list[RunRecord]


@dataclass(frozen=True, slots=True)
class StandbyRecord:
    holder: str
    since: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class EventRecord:
    event_id: int
    at: datetime
    kind: str
    job_id: str
    actor: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tenure:
    """Proof of leadership: every fire is recorded under it, and refused once the term has moved on."""

    holder: str
    term: int


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A run that is ours to start, with all that a runner needs."""

    run: RunRecord
    func_ref: str
    args: list[Any]
    kwargs: dict[str, Any]
    policies: Policies


@dataclass(frozen=True, slots=True)
class WaitingRun:
    """A run that somebody elsewhere shall claim."""

    run_id: str
    job_id: str
    policies: Policies


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended, as its runner says."""

    run_id: str
    attempt: int
    state: RunState
    error: str = ""
    output: str = ""
    retry_in_s: float | None = None  # back to the queue instead of a final state
    reason: str = ""
    progress: float | None = None
    progress_text: str = ""
    started_s: float | None = None  # when the job's code began, by `clocks.elapsed_s` of the host that records it
    ended_s: float | None = None  # when it ended, where that was long before it could be recorded

    @property
    def key(self) -> tuple[str, int]:
        return self.run_id, self.attempt


@dataclass(frozen=True, slots=True)
class Claim:
    """Who runs what now."""

    run_id: str
    attempt: int
    holder: str
    executor: str
    expired: bool


@dataclass(frozen=True, slots=True)
class Sign:
    """What a runner tells while it runs."""

    run_id: str
    attempt: int
    progress: float | None
    progress_text: str
    output: str


@dataclass(frozen=True, slots=True)
class Peek:
    """What the loop needs to know to choose its next step: one cheap query."""

    now: datetime
    next_fire_at: datetime | None
    waiting: bool  # some queued run may start now
    next_start_at: datetime | None  # the next queued run that may not start yet
    cancels: bool  # some running run shall be cancelled


def job_record(row: dict[str, Any]) -> JobRecord:
    return JobRecord(**{**row, "policies": stored_policies(row["policies"])})


def run_record(row: dict[str, Any]) -> RunRecord:
    return RunRecord(**{**row, "state": RunState(row["state"])})


class _Ticks:
    """Time in 1/4096 ms, never the same twice in this process, never less than before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self, now: datetime) -> int:
        with self._lock:
            self._last = max(int(now.timestamp() * 4_096_000), self._last + 1)
            return self._last


_ticks = _Ticks()


def new_run_id(now: datetime) -> str:
    """A UUID of version 7 (RFC 9562): grows with time, so that the primary key is also the order of history.

    `now` is the database's: replicas whose clocks differ must not disagree about what came first.
    """
    ticks = _ticks.next(now)
    high = (ticks >> 12) << 16 | 0x7 << 12 | (ticks & 0xFFF)
    low = 0b10 << 62 | int.from_bytes(os.urandom(8), "big") & (2**62 - 1)
    digits = f"{high:016x}{low:016x}"  # by hand: uuid.UUID takes thrice as long, ten thousand times at once
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
