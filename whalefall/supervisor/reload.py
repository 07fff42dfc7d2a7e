"""Reload: the planner runs as a child and prints the next Plan; only a good one is applied. A typo changes nothing.

The planner may fail, hang or talk too much: it is killed after PLANNER_TIMEOUT_S, what it prints is bounded, and its
complaint is passed on as it is.
"""

import os
import selectors
import signal

from whalefall.errors import WhalefallError
from whalefall.plan import Plan, plan_from_json
from whalefall.plan.order import check
from whalefall.supervisor.core.events import Exited, PlanChanged
from whalefall.supervisor.edge import clock, trees
from whalefall.supervisor.edge.spawn import Handed, SpawnError, spawn
from whalefall.supervisor.loop import AfterTurn, Loop

PLANNER_TIMEOUT_S = 60.0
_PLAN_BYTES_MAX = 67_108_864  # a thousand instances with a large environment each
_CHUNK_BYTES = 65_536


class Reload(AfterTurn):
    """At most one planner at a time; a request that comes meanwhile is served by one more run."""

    def __init__(self, loop: Loop, plan: Plan) -> None:
        self.loop, self.plan = loop, plan
        self.pid: int | None = None
        self.read = -1
        self.printed = bytearray()
        self.until = 0.0

    def turn_ended(self) -> None:
        if self.loop.reload and self.pid is None and not self.loop.engine.stopping:
            self.loop.reload = False
            self._start()

    def next_deadline(self) -> float | None:
        return None if self.pid is None else self.until

    def time_has_come(self, now: float) -> None:
        if self.pid is not None and now >= self.until:
            self.loop.output.say(f"reload: the planner took longer than {PLANNER_TIMEOUT_S:g} s and is killed")
            trees.send([self.pid], signal.SIGKILL)
            self.until = now + PLANNER_TIMEOUT_S

    def readable(self, kind: str, name: object) -> None:
        if kind == "reload":
            chunk = os.read(self.read, _CHUNK_BYTES)
            if chunk and len(self.printed) < _PLAN_BYTES_MAX:
                self.printed += chunk
            else:
                self._close()

    def reaped(self, exited: Exited) -> None:
        if exited.pid != self.pid:
            return
        self.pid = None
        while self.read >= 0:  # what is still in the pipe; its writer is gone
            self.readable("reload", "")
        if exited.status.code == 0:
            self._apply()
        else:
            complaint = " ".join(self.printed.decode(errors="replace").split())
            self.loop.output.say(f"reload: nothing is changed, because the planner {exited.status}: {complaint[:2000]}")

    def _start(self) -> None:
        if self.plan.replan is None:
            self.loop.output.say("reload: this Plan does not say how to make the next one; nothing is changed")
            return
        self.read, write = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = spawn(self.plan.replan, Handed(output=write), {}, death_signal=signal.SIGKILL)
        except SpawnError as error:
            os.close(self.read)
            self.read = -1
            self.loop.output.say(f"reload: nothing is changed, because the planner cannot be started: {error}")
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
            self.loop.bind(plan)
        except (WhalefallError, UnicodeDecodeError) as error:
            self.loop.output.say(f"reload: nothing is changed: {error}")
            return
        self.plan = plan
        self.loop.output.name_all([instance.name for instance in plan.instances])
        self.loop.output.say("reload: the new Plan is applied")
        self.loop.post(PlanChanged(plan))

    def _close(self) -> None:
        self.loop.selector.unregister(self.read)
        os.close(self.read)
        self.read = -1
