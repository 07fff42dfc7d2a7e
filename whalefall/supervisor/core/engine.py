"""All instances together: order of start, order of stop, exit code. (state, event, now) → (state, actions).

Start: an instance waits until what it comes `after` is as far as it wants. Stop: first, where the Plan has a drain
delay, everything goes on as before while readiness says no; then the reverse of the start, an instance is asked only
when all that comes after it is down. When an instance gives up and its policy is `exit`, everything stops in order and
its code becomes ours. Nothing here ticks: `next_deadline()` says when time alone would change something.
"""

from dataclasses import dataclass, field
from enum import Enum

from whalefall.plan import Instance, Plan
from whalefall.supervisor.core.actions import Action, Exit, Report
from whalefall.supervisor.core.events import (
    DeadlinePassed,
    Event,
    InstanceRestartRequested,
    InstanceStartRequested,
    InstanceStopRequested,
    PlanChanged,
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


@dataclass(slots=True)
class Engine:
    """The whole state of supervision; `slots` in the order of the Plan."""

    rng: Chance
    slots: dict[str, Slot] = field(default_factory=dict)
    leaving: dict[str, Slot] = field(default_factory=dict)  # removed from the Plan, not yet down
    course: Course = Course.RUNNING
    drain_delay_s: float = 0.0
    leave_at: float | None = None  # the end of LEAVING
    exit_code: int = 0

    @property
    def stopping(self) -> bool:
        """Asked to stop, whatever still runs: no wish is heard any more, and readiness says no."""
        return self.course is not Course.RUNNING

    def begin(self, plan: Plan, now: float) -> list[Action]:
        self.drain_delay_s = plan.drain_delay_s
        for instance in plan.instances:
            self.slots[instance.name] = self._new_slot(instance, now)
        return self._advance(now)

    def step(self, event: Event, now: float) -> list[Action]:
        """The one way in for all that happens."""
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
                actions = [action for slot in self._all() for action in slot.step(event, now)]
        if isinstance(event, DeadlinePassed):
            actions += self._time_has_come(now)
        return actions + self._advance(now)

    def next_deadline(self) -> float | None:
        times = [self.leave_at, *(slot.next_deadline() for slot in self._all())]
        return min((time for time in times if time is not None), default=None)

    def _all(self) -> list[Slot]:
        return [*self.slots.values(), *self.leaving.values()]

    def _advance(self, now: float) -> list[Action]:
        """Start or stop whatever has become possible; one start may make the next one possible."""
        actions: list[Action] = []
        self.leaving = {name: slot for name, slot in self.leaving.items() if not slot.down}
        actions += self._act_on_give_up(now)
        if self.course in (Course.STOPPING, Course.ENDED):
            return actions + self._advance_stop(now)
        while startable := [slot for slot in self.slots.values() if self._may_start(slot)]:
            for slot in startable:
                actions += slot.start(now)
        return actions

    def _may_start(self, slot: Slot) -> bool:
        waiting = slot.current is None and slot.rest is State.WAITING and slot.wanted
        return waiting and all(self._reached(d.service, d.until) for d in slot.instance.after)

    def _reached(self, service: str, until: str) -> bool:
        slots = [slot for slot in self.slots.values() if slot.instance.service == service]
        if until == "started":
            return all(slot.generation > 0 for slot in slots)
        good = {State.FINISHED} if until == "finished" else {State.READY, State.FINISHED}
        return all(slot.state in good for slot in slots)

    def _act_on_give_up(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for slot in self.slots.values():
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
        self.course, self.leave_at = Course.STOPPING, None
        actions: list[Action] = []
        for slot in self._all():
            slot.wanted = False
            if slot.current is None:  # nothing to wait for: what waits for its next start must not wake us any more
                actions += slot.stop(now)
        return actions + self._advance_stop(now)

    def _advance_stop(self, now: float) -> list[Action]:
        actions: list[Action] = []
        for slot in self._all():
            slot.hurry(now)  # again each time: a leader may die by itself while others are still stopping
            if all(later.down for later in self._those_after(slot)):
                actions += slot.stop(now)
        if all(slot.down for slot in self._all()) and self.course is not Course.ENDED:
            self.course = Course.ENDED
            killed = any(slot.killed for slot in self._all())
            actions.append(Exit(self.exit_code or (KILLED if killed else 0)))
        return actions

    def _those_after(self, slot: Slot) -> list[Slot]:
        service = slot.instance.service
        return [s for s in self._all() if any(d.service == service for d in s.instance.after)]

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
        fresh = self.slots
        self.slots = {}
        for name, instance in wanted.items():
            slot = fresh[name] if name in fresh else self._new_slot(instance, now)
            self.slots[name] = slot
            if name in fresh and slot.instance != instance:
                actions += slot.adopt(instance, now)
        return actions

    def _new_slot(self, instance: Instance, now: float) -> Slot:
        return Slot(instance, Restarts(instance.restart), self.rng, since=now)
