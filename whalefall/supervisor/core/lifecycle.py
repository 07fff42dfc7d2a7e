"""One process's life, from its spawn until nothing of its tree is left. This file holds all of it.

    starting ──ready──▶ ready ──stop──▶ stopping ──leader exits, or grace over──▶ clearing ──tree empty──▶ gone
        │                 │                                                          ▲
        └─────── leader dies by itself ──▶ clearing (policy kill) or draining (policy drain) ──grace over──┘

Rule 1: a life is `gone` only when its whole tree is; nobody may start a `kill` service's next life earlier.
Rule 2: `deadline` belongs to the phase: entering a phase overwrites it, so no old timer can act on a new phase.
Rule 3: news about another pid or from an earlier phase falls through on purpose.
"""

from enum import Enum

from whalefall.plan import Instance, Probe
from whalefall.plan.records import mutable
from whalefall.supervisor.core.actions import (
    Action,
    AskProbe,
    Continue,
    DropProbe,
    Forget,
    KillTree,
    LookForStopped,
    Report,
    Signal,
    SignalDescendants,
    SignalTree,
    Spawn,
    Weigh,
)
from whalefall.supervisor.core.events import (
    DeadlinePassed,
    Event,
    Exited,
    ExitStatus,
    FoundStopped,
    ProbeFailed,
    ProbeSucceeded,
    SaidAlive,
    SaidReady,
    Spawned,
    SpawnFailed,
    SpawnHeld,
    TreeEmptied,
)
from whalefall.supervisor.core.memory import Scales

QUICK_S = 0.5  # between a program's own quick way out and ours


class Phase(Enum):
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    DRAINING = "draining"  # the leader died by itself; its children finish what they have
    CLEARING = "clearing"  # the whole tree was killed; waiting until it is reaped
    GONE = "gone"


TRANSITIONS: dict[Phase, frozenset[Phase]] = {
    Phase.STARTING: frozenset({Phase.READY, Phase.STOPPING, Phase.DRAINING, Phase.CLEARING, Phase.GONE}),
    Phase.READY: frozenset({Phase.STOPPING, Phase.DRAINING, Phase.CLEARING}),
    Phase.STOPPING: frozenset({Phase.CLEARING}),
    Phase.DRAINING: frozenset({Phase.CLEARING, Phase.GONE}),
    Phase.CLEARING: frozenset({Phase.GONE}),
    Phase.GONE: frozenset(),
}


class Ending(Enum):
    """Why a life ended."""

    ITSELF = "by itself"
    REQUESTED = "as asked"
    UNREADY = "because it was not ready in time"
    HUNG = "because it no longer answered"


@mutable
class Life:
    """The record of one life. `now` is monotonic seconds everywhere."""

    instance: Instance
    generation: int
    born: float
    phase: Phase = Phase.STARTING
    since: float = 0.0
    pid: int | None = None
    ready_at: float | None = None
    deadline: float | None = None  # when the phase has lasted too long
    probe_at: float | None = None  # when to ask next, unless a question is out
    probe_until: float | None = None  # when the question that is out counts as failed
    watchdog_at: float | None = None  # when it must have said that it is alive
    scales: Scales | None = None  # while it is ready and has a limit of memory
    probe_failures: int = 0
    probe_said: str = ""
    ending: Ending = Ending.ITSELF
    exit: ExitStatus | None = None
    peak_bytes: int = 0  # of the leader's resident memory
    failure: str = ""  # why it could not even be spawned
    held_by: str = ""  # who kept it from being spawned
    stopped: frozenset[int] = frozenset()  # processes that were found stopped at the last look
    hastened: bool = False  # it has got its quick signal
    had_to_be_killed: bool = False

    @property
    def id(self) -> str:
        return f"{self.instance.name}#{self.generation}"

    @property
    def leader_alive(self) -> bool:
        return self.pid is not None and self.exit is None

    def begin(self, now: float) -> list[Action]:
        self.since = now
        self.deadline = now + self.instance.start_timeout_s
        return [Spawn(self.id, self.instance)]

    def step(self, event: Event, now: float) -> list[Action]:
        """What follows from `event`. The only place where phases change."""
        match self.phase, event:
            case Phase.STARTING, Spawned(pid=pid):
                return self._spawned(pid, now)
            case Phase.STARTING, SpawnFailed(reason=reason):
                return self._not_spawned(reason, now)
            case Phase.STARTING, SpawnHeld(holder=holder):
                self.held_by = holder
                return self._over(now)
            case Phase.STARTING, ProbeSucceeded():
                return self._ready(now)
            case Phase.STARTING, SaidReady() if self.instance.ready and self.instance.ready.kind == "notify":
                return self._ready(now)
            case Phase.READY, SaidAlive():
                return self._said_alive(now)
            case Phase.READY, ProbeSucceeded():
                return self._still_alive()
            case Phase.STARTING | Phase.READY, ProbeFailed(reason=reason):
                return self._no_good_answer(reason, now)
            case Phase.READY, FoundStopped(pids=pids):
                return self._continue_what_stays_stopped(pids)
            case Phase.STARTING | Phase.READY, Exited(pid=pid) if pid == self.pid:
                return self._died(event, now)
            case Phase.STOPPING, Exited(pid=pid) if pid == self.pid:
                self._note_exit(event)
                return self._clear(now)
            case Phase.CLEARING, Exited(pid=pid) if pid == self.pid:
                self._note_exit(event)
                return []
            case Phase.DRAINING | Phase.CLEARING, TreeEmptied():
                return self._over(now)
            case _, DeadlinePassed():
                return self._time_has_come(now)
        return []

    def next_deadline(self) -> float | None:
        probe = self.probe_at if self.probe_until is None else self.probe_until
        scales = None if self.scales is None else self.scales.look_at
        times = [time for time in (self.deadline, probe, self.watchdog_at, scales) if time is not None]
        return min(times) if times else None

    def retire(self, now: float) -> list[Action]:
        """Another generation serves now: finish what you have, without haste."""
        actions = self.stop(Ending.REQUESTED, now)
        if actions:
            self.deadline = self._quick_at(now + self.drain_s)
        return actions

    def hurry(self, now: float) -> None:
        """Everything stops: what was given time to drain has the ordinary grace period from now on."""
        if self.phase in (Phase.STOPPING, Phase.DRAINING) and self.deadline is not None:
            self.deadline = min(self.deadline, self._quick_at(now + self.instance.stop.grace_s))

    @property
    def drain_s(self) -> float:
        stop = self.instance.stop
        return stop.grace_s if stop.drain_s is None else stop.drain_s

    def stop(self, ending: Ending, now: float) -> list[Action]:
        """Ask the leader to stop; the grace period begins. Nothing to ask where it is already ending."""
        if self.phase not in (Phase.STARTING, Phase.READY) or self.pid is None:
            return []
        self.ending = ending
        actions = self._look_no_more()
        self._enter(Phase.STOPPING, now, self._quick_at(now + self.instance.stop.grace_s))
        return [*actions, Signal(self.id, self.pid, self.instance.stop.signal)]

    def kill(self, ending: Ending, now: float) -> list[Action]:
        """End it without grace."""
        if self.phase in (Phase.CLEARING, Phase.GONE) or self.pid is None:
            return []
        if self.phase in (Phase.STARTING, Phase.READY):
            self.ending = ending
        self.had_to_be_killed = self.had_to_be_killed or self.leader_alive
        return self._clear(now)

    # What the cases above do, one verb each.

    def _enter(self, phase: Phase, now: float, deadline: float | None) -> None:
        assert phase in TRANSITIONS[self.phase], f"{self.id}: {self.phase} → {phase}"  # noqa: S101 - cannot be
        self.phase, self.since, self.deadline = phase, now, deadline

    def _over(self, now: float) -> list[Action]:
        self._enter(Phase.GONE, now, None)
        return [Forget(self.id)]

    def _spawned(self, pid: int, now: float) -> list[Action]:
        self.pid = pid
        if self.instance.ready is None:
            return self._ready(now)
        if self.instance.ready.kind != "notify":
            return self._ask(self.instance.ready, now)
        return []

    def _not_spawned(self, reason: str, now: float) -> list[Action]:
        self.failure = reason
        self.exit = ExitStatus(127)  # sh(1): command not found
        return self._over(now)

    def _ready(self, now: float) -> list[Action]:
        self.ready_at, self.probe_failures, self.probe_until = now, 0, None
        self._enter(Phase.READY, now, None)
        self.probe_at = None if self.instance.live is None else now + self.instance.live.period_s
        self.scales = None if self.instance.memory is None else Scales.since(self.instance.memory, now)
        self._said_alive(now)
        return [Report(f"{self.instance.name} is ready {now - self.born:.1f} s after its start", self.instance.name)]

    def _said_alive(self, now: float) -> list[Action]:
        self.watchdog_at = None if self.instance.watchdog_s is None else now + self.instance.watchdog_s
        return []

    def _still_alive(self) -> list[Action]:
        self.probe_failures, self.probe_until = 0, None
        return []

    def _no_good_answer(self, reason: str, now: float) -> list[Action]:
        """While it starts it may yet come; later so many in a row are too many."""
        self.probe_said, self.probe_until = reason, None
        live = self.instance.live
        if self.phase is Phase.STARTING or live is None:
            return []
        self.probe_failures += 1
        if self.probe_failures < live.failures:
            return []
        return self._hangs(f"no longer answers ({self.probe_failures} probes in a row: {reason})", now)

    def _hangs(self, how: str, now: float) -> list[Action]:
        report = Report(f"{self.instance.name} {how}; restarting it", self.instance.name, "error")
        dump = self.instance.stop.dump_signal
        ask = [SignalDescendants(self.id, dump)] if dump else []
        return [report, *ask, *self.stop(Ending.HUNG, now)]

    def _ask(self, probe: Probe, now: float) -> list[Action]:
        self.probe_at, self.probe_until = now + probe.period_s, now + probe.timeout_s
        look: list[Action] = [LookForStopped(self.id)] if self.phase is Phase.READY else []
        return [AskProbe(self.id, probe), *look]

    def _continue_what_stays_stopped(self, pids: frozenset[int]) -> list[Action]:
        """A stopped process dies of nothing and answers nothing, and a stopped master's workers answer for it."""
        still, self.stopped = self.stopped & pids, pids
        if not still:
            return []
        names = ", ".join(str(pid) for pid in sorted(still))
        text = f"{self.instance.name}: pid {names} was stopped (SIGSTOP) for a whole probe period and is continued"
        return [Report(text, self.instance.name, "warning"), Continue(self.id, still)]

    def _no_answer(self) -> str:
        probe = self._probe()
        return f"no answer within {probe.timeout_s:g} s" if probe else "no answer"

    def _probe(self) -> Probe | None:
        return self.instance.ready if self.phase is Phase.STARTING else self.instance.live

    def _look_no_more(self) -> list[Action]:
        """No probe, no watchdog, no scales: whoever ends is no longer judged."""
        out, self.probe_at, self.probe_until, self.watchdog_at = self.probe_until, None, None, None
        self.scales = None
        return [] if out is None else [DropProbe(self.id)]

    def _note_exit(self, exited: Exited) -> None:
        self.exit, self.peak_bytes = exited.status, exited.peak_bytes

    def _died(self, exited: Exited, now: float) -> list[Action]:
        self._note_exit(exited)
        actions = self._look_no_more()
        stop = self.instance.stop
        if stop.orphans == "drain":
            self._enter(Phase.DRAINING, now, now + self.drain_s)
            return [*actions, SignalTree(self.id, stop.orphan_signal)]
        return actions + self._clear(now)

    def _quick_at(self, end: float) -> float:
        """The first deadline of a stop that shall be over at `end`."""
        return end - QUICK_S if self.instance.stop.quick_signal and not self.hastened else end

    def _clear(self, now: float) -> list[Action]:
        actions = self._look_no_more()
        self._enter(Phase.CLEARING, now, None)
        return [*actions, KillTree(self.id)]

    def _time_has_come(self, now: float) -> list[Action]:
        if self.probe_until is not None and now >= self.probe_until:
            return [DropProbe(self.id), *self._no_good_answer(self._no_answer(), now)]
        if self.watchdog_at is not None and now >= self.watchdog_at:
            self.probe_said = f"no WATCHDOG=1 within {self.instance.watchdog_s:g} s"
            return self._hangs(f"no longer says that it is alive ({self.probe_said})", now)
        if self.scales is not None and now >= self.scales.look_at:
            self.scales.look_at = now + self.scales.limit.period_s
            return [Weigh(self.id, self.scales.limit.each)]
        if self.deadline is not None and now >= self.deadline:
            return self._phase_lasted_too_long(now)
        if self.probe_until is None and self.probe_at is not None and now >= self.probe_at:
            probe = self._probe()
            return [] if probe is None else self._ask(probe, now)
        return []

    def _phase_lasted_too_long(self, now: float) -> list[Action]:
        name, stop = self.instance.name, self.instance.stop
        if self.phase is Phase.STARTING:
            said = f" (last probe: {self.probe_said})" if self.probe_said else ""
            text = f"{name} was not ready within {self.instance.start_timeout_s:g} s{said}; stopping it"
            return [Report(text, name, "error", self.id, tail_lines=5), *self.stop(Ending.UNREADY, now)]
        if self.phase is Phase.STOPPING and stop.quick_signal and not self.hastened and self.pid is not None:
            self.hastened, self.deadline = True, now + QUICK_S
            return [Signal(self.id, self.pid, stop.quick_signal)]
        if self.phase is Phase.STOPPING:
            text = f"{name} did not stop within {_rounded(now - self.since)} s of SIG{stop.signal} and is killed"
            return [Report(text, name, "warning"), *self.kill(self.ending, now)]
        text = f"what {name} left behind did not finish within {_rounded(now - self.since)} s and is killed"
        return [Report(text, name, "warning"), *self._clear(now)]


def _rounded(seconds: float) -> str:
    return f"{seconds:.1f}".removesuffix(".0")
