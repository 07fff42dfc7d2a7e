"""What the outside sees of jobs and runs: frozen values, all times aware and in UTC."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as the API and the pages show it."""

    id: str
    name: str
    description: str
    func: str  # bare name
    func_ref: str  # module:name
    trigger_type: str
    trigger_args: dict[str, str]  # second … year for cron
    cron_expression: str | None
    timezone: str
    next_run_time: datetime | None  # None while paused, broken, retired or at its end
    last_run_time: datetime | None
    state: str  # STATE_RUNNING or STATE_PAUSED
    paused_until: datetime | None
    pause_reason: str
    broken_reason: str
    is_builtin: bool
    editable_fields: tuple[str, ...]
    args: list[Any]
    kwargs: dict[str, Any]
    misfire_grace_time: float | None
    max_instances: int
    coalesce: bool
    source: str  # code, edited, added, broken or retired
    # beyond the seed's contract
    paused_by: str = ""
    trigger_words: str = ""
    code_cron_expression: str | None = None  # what "reset to code" would bring back
    policies: dict[str, Any] = field(default_factory=dict)
    last_state: str | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, and how many there are in all."""

    jobs: list[JobView]
    count: int


@dataclass(frozen=True, slots=True)
class RunView:
    """A run, or an instant at which there was none and why."""

    run_id: str
    job_id: str
    source: str  # schedule or manual
    scheduled_at: datetime
    state: str
    attempt: int
    started_at: datetime | None
    finished_at: datetime | None
    duration_s: float | None
    lateness_s: float | None
    progress: float | None
    progress_text: str
    output: str
    error: str
    created_by: str
    reason: str
    # beyond the contract
    note: str = ""  # why a person asked for it; `reason` shows it too, unless there is a reason for how it ended
    claimed_by: str = ""
    fired_by: str = ""
    fired_term: int | None = None
    span_end: datetime | None = None  # a row that stands for many skipped instants: the last of them
    span_count: int = 1
    args: dict[str, Any] | None = None
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class RunPage:
    """Newest first; `next` is the `before` of the following page, or None."""

    runs: list[RunView]
    next: str | None


@dataclass(frozen=True, slots=True)
class Standby:
    """A scheduler that waits to lead."""

    holder: str
    host: str
    pid: int
    since: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class SchedulerHealth:
    """Judged by the age of the leader's last tick, never by a thread's being alive."""

    leader: str | None
    term: int
    last_tick_age_s: float | None
    next_fire_at: datetime | None
    backlog: int  # runs that should have started by now
    healthy: bool
    reason: str
    standbys: tuple[Standby, ...] = ()  # the longest waiting first


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What re-reading the declarations changed."""

    deleted: list[str]  # gone from code: retired
    reloaded: list[str]
