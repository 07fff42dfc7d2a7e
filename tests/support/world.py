"""A simulated operating system for the engine: processes that live, hang, crash and leave children, in virtual time.

All chance comes from a list of small numbers, so that hypothesis can shrink a bad history. The world obeys the contract
of the real edge: a spawn answers in the same turn; a tree empties only after its leader is reaped; nothing happens to a
process that is gone.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from whalefall.plan import Instance, Plan
from whalefall.supervisor.core import actions as do
from whalefall.supervisor.core.engine import Engine
from whalefall.supervisor.core.events import (
    DeadlinePassed,
    Event,
    Exited,
    ExitStatus,
    FoundStopped,
    InstanceRestartRequested,
    InstanceStartRequested,
    InstanceStopRequested,
    PlanChanged,
    ProbeFailed,
    ProbeSucceeded,
    SaidAlive,
    Spawned,
    SpawnFailed,
    SpawnHeld,
    StopRequested,
    TreeEmptied,
    Weighed,
)
from whalefall.supervisor.core.handover import Slot, State

_FATES = ("good", "good", "good", "crash early", "crash late", "never ready", "hangs", "cannot start", "lock held")
_DEAF_ONE_IN = 4  # does not stop when asked
_FERTILE_ONE_IN = 3  # leaves children behind
_STEPS_MAX = 3_000  # events in one history; more means that time stands still


@dataclass
class Process:
    """A life's processes as the world knows them."""

    life: str
    instance: Instance
    pid: int
    fate: str
    deaf: bool
    heirs: int
    heirs_deaf: bool
    leader_alive: bool = True
    hanging_since: float = math.inf
    answering_from: float = 0.0
    born: float = 0.0
    workers: dict[int, float] = field(default_factory=dict)  # pid: since when
    leaving: int = 0  # a worker that was asked to finish
    left_at: float = -math.inf  # when the last one had

    def hanging(self, now: float) -> bool:
        return now >= self.hanging_since

    @property
    def alive(self) -> bool:
        return self.leader_alive or self.heirs > 0


@dataclass
class World:
    choices: Iterator[int]
    engine: Engine = field(default_factory=lambda: Engine(random.Random(1)))
    now: float = 0.0
    plan: Plan = field(default_factory=lambda: Plan(()))
    queue: deque[Event] = field(default_factory=deque)
    timers: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    processes: dict[str, Process] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=dict)
    counter: int = 100
    exit_code: int | None = None
    exited_at: float = 0.0
    stop_asked_at: float | None = None
    serving_until: float | None = None  # the end of the drain delay, where nobody hurries past it
    serving: frozenset[str] = frozenset()  # what must go on until then
    steps: int = 0
    spawns: int = 0

    @classmethod
    def of(cls, numbers: Sequence[int]) -> "World":
        return cls(iter(numbers))

    def pick(self, n: int) -> int:
        """The next choice below `n`; 0, the harmless one, when the list is used up."""
        return next(self.choices, 0) % n

    def run(self, plan: Plan, changes: Sequence[Plan] = ()) -> None:
        """A whole history: start, whatever happens, a stop at the end."""
        self.plan = plan
        self._do(self.engine.begin(plan, self.now))
        self._settle()
        for _ in range(self.pick(8)):
            self._let_pass(self.pick(100) * 1.7)
            self._a_person_does_something(changes)
        self._let_pass(10.0 + self.pick(50) * 10.0)
        self.stop_asked_at = self.now
        hurried = self.pick(6) == 1
        if not hurried and any(slot.state is State.READY for slot in self.engine.slots.values()):
            self.serving_until = self.now + self.engine.drain_delay_s
            self.serving = frozenset(name for name, slot in self.engine.slots.items() if slot.wanted)
        self.queue.append(StopRequested("SIGTERM"))
        self._settle()
        if hurried:
            self._let_pass(1.0)
            if self.exit_code is None:
                self.queue.append(StopRequested("SIGTERM"))
                self._settle()
        self._let_pass(100_000.0)

    # Time.

    def _let_pass(self, seconds: float) -> None:
        end = self.now + seconds
        while self.exit_code is None:
            deadline = self.engine.next_deadline()
            timer = self.timers[0][0] if self.timers else None
            moments = [moment for moment in (deadline, timer) if moment is not None]
            if not moments or min(moments) > end:
                break
            self.now = max(self.now, min(moments))
            if timer is not None and timer <= self.now:
                heapq.heappop(self.timers)[2]()
            else:
                self.queue.append(DeadlinePassed())
            self._settle()
        self.now = max(self.now, end) if self.exit_code is None else self.now

    def _after(self, seconds: float, happens: Callable[[], None]) -> None:
        self.counter += 1
        heapq.heappush(self.timers, (self.now + seconds, self.counter, happens))

    def _settle(self) -> None:
        while self.queue and self.exit_code is None:
            self.steps += 1
            assert self.steps < _STEPS_MAX, f"time stands still at {self.now}: {self.queue[0]}"
            self._do(self.engine.step(self.queue.popleft(), self.now))
        self.check()

    # What the engine orders.

    def _do(self, actions: list[do.Action]) -> None:
        for action in actions:
            match action:
                case do.Spawn(life=life, instance=instance):
                    self.queue.appendleft(self._spawn(life, instance))
                case do.Signal(life=life, pid=pid) if pid in self.processes[life].workers:
                    self._ask_a_worker(life, pid)
                case do.Signal(life=life, pid=pid):
                    self._signal_leader(life, pid)
                case do.Weigh(life=life, each=each):
                    self.queue.append(Weighed(life, self._sizes(self.processes[life], each)))
                case do.LookForStopped(life=life):
                    pids = {self.processes[life].pid} if self.pick(5) == 4 else set()
                    self.queue.append(FoundStopped(life, frozenset(pids)))
                case do.Continue():
                    pass
                case do.SignalDescendants():
                    pass  # a request for a stack dump changes nothing
                case do.SignalTree(life=life):
                    self._signal_heirs(life)
                case do.KillTree(life=life):
                    self._kill(life)
                case do.AskProbe(life=life):
                    self._ask(life)
                case do.DropProbe(life=life):
                    assert life in self.asked, f"no question is out for {life}"
                    del self.asked[life]
                case do.Forget(life=life):
                    process = self.processes.pop(life, None)
                    assert process is None or not process.alive, f"{life} was forgotten while it lives"
                case do.Exit(code=code):
                    assert self.exit_code is None, "exits once"
                    self.exit_code, self.exited_at = code, self.now

    def _spawn(self, life: str, instance: Instance) -> Event:
        self.spawns += 1
        fate = _FATES[self.pick(len(_FATES))]
        if fate == "lock held" and instance.lock:
            return SpawnHeld(life, "another whalefall")
        if fate == "cannot start":
            return SpawnFailed(life, "no such file")
        self.counter += 1
        fertile = self.pick(_FERTILE_ONE_IN) == 1
        process = Process(
            life, instance, self.counter, fate,
            deaf=self.pick(_DEAF_ONE_IN) == 1, heirs=2 if fertile else 0, heirs_deaf=fertile and self.pick(2) == 1,
            answering_from=self.now + 0.5, born=self.now,
        )  # fmt: skip
        if instance.memory is not None and instance.memory.each == "worker":
            process.workers = dict.fromkeys((self.counter * 1_000 + 1, self.counter * 1_000 + 2), self.now)
        self.processes[life] = process
        if fate == "crash early":
            self._after(0.1, lambda: self._leader_dies(life, ExitStatus(3)))
        elif fate == "crash late":
            self._after(1.0 + self.pick(60), lambda: self._leader_dies(life, ExitStatus(137, "SIGKILL")))
        elif fate == "never ready":
            process.answering_from = float("inf")
        elif fate == "hangs":
            process.hanging_since = self.now + 5.0
        if instance.watchdog_s is not None:
            self._feed_the_watchdog(process, instance.watchdog_s / 2)
        if instance.run_once:
            self._after(2.0, lambda: self._leader_dies(life, ExitStatus(0)))
        return Spawned(life, process.pid)

    def _sizes(self, process: Process, each: str) -> dict[int, int]:
        """They grow by one in a second."""
        if each == "tree":
            return {process.pid: int(self.now - process.born)}
        return {pid: int(self.now - since) for pid, since in process.workers.items()}

    def _ask_a_worker(self, life: str, pid: int) -> None:
        process, limit = self.processes[life], self.processes[life].instance.memory
        assert limit is not None
        assert process.leader_alive, f"{life}: a worker is asked although its master is dead"
        assert not process.leaving, f"{life}: two workers are recycled at once"
        assert self.now >= process.left_at + limit.settle_s, f"{life}: the last one has not settled"
        assert self._sizes(process, "worker")[pid] > limit.bytes, f"{life}: worker {pid} is not too fat"
        process.leaving = pid
        self._after(self.pick(100) / 5, lambda: self._replace_worker(process))

    def _replace_worker(self, process: Process) -> None:
        del process.workers[process.leaving]
        process.workers[process.leaving + 1_000_000] = self.now
        process.leaving, process.left_at = 0, self.now

    def _feed_the_watchdog(self, process: Process, period_s: float) -> None:
        if process.leader_alive and not process.hanging(self.now):
            self.queue.append(SaidAlive(process.life))
            self._after(period_s, lambda: self._feed_the_watchdog(process, period_s))

    def _leader_dies(self, life: str, status: ExitStatus) -> None:
        process = self.processes.get(life)
        if process is None or not process.leader_alive:
            return
        process.leader_alive = False
        self.queue.append(Exited(process.pid, status))
        self._tell_if_empty(process)

    def _heirs_die(self, life: str) -> None:
        process = self.processes.get(life)
        if process is not None and process.heirs:
            process.heirs = 0
            self._tell_if_empty(process)

    def _tell_if_empty(self, process: Process) -> None:
        if not process.alive:
            self.queue.append(TreeEmptied(process.life))

    def _signal_leader(self, life: str, pid: int) -> None:
        process = self.processes[life]
        assert process.leader_alive, f"{life}: a signal to a dead leader"
        assert process.pid == pid, f"{life}: a signal to a stranger"
        if not process.deaf:
            self._after(0.2, lambda: self._leader_dies(life, ExitStatus(0)))

    def _signal_heirs(self, life: str) -> None:
        process = self.processes[life]
        if not process.heirs_deaf:
            self._after(0.3, lambda: self._heirs_die(life))

    def _kill(self, life: str) -> None:
        process = self.processes.get(life)
        assert process is not None, f"{life} is killed after it was forgotten"
        self._after(0.01, lambda: self._leader_dies(life, ExitStatus(137, "SIGKILL")))
        self._after(0.02, lambda: self._heirs_die(life))
        if not process.alive:
            self.queue.append(TreeEmptied(life))

    def _ask(self, life: str) -> None:
        process = self.processes[life]
        assert life not in self.asked, f"{life} is asked twice at once"
        self.counter += 1
        number = self.asked[life] = self.counter

        def answer() -> None:
            if self.asked.get(life) != number:
                return
            if self.now >= process.answering_from and process.leader_alive and not process.hanging(self.now):
                del self.asked[life]
                self.queue.append(ProbeSucceeded(life))
            elif self.pick(2):
                del self.asked[life]
                self.queue.append(ProbeFailed(life, "refused"))

        self._after(0.05, answer)

    # What people do.

    def _a_person_does_something(self, changes: Sequence[Plan]) -> None:
        if self.exit_code is not None:
            return
        names = [instance.name for instance in self.plan.instances]
        name = names[self.pick(len(names))]
        deeds: list[Event] = [
            InstanceRestartRequested(name), InstanceStopRequested(name), InstanceStartRequested(name),
            *(PlanChanged(plan) for plan in changes),
        ]  # fmt: skip
        deed = deeds[self.pick(len(deeds))]
        if isinstance(deed, PlanChanged):
            self.plan = deed.plan
        self.queue.append(deed)
        if self.pick(4) == 1:  # two people at once: nothing is worked off between their requests
            self.queue.append(InstanceRestartRequested(name))
        self._settle()

    # What must never be.

    def check(self) -> None:
        """The invariants that must hold whenever the engine has answered."""
        self._no_two_generations_side_by_side()
        if self.serving_until is not None and self.now < self.serving_until and not self.engine.exit_code:
            assert self.exit_code is None, "left before the drain delay was over"
            unwanted = [name for name in self.serving if not self.engine.slots[name].wanted]
            assert not unwanted, f"asked to stop before the drain delay was over: {unwanted}"
        if self.exit_code is not None:
            assert not any(process.alive for process in self.processes.values()), "left something running"
            assert self.engine.next_deadline() is None, "exited with a timer armed"
            return
        deadline = self.engine.next_deadline()
        for slot in self.engine.slots.values():
            self._never_forgotten(slot, deadline)
            self._nothing_hangs_unnoticed(slot)

    def _no_two_generations_side_by_side(self) -> None:
        alive: dict[str, int] = {}
        for process in self.processes.values():
            stop_first = process.instance.replace == "stop_first" and process.instance.stop.orphans == "kill"
            if process.alive and stop_first:
                alive[process.instance.name] = alive.get(process.instance.name, 0) + 1
        assert all(count == 1 for count in alive.values()), f"side by side: {alive}"

    def _nothing_hangs_unnoticed(self, slot: Slot) -> None:
        limit_s = slot.instance.watchdog_s
        if slot.state is State.READY and slot.current is not None and limit_s is not None:
            process = self.processes[slot.current.id]
            assert self.now <= process.hanging_since + limit_s, f"{process.life} hangs since {process.hanging_since}"

    def _never_forgotten(self, slot: Slot, deadline: float | None) -> None:
        if not slot.wanted or slot.state in (State.READY, State.FINISHED) or self.queue:
            return
        if slot.state is State.FAILED:
            assert slot.deadline is not None or slot.instance.restart.on_give_up != "degrade"
        elif slot.state is State.WAITING:
            assert slot.instance.after, f"{slot.instance.name} waits for nothing"
        elif slot.state is State.BACKOFF:
            assert slot.deadline is not None
            assert deadline is not None
            assert deadline <= slot.deadline
        elif slot.current is not None and slot.current.leader_alive:
            assert deadline is not None or self.timers, f"{slot.instance.name} is {slot.state} with no end in sight"
