"""All that can be ordered, in the imperative. The loop carries them out in the order given."""

from collections.abc import Mapping
from typing import Any, Literal

from whalefall.plan import Instance, Probe
from whalefall.plan.records import frozen


@frozen
class Spawn:
    """Start `instance` as `life`; answers at once with Spawned or SpawnFailed."""

    life: str
    instance: Instance


@frozen
class Signal:
    """To one process: the leader alone, who knows best how to pass it on (systemd's KillMode=mixed), or one worker."""

    life: str
    pid: int
    signal: str


@frozen
class SignalTree:
    """To every process of the life but the leader, who is dead."""

    life: str
    signal: str


@frozen
class SignalDescendants:
    """To every process below the leader, who is alive."""

    life: str
    signal: str


@frozen
class KillTree:
    """SIGKILL to every process of the life."""

    life: str


@frozen
class AskProbe:
    """Ask once; answers later with ProbeSucceeded or ProbeFailed, unless dropped before."""

    life: str
    probe: Probe


@frozen
class DropProbe:
    life: str


@frozen
class LookForStopped:
    """Look through the tree; answers at once with FoundStopped."""

    life: str


@frozen
class Continue:
    """SIGCONT to each."""

    life: str
    pids: frozenset[int]


@frozen
class Weigh:
    """Measure its memory; answers at once with Weighed."""

    life: str
    each: Literal["worker", "tree"]


@frozen
class Forget:
    """The life is over: close and remove all that belonged to it."""

    life: str


@frozen
class Report:
    """A sentence for people. `tail_lines` > 0 adds the last lines that `life` said."""

    text: str
    instance: str = ""
    level: Literal["info", "warning", "error"] = "info"
    life: str = ""
    tail_lines: int = 0


@frozen
class KeepDossier:
    """Remember what is known about a life that ended badly. `what` is the sentence, `facts` what the engine knows."""

    life: str
    instance: str
    what: str
    facts: Mapping[str, Any]


@frozen
class Exit:
    """Everything has ended; leave with this code."""

    code: int


Action = (
    Spawn
    | Signal
    | SignalTree
    | SignalDescendants
    | KillTree
    | AskProbe
    | DropProbe
    | LookForStopped
    | Continue
    | Weigh
    | Forget
    | Report
    | KeepDossier
    | Exit
)
