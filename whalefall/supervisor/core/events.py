"""All that can happen, in the past tense. Frozen, so that a history is data and can be replayed.

A *life* is one generation of one instance, named `web.1#3`. A spawn answers in the same turn, before anything is
reaped: otherwise an exit could overtake its own `Spawned`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from whalefall.plan import Plan


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """`code` as a shell would see it: the exit code, or 128 + n for death by signal n (then `signal` names it)."""

    code: int
    signal: str = ""

    def __str__(self) -> str:
        if self.signal:
            return f"was killed by signal {self.code - 128} ({self.signal})"
        return f"exited with code {self.code}"


@dataclass(frozen=True, slots=True)
class Spawned:
    life: str
    pid: int


@dataclass(frozen=True, slots=True)
class SpawnFailed:
    life: str
    reason: str


@dataclass(frozen=True, slots=True)
class SpawnHeld:
    """Not started, because somebody of an earlier tree is still alive and holds the lock."""

    life: str
    holder: str


@dataclass(frozen=True, slots=True)
class Exited:
    """Any child of ours was reaped, also one that we never started."""

    pid: int
    status: ExitStatus
    peak_bytes: int = 0  # of its resident memory


@dataclass(frozen=True, slots=True)
class TreeEmptied:
    """The leader of this life is reaped and no process of its tree is left."""

    life: str


@dataclass(frozen=True, slots=True)
class ProbeSucceeded:
    life: str


@dataclass(frozen=True, slots=True)
class SaidReady:
    """READY=1 of sd_notify(3); it counts where the Plan waits for it."""

    life: str


@dataclass(frozen=True, slots=True)
class SaidAlive:
    """WATCHDOG=1 of sd_notify(3)."""

    life: str


@dataclass(frozen=True, slots=True)
class ProbeFailed:
    life: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoundStopped:
    """The answer to LookForStopped: which processes of the tree are stopped (SIGSTOP, SIGTSTP), perhaps none."""

    life: str
    pids: frozenset[int]


@dataclass(frozen=True, slots=True)
class Weighed:
    """The answer to Weigh: resident bytes by pid."""

    life: str
    sizes: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """`engine.next_deadline()` has come."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Stop everything in order. A second one kills what is left."""

    reason: str


@dataclass(frozen=True, slots=True)
class InstanceStartRequested:
    name: str


@dataclass(frozen=True, slots=True)
class InstanceStopRequested:
    name: str


@dataclass(frozen=True, slots=True)
class InstanceRestartRequested:
    """Replace the running generation: ready before retire, or stop before start, as the instance says."""

    name: str


@dataclass(frozen=True, slots=True)
class PlanChanged:
    """A new Plan, already checked. Only instances that differ are touched."""

    plan: Plan


Event = (
    Spawned
    | SpawnFailed
    | SpawnHeld
    | Exited
    | TreeEmptied
    | ProbeSucceeded
    | ProbeFailed
    | SaidReady
    | SaidAlive
    | FoundStopped
    | Weighed
    | DeadlinePassed
    | StopRequested
    | InstanceStartRequested
    | InstanceStopRequested
    | InstanceRestartRequested
    | PlanChanged
)
