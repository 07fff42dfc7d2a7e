"""All that can happen, in the past tense. Frozen, so that a history is data and can be replayed.

A *life* is one generation of one instance, named `web.1#3`. A spawn answers in the same turn, before anything is
reaped: otherwise an exit could overtake its own `Spawned`.
"""

from collections.abc import Mapping

from whalefall.plan import Plan
from whalefall.plan.records import frozen


@frozen
class ExitStatus:
    """`code` as a shell would see it: the exit code, or 128 + n for death by signal n (then `signal` names it)."""

    code: int
    signal: str = ""

    def __str__(self) -> str:
        if self.signal:
            return f"was killed by signal {self.code - 128} ({self.signal})"
        return f"exited with code {self.code}"


@frozen
class Spawned:
    life: str
    pid: int


@frozen
class SpawnFailed:
    life: str
    reason: str


@frozen
class SpawnHeld:
    """Not started, because somebody of an earlier tree is still alive and holds the lock."""

    life: str
    holder: str


@frozen
class Exited:
    """Any child of ours was reaped, also one that we never started."""

    pid: int
    status: ExitStatus
    peak_bytes: int = 0  # of its resident memory


@frozen
class TreeEmptied:
    """The leader of this life is reaped and no process of its tree is left."""

    life: str


@frozen
class ProbeSucceeded:
    life: str


@frozen
class SaidReady:
    """READY=1 of sd_notify(3); it counts where the Plan waits for it."""

    life: str


@frozen
class SaidAlive:
    """WATCHDOG=1 of sd_notify(3)."""

    life: str


@frozen
class ProbeFailed:
    life: str
    reason: str


@frozen
class FoundStopped:
    """The answer to LookForStopped: which processes of the tree are stopped (SIGSTOP, SIGTSTP), perhaps none."""

    life: str
    pids: frozenset[int]


@frozen
class Weighed:
    """The answer to Weigh: resident bytes by pid."""

    life: str
    sizes: Mapping[int, int]


@frozen
class DeadlinePassed:
    """`engine.next_deadline()` has come."""


@frozen
class StopRequested:
    """Stop everything in order. A second one kills what is left."""

    reason: str


@frozen
class InstanceStartRequested:
    name: str


@frozen
class InstanceStopRequested:
    name: str


@frozen
class InstanceRestartRequested:
    """Replace the running generation: ready before retire, or stop before start, as the instance says."""

    name: str


@frozen
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
