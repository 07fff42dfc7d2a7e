"""All instances together: order of start, order of stop, exit code. (state, event, now) → (state, actions).

Start: an instance waits until what it comes `after` is as far as it wants. Stop: first, where the Plan has a drain
delay, everything goes on as before while readiness says no; then the reverse of the start, an instance is asked only
when all that comes after it is down. When an instance gives up and its policy is `exit`, everything stops in order and
its code becomes ours. Nothing here ticks: `next_deadline()` says when time alone would change something.

An event touches the instance that it is about, and only that one is looked at again: three hundred instances that end
together must not cost three hundred times three hundred looks.
"""

from enum import Enum

from whalefall.plan import Instance, Plan
from whalefall.plan.records import field, mutable
from whalefall.supervisor.core.actions import Action, Exit, Report
from whalefall.supervisor.core.events import (
    DeadlinePassed,
    Event,
    Exited,
    InstanceRestartRequested,
    InstanceStartRequested,
    InstanceStopRequested,
    PlanChanged,
    Spawned,
    StopRequested,
)
from whalefall.supervisor.core.handover import Slot, State
from whalefall.supervisor.core.restarts import Chance, Restarts

KILLED = 137  # 128 + SIGKILL: what a shell would say of something that did not stop when asked


class Course(Enum):
    """Where all of it is heading."""

    RUNNING = "running"
    LEAVING = "leaving"  # still serving, for those who have not heard yet that we leave
    STOPPING = "stopping"
    ENDED = "ended"


@mutable
class Engine:
    """The whole state of supervision; `slots` in the order of the Plan."""

    rng: Chance
    slots: dict[str, Slot] = field(factory=dict)
    leaving: dict[str, Slot] = field(factory=dict)  # removed from the Plan, not yet down
    unstarted: dict[str, Slot] = field(factory=dict)  # those of `slots` that wait for their first start
    homes: dict[int, str] = field(factory=dict)  # pid of a leader: name of its instance
    course: Course = Course.RUNNING
    drain_delay_s: float = 0.0
    leave_at: float | None = None  # the end of LEAVING
    standing: list[Slot] = field(factory=list)  # those that are not down yet while everything stops
    needed: set[str] = field(factory=set)  # services that these still need
    exit_code: int = 0
    nearest: float | None = None  # the answer of next_deadline(), worth something while it is known
    nearest_known: bool = False

    @property
    def stopping(self) -> bool:
        """Asked to stop, whatever still runs: no wish is heard any more, and readiness says no."""
        return self.course is not Course.RUNNING

    def begin(self, plan: Plan, now: float) -> list[Action]:
        self.nearest_known = False
        self.drain_delay_s = plan.drain_delay_s
        for instance in plan.instances:
            self.slots[instance.name] = self._new_slot(instance, now)
        return self._advance(self._all(), now)

    def step(self, event: Event, now: float) -> list[Action]:
        """The one way in for all that happens."""
        self.nearest_known = False
        touched = self._touched_by(event)
        match event:
            case StopRequested(reason=reason):
                actions = self._stop(reason, now)
            case InstanceStartRequested(name=name) if name in self.slots and not self.stopping:
                actions = self._start_one(self.slots[name], now)
            case InstanceStopRequested(name=name) if name in self.slots and not self.stopping:
                actions = self.slots[name].stop(now)
            case InstanceRestartRequested(name=name) if name in self.slots and not self.stopping:
                slot = self.slots[name]
                actions = slot.replace(slot.instance, now)
            case PlanChanged(plan=plan) if not self.stopping:
                actions = self._change(plan, now)
            case _:
                actions = [action for slot in touched for action in slot.step(event, now)]
        if isinstance(event, DeadlinePassed):
            actions += self._time_has_come(now)
        return actions + self._advance(touched, now)

    def next_deadline(self) -> float | None:
        """Asked several times a turn, and only what happens can change it."""
        if not self.nearest_known:
            times = [self.leave_at, *(slot.next_deadline() for slot in self._all())]
            self.nearest = min((time for time in times if time is not None), default=None)
            self.nearest_known = True
        return self.nearest

    def _all(self) -> list[Slot]:
        return [*self.slots.values(), *self.leaving.values()]

    def _touched_by(self, event: Event) -> list[Slot]:
        """What names a life or a leader's pid is about one instance, everything else about all."""
        match event:
            case Exited(pid=pid):
                name = self.homes.pop(pid, "")
            case Spawned(life=life, pid=pid):
                name = self.homes[pid] = _instance_of(life)
            case _ if hasattr(event, "life"):
                name = _instance_of(event.life)
            case _:
                return self._all()
        slot = self.slots.get(name) or self.leaving.get(name)
        return [] if slot is None else [slot]

    def _advance(self, touched: list[Slot], now: float) -> list[Action]:
        """Start or stop whatever has become possible; one start may make the next one possible."""
        if self.leaving:
            self.leaving = {name: slot for name, slot in self.leaving.items() if not slot.down}
        actions = self._act_on_give_up(touched, now)
        if self.course in (Course.STOPPING, Course.ENDED):
            return actions + self._advance_stop(touched, now)
        while startable := self._startable():
            for slot in startable:
                actions += slot.start(now)
        return actions

    def _startable(self) -> list[Slot]:
        if self.unstarted:  # WAITING comes once for an instance, at its beginning
            self.unstarted = {name: slot for name, slot in self.unstarted.items() if slot.state is State.WAITING}
        return [slot for slot in self.unstarted.values() if self._may_start(slot)]

    def _may_start(self, slot: Slot) -> bool:
        return slot.wanted and all(self._reached(d.service, d.until) for d in slot.instance.after)

    def _reached(self, service: str, until: str) -> bool:
        slots = [slot for slot in self.slots.values() if slot.instance.service == service]
        if until == "started":
            return all(slot.generation > 0 for slot in slots)
        good = {State.FINISHED} if until == "finished" else {State.READY, State.FINISHED}
        return all(slot.state in good for slot in slots)

    def _act_on_give_up(self, touched: list[Slot], now: float) -> list[Action]:
        actions: list[Action] = []
        for slot in touched:
            if slot.given_up:
                slot.given_up = False
                if slot.instance.restart.on_give_up == "exit" and self.course in (Course.RUNNING, Course.LEAVING):
                    self.exit_code = slot.exit_code
                    actions += self._begin_stop(now)
        return actions

    def _time_has_come(self, now: float) -> list[Action]:
        if self.leave_at is not None and now >= self.leave_at:
            return [Report("stopping in order"), *self._begin_stop(now)]
        if self.course in (Course.STOPPING, Course.ENDED):
            return []
        return [action for slot in self.slots.values() for action in slot.try_again(now)]

    def _stop(self, reason: str, now: float) -> list[Action]:
        match self.course:
            case Course.RUNNING if self.drain_delay_s and any(s.state is State.READY for s in self.slots.values()):
                self.course, self.leave_at = Course.LEAVING, now + self.drain_delay_s
                text = f"{reason}: still serving for {self.drain_delay_s:g} s while readiness says no"
                return [Report(f"{text}; then stopping in order")]
            case Course.RUNNING:
                return [Report(f"{reason}: stopping in order"), *self._begin_stop(now)]
            case Course.LEAVING:
                return [Report(f"{reason} again: no more waiting; stopping in order"), *self._begin_stop(now)]
            case _:
                text = f"{reason} again: killing what is left"
                return [Report(text, level="warning"), *(a for slot in self._all() for a in slot.kill(now))]

    def _begin_stop(self, now: float) -> list[Action]:
        self.course, self.leave_at, self.standing = Course.STOPPING, None, self._all()
        actions: list[Action] = []
        for slot in self.standing:
            slot.wanted = False
            if slot.current is None:  # nothing to wait for: what waits for its next start must not wake us any more
                actions += slot.stop(now)
        return actions + self._advance_stop(self.standing, now)

    def _advance_stop(self, touched: list[Slot], now: float) -> list[Action]:
        """Nobody comes back from being down: what still stands only grows less, and only then is all looked at."""
        actions: list[Action] = []
        self.standing = [slot for slot in self.standing if not slot.down]
        needed = {d.service for slot in self.standing for d in slot.instance.after}
        changed, self.needed = needed != self.needed, needed
        for slot in self.standing if changed else touched:
            slot.hurry(now)  # again each time: a leader may die by itself while others are still stopping
            if slot.instance.service not in needed:
                actions += slot.stop(now)
        if not self.standing and self.course is not Course.ENDED:
            self.course = Course.ENDED
            killed = any(slot.killed for slot in self._all())
            actions.append(Exit(self.exit_code or (KILLED if killed else 0)))
        return actions

    def _start_one(self, slot: Slot, now: float) -> list[Action]:
        """A person wants it to run: forgive its past; a life that is just stopping is followed by a new one."""
        slot.wanted = True
        slot.restarts.forgive()
        return slot.start(now) if slot.current is None else []

    def _change(self, plan: Plan, now: float) -> list[Action]:
        """Touch only what differs."""
        self.drain_delay_s = plan.drain_delay_s
        actions: list[Action] = []
        wanted = {instance.name: instance for instance in plan.instances}
        for name in [name for name in self.slots if name not in wanted]:
            slot = self.slots.pop(name)
            self.leaving[name] = slot
            actions += slot.stop(now)
        known = self.slots
        self.slots = {}
        for name, instance in wanted.items():
            returning = self.leaving.pop(name, None)
            slot = known.get(name) or returning or self._new_slot(instance, now)
            self.slots[name] = slot
            if slot is returning:  # wanted again before it was down: its generations go on, no life has a name twice
                actions += slot.replace(instance, now)
            elif slot.instance != instance:
                actions += slot.adopt(instance, now)
        return actions

    def _new_slot(self, instance: Instance, now: float) -> Slot:
        slot = self.unstarted[instance.name] = Slot(instance, Restarts(instance.restart), self.rng, since=now)
        return slot


def _instance_of(life: str) -> str:
    return life.rpartition("#")[0]
