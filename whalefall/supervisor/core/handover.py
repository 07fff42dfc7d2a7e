"""One instance over its generations: at most one life serves, at most one more is on its way, the others are ending.

Two ways to replace a life, chosen by the Plan: `start_first` (ready before retire: the new one must be ready before
the old one is asked to stop; if it is not, it goes and the old one stays) and `stop_first` (the old one's whole tree is
gone before the new one starts: two schedulers never run side by side).
"""

from collections.abc import Iterator
from enum import Enum

from whalefall.plan import Instance
from whalefall.plan.records import field, mutable
from whalefall.supervisor.core.actions import Action, KeepDossier, Report, Signal
from whalefall.supervisor.core.events import DeadlinePassed, Event, Exited, Weighed
from whalefall.supervisor.core.lifecycle import Ending, Life, Phase
from whalefall.supervisor.core.memory import Scales
from whalefall.supervisor.core.restarts import Chance, Restarts


class State(Enum):
    """What `status` shows. The first three have a process, the others do not."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    WAITING = "waiting"  # for what it comes after
    BACKOFF = "backoff"  # for the moment of its next start
    STOPPED = "stopped"  # as asked
    FINISHED = "finished"  # run once, and well
    FAILED = "failed"  # given up


LOCK_RETRY_S = 0.5  # nobody tells us when another tree dies; only a contended start looks this often

_WITH_A_LIFE = {Phase.STARTING: State.STARTING, Phase.READY: State.READY}


@mutable
class Slot:
    """The place of one instance. `rest` and `deadline` mean something only while there is no current life."""

    instance: Instance
    restarts: Restarts
    rng: Chance
    wanted: bool = True
    rest: State = State.WAITING
    since: float = 0.0
    deadline: float | None = None
    current: Life | None = None
    incoming: Life | None = None
    retired: list[Life] = field(factory=list)
    generation: int = 0
    reason: str = ""  # the last thing that happened, in words
    last_exit: str = ""
    given_up: bool = False  # for the engine to see once
    exit_code: int = 0
    killed: bool = False  # it did not stop when asked

    @property
    def state(self) -> State:
        if self.current is not None:
            return _WITH_A_LIFE.get(self.current.phase, State.STOPPING)
        return self.rest

    @property
    def down(self) -> bool:
        """Nothing of it is left, not even survivors of an earlier generation."""
        return self.current is None and self.incoming is None and not self.retired

    def lives(self) -> Iterator[Life]:
        yield from (life for life in (self.current, self.incoming) if life is not None)
        yield from self.retired

    def next_deadline(self) -> float | None:
        nearest = self.deadline if self.current is None else None
        for life in self.lives():
            time = life.next_deadline()
            if time is not None and (nearest is None or time < nearest):
                nearest = time
        return nearest

    # What the engine asks for.

    def start(self, now: float) -> list[Action]:
        """A first start, or another attempt."""
        assert self.current is None, f"{self.instance.name} already has a life"  # noqa: S101 - cannot be
        self.current, self.deadline = self._new_life(now), None
        return self.current.begin(now)

    def stop(self, now: float) -> list[Action]:
        self.wanted = False
        actions = self._drop_incoming(now)
        if self.current is not None:
            return actions + self.current.stop(Ending.REQUESTED, now)
        if self.rest in (State.WAITING, State.BACKOFF) or self.deadline is not None:
            self._rest(State.STOPPED, now, None)
        return actions

    def hurry(self, now: float) -> None:
        """Everything stops: no earlier generation has more time than the grace period any more."""
        for life in self.lives():
            life.hurry(now)

    def kill(self, now: float) -> list[Action]:
        self.wanted = False
        actions = self._drop_incoming(now)
        return actions + [action for life in list(self.lives()) for action in life.kill(Ending.REQUESTED, now)]

    def adopt(self, instance: Instance, now: float) -> list[Action]:
        """The Plan has changed for it. What is stopped by wish stays stopped, what waits goes on waiting."""
        if self.wanted and self.state is not State.WAITING:
            return self.replace(instance, now)
        self.instance, self.restarts.policy = instance, instance.restart
        return []

    def replace(self, instance: Instance, now: float) -> list[Action]:
        """A new generation of it, perhaps by another Plan. Asked again while one is on its way: the newest wins."""
        was, self.instance = self.instance, instance
        self.wanted, self.restarts.policy = True, instance.restart
        self.restarts.forgive()
        if self.current is None:
            return self.start(now)
        return self._renew(self.current, now, stop_first="stop_first" in (instance.replace, was.replace))

    def _renew(self, current: Life, now: float, *, stop_first: bool) -> list[Action]:
        if stop_first or current.phase is not Phase.READY:
            return current.stop(Ending.REQUESTED, now)
        actions = self._drop_incoming(now)
        self.incoming = self._new_life(now)
        return actions + self.incoming.begin(now)

    # What happens to it.

    def step(self, event: Event, now: float) -> list[Action]:
        if isinstance(event, Weighed):
            return self._weighed(event, now)
        actions: list[Action] = []
        for life in list(self.lives()):
            if _concerns(event, life):
                actions += life.step(event, now)
        return actions + self._settle(now)

    def _weighed(self, event: Weighed, now: float) -> list[Action]:
        """Too fat is no crash, so no budget knows of it; but `why` does. With a generation on its way nobody is."""
        life = self.current
        if life is None or life.id != event.life or life.scales is None or self.incoming is not None:
            return []
        pid, limit = life.scales.weighed(event.sizes, now), life.scales.limit
        if pid is None:
            return []
        who = self.instance.name if pid == life.pid else f"{self.instance.name}: worker {pid}"
        held = f"{_megabytes(event.sizes[pid])} of memory, more than its limit of {_megabytes(limit.bytes)}"
        then = "is replaced" if pid == life.pid else "is asked to finish; its master replaces it"
        told: list[Action] = [
            self._dossier(life, f"{who} holds {held}", now, event.sizes[pid]),
            Report(f"{who} holds {held}, and {then}", self.instance.name, "warning"),
        ]
        if pid != life.pid:
            return [*told, Signal(life.id, pid, "TERM")]
        life.scales = Scales.since(limit, now)  # it may have to serve on, when its successor does not become ready
        return [*told, *self._renew(life, now, stop_first=self.instance.replace == "stop_first")]

    def _settle(self, now: float) -> list[Action]:
        """Draw the consequences of what the lives have become."""
        actions: list[Action] = []
        if self.incoming is not None and self.incoming.phase is not Phase.STARTING:
            actions += self._incoming_decided(self.incoming, now)
        if self.current is not None and self.current.phase in (Phase.DRAINING, Phase.GONE):
            actions += self._current_ended(self.current, now)
        for life in [life for life in self.retired if life.phase is Phase.GONE]:
            self.retired.remove(life)
            self._remember_kill(life)
        return actions

    def _incoming_decided(self, incoming: Life, now: float) -> list[Action]:
        self.incoming = None
        if incoming.phase is Phase.READY:
            return self._promote(incoming, now)
        self.retired.append(incoming)
        old = self.current.id if self.current else "nothing"
        self.reason = f"generation {incoming.generation} {_how_it_ended(incoming)}"
        what = f"{incoming.id} {_how_it_ended(incoming)} before it was ready"
        text = f"{what}; {old} goes on serving"
        report = Report(text, self.instance.name, "error", incoming.id, tail_lines=5)
        return [self._dossier(incoming, what, incoming.since), report]

    def _promote(self, incoming: Life, now: float) -> list[Action]:
        old, self.current = self.current, incoming
        if old is None:
            return []
        self.retired.append(old)
        text = f"{incoming.id} has taken over from {old.id}, which finishes what it has"
        return [Report(text, self.instance.name), *old.retire(now)]

    def _current_ended(self, life: Life, now: float) -> list[Action]:
        self.current = None
        if life.held_by and self.wanted:
            return self._wait_for_the_lock(life.held_by, now)
        self.reason = _how_it_ended(life)
        self.last_exit = str(life.exit) if life.exit else life.failure
        if life.phase is Phase.DRAINING:
            self.retired.append(life)
        self._remember_kill(life)
        if not self.wanted:
            self._rest(State.STOPPED, now, None)
            return [Report(f"{self.instance.name} has stopped", self.instance.name)]
        if self.incoming is not None:
            self.current, self.incoming = self.incoming, None
            return [Report(f"{life.id} {self.reason}; {self.current.id} is already on its way", life.instance.name)]
        if life.ending is Ending.REQUESTED:
            return self.start(now)
        if self.instance.run_once and life.exit is not None and life.exit.code == 0:
            self._rest(State.FINISHED, now, None)
            return [Report(f"{self.instance.name} has finished", self.instance.name)]
        return self._crashed(life, now)

    def _wait_for_the_lock(self, holder: str, now: float) -> list[Action]:
        """No crash, and nothing to give up: it starts as soon as the other one is dead."""
        self._rest(State.BACKOFF, now, now + LOCK_RETRY_S)
        self.generation -= 1  # it never lived
        was, self.reason = self.reason, f"waits for {holder} to end"
        text = f"{self.instance.name} is not started yet: {holder} is still alive and holds {self.instance.lock}"
        return [] if self.reason == was else [Report(text, self.instance.name, "warning")]

    def _crashed(self, life: Life, now: float) -> list[Action]:
        ready_for_s = None if life.ready_at is None else life.since - life.ready_at
        delay = None if self.instance.run_once else self.restarts.crashed(now, ready_for_s, self.rng)
        what = f"{self.instance.name} {_how_it_ended(life)} {life.since - life.born:.1f} s after its start"
        dossier = self._dossier(life, what, life.since)
        if delay is None:
            return [dossier, *self._give_up(life, what, now)]
        when = "at once" if delay == 0 else f"in {delay:.1f} s"
        text = f"{what} ({self.restarts.budget()}); restarting {when}"
        report = Report(text, self.instance.name, "warning", life.id, tail_lines=1)
        if delay == 0:
            return [*self.start(now), dossier, report]  # clients wait for the one, nobody for the others
        self._rest(State.BACKOFF, now, now + delay)
        return [dossier, report]

    def _dossier(self, life: Life, what: str, until: float, size: int = 0) -> KeepDossier:
        facts = {
            "generation": life.generation,
            "pid": life.pid,
            "exit": str(life.exit) if life.exit else "",
            "ran_for_s": round(until - life.born, 3),
            "ready_after_s": None if life.ready_at is None else round(life.ready_at - life.born, 3),
            "last_probe": life.probe_said,
            "crashes": self.restarts.budget(),
            "peak_memory_bytes": max(life.peak_bytes, size),
        }
        return KeepDossier(life.id, self.instance.name, what, facts)

    def _give_up(self, life: Life, what: str, now: float) -> list[Action]:
        policy = self.instance.restart
        again = policy.on_give_up == "degrade"
        self._rest(State.FAILED, now, now + policy.degraded_retry_s if again else None)
        self.given_up = True
        self.exit_code = 1 if life.exit is None or life.exit.code == 0 else life.exit.code
        then = {
            "exit": "whalefall stops",
            "degrade": f"the others go on without it, next attempt in {policy.degraded_retry_s:g} s",
            "stop": "the others go on without it",
        }[policy.on_give_up]
        budget = "" if self.instance.run_once else f" ({self.restarts.budget()}): giving up"
        return [Report(f"{what}{budget}; {then}", self.instance.name, "error", life.id, tail_lines=20)]

    def try_again(self, now: float) -> list[Action]:
        """The moment has come that BACKOFF, or a degraded FAILED, was waiting for."""
        if self.current is None and self.wanted and self.deadline is not None and now >= self.deadline:
            return self.start(now)
        return []

    def _remember_kill(self, life: Life) -> None:
        self.killed = self.killed or (life.had_to_be_killed and not self.wanted)

    def _rest(self, state: State, now: float, deadline: float | None) -> None:
        self.rest, self.since, self.deadline = state, now, deadline

    def _new_life(self, now: float) -> Life:
        self.generation += 1
        return Life(self.instance, self.generation, born=now)

    def _drop_incoming(self, now: float) -> list[Action]:
        if self.incoming is None:
            return []
        dropped, self.incoming = self.incoming, None
        self.retired.append(dropped)
        return dropped.stop(Ending.REQUESTED, now)


def _concerns(event: Event, life: Life) -> bool:
    """Exits and deadlines are for every life to judge by itself; the rest names its life."""
    return isinstance(event, Exited | DeadlinePassed) or getattr(event, "life", None) == life.id


def _megabytes(size: int) -> str:
    return f"{size / 1_048_576:.0f} MB"


def _how_it_ended(life: Life) -> str:
    if life.failure:
        return f"could not be started: {life.failure}"
    if life.ending is Ending.UNREADY:
        return "was not ready in time"
    if life.ending is Ending.HUNG:
        return "no longer answered"
    return str(life.exit) if life.exit else "is stopping"
