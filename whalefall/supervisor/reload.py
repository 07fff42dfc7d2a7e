"""Reload: the planner runs as a child and prints the next Plan; only a good one is applied. A typo changes nothing.

The planner may fail, hang or talk too much: it is killed after PLANNER_TIMEOUT_S, what it prints is bounded, and its
complaint is passed on as it is.
"""

import contextlib
import os
import selectors
import signal
from collections.abc import Callable

from whalefall.errors import WhalefallError
from whalefall.plan import Command, Plan, plan_from_json
from whalefall.plan.order import check
from whalefall.plan.records import frozen, replace
from whalefall.supervisor.core.actions import Report
from whalefall.supervisor.core.events import Exited, ExitStatus, PlanChanged
from whalefall.supervisor.edge import clock, trees
from whalefall.supervisor.edge.spawn import Handed, SpawnError, spawn
from whalefall.supervisor.loop import AfterTurn, Loop

PLANNER_TIMEOUT_S = 60.0
_PLAN_BYTES_MAX = 67_108_864  # a thousand instances with a large environment each
_CHUNK_BYTES = 65_536
_COMPLAINT_SHOWN = 2_000  # characters
_ITS_SENTENCE = "whalefall: "  # how the front door begins an error


@frozen
class _Wish:
    answer: Callable[[str], None]
    scale: dict[str, int]


class Reload(AfterTurn):
    """At most one planner at a time; requests that come meanwhile are served together by one more run."""

    def __init__(self, loop: Loop, plan: Plan) -> None:
        self.loop, self.plan = loop, plan
        self.scale: dict[str, int] = {}  # what people asked for since the start; survives every reload
        self.before: Callable[[], None] = _nothing
        self.after: Callable[[], None] = _nothing
        self.wanted: list[_Wish] = []
        self.served: list[_Wish] = []
        self.changed: list[str] = []  # what the last Plan that was applied made new, other or superfluous
        self.pid: int | None = None
        self.read = -1
        self.printed = bytearray()
        self.ended: ExitStatus | None = None  # how the planner ended, until the turn is over
        self.until = 0.0

    def ask(self, answer: Callable[[str], None], scale: dict[str, int] | None = None) -> None:
        """Plan again, perhaps with other numbers; `answer` gets "" when it is applied, else why nothing is changed."""
        self.wanted.append(_Wish(answer, scale or {}))

    def turn_ended(self) -> None:
        if self.ended is not None:
            # Not earlier in the turn: what the engine still had to hear was about the old Plan and its listeners.
            status, self.ended = self.ended, None
            self._planned(status)
        if self.loop.reload:
            self.loop.reload = False
            self.ask(lambda _: None)
        if self.wanted and self.pid is None:
            self.served, self.wanted = self.wanted, []
            if self.loop.engine.stopping:
                self._refuse("whalefall is stopping")
                return
            self.before()
            self._start()

    def next_deadline(self) -> float | None:
        return None if self.pid is None else self.until

    def time_has_come(self, now: float) -> None:
        if self.pid is not None and now >= self.until:
            self.loop.tell(
                Report(
                    f"{self._asked()}: the planner took longer than {PLANNER_TIMEOUT_S:g} s and is killed",
                    level="error",
                )
            )
            trees.send([self.pid], signal.SIGKILL)
            self.until = now + PLANNER_TIMEOUT_S

    def readable(self, kind: str, name: object) -> None:
        if kind == "reload" and self.read >= 0:  # its writer may have been reaped earlier in this turn
            chunk = os.read(self.read, _CHUNK_BYTES)
            if chunk and len(self.printed) < _PLAN_BYTES_MAX:
                self.printed += chunk
            else:
                self._close()

    def reaped(self, exited: Exited) -> None:
        if exited.pid != self.pid:
            return
        self.pid, self.ended = None, exited.status
        with contextlib.suppress(BlockingIOError):  # somebody whom it left behind holds the pipe open
            while self.read >= 0:
                self.readable("reload", "")
        if self.read >= 0:
            self._close()

    def _planned(self, status: ExitStatus) -> None:
        if self.loop.engine.stopping:
            self._refuse("whalefall is stopping")
        elif status.code == 0:
            self._apply()
        else:
            complaint = " ".join(self.printed.decode(errors="replace").split())
            told = complaint.startswith(_ITS_SENTENCE)  # it says itself what is wrong; how it ended tells nobody more
            reason = complaint.removeprefix(_ITS_SENTENCE) if told else f"the planner {status}: {complaint}"
            self._refuse(reason[:_COMPLAINT_SHOWN])

    def _start(self) -> None:
        if self.plan.replan is None:
            self._refuse("this Plan does not say how to make the next one")
            return
        try:
            self.read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(self.read, False)
        except OSError as error:
            self._refuse(f"cannot make a pipe: {error.strerror}")
            return
        try:
            self.pid = spawn(self._command(self.plan.replan), Handed(output=write), {}, death_signal=signal.SIGKILL)
        except SpawnError as error:
            os.close(self.read)
            self.read = -1
            self._refuse(f"the planner cannot be started: {error}")
            return
        finally:
            os.close(write)
        self.until = clock.now() + PLANNER_TIMEOUT_S
        self.printed.clear()
        self.loop.selector.register(self.read, selectors.EVENT_READ, ("reload", ""))

    def _apply(self) -> None:
        try:
            plan = plan_from_json(self.printed.decode())
            check(plan)
        except (WhalefallError, UnicodeDecodeError) as error:
            self._refuse(str(error))
            return
        try:
            self.loop.bind(plan)
        except WhalefallError as error:
            self._refuse(_held_by_us(plan, self.loop.addresses) or str(error))
            return
        self.changed = _differences(self.plan, plan)
        self.plan = plan
        self.scale = self._asked_scale()
        self.loop.output.name_all([instance.name for instance in plan.instances])
        self.loop.tell(Report(f"{self._asked()}: the new Plan is applied"))
        self.loop.post(PlanChanged(plan))
        self._answer("")

    def _command(self, replan: Command) -> Command:
        scale = ",".join(f"{service}={number}" for service, number in self._asked_scale().items())
        return replace(replan, argv=(*replan.argv, "--scale", scale)) if scale else replan

    def _asked_scale(self) -> dict[str, int]:
        asked = dict(self.scale)
        for wish in self.served:
            asked |= wish.scale
        return asked

    def _asked(self) -> str:
        """What people asked for, as an event begins with it. A reload that comes along with a scale is in its Plan."""
        numbers = ",".join(f"{service}={number}" for wish in self.served for service, number in wish.scale.items())
        return f"scale {numbers}" if numbers else "reload"

    def _refuse(self, reason: str) -> None:
        self.loop.tell(Report(f"{self._asked()}: nothing is changed: {reason}", level="error"))
        self._answer(reason)

    def _answer(self, reason: str) -> None:
        self.after()
        for wish in self.served:
            wish.answer(reason)
        self.served = []

    def _close(self) -> None:
        self.loop.selector.unregister(self.read)
        os.close(self.read)
        self.read = -1


def _differences(before: Plan, now: Plan) -> list[str]:
    """Instances that are in one only, or not the same in both; and listeners, which no instance may mention."""
    old, new = _parts(before), _parts(now)
    return [name for name in {**old, **new} if old.get(name) != new.get(name)]


def _parts(plan: Plan) -> dict[str, object]:
    instances: dict[str, object] = {each.name: each for each in plan.instances}
    return instances | {f"listener {each.name}": each for each in plan.listeners}


def _held_by_us(plan: Plan, held: dict[str, str]) -> str:
    """The sentence when a new address is on a port that we hold under another, "" when it is not.

    Closing ours first would refuse clients until the new one is bound, and for ever if it is not: so a restart.
    """
    ports = {address.rpartition(":")[2]: (name, address) for name, address in held.items()}
    for listener in plan.listeners:
        name, address = ports.get(listener.address.rpartition(":")[2], ("", ""))
        if name and held.get(listener.name) != listener.address:
            return (
                f"cannot listen on {listener.address} ({listener.name}): whalefall itself holds {address} ({name}). "
                "Choose another port, or stop whalefall and start it again: whalefall shutdown, whalefall serve."
            )
    return ""


def _nothing() -> None:
    """Nobody wants to know."""
