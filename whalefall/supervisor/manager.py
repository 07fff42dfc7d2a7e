"""systemd above us and below us: what it is told about the whole, and what our services tell us.

As a unit (`Type=notify`): READY=1 when everything is ready for the first time, STATUS= when a state changes,
RELOADING=1 and READY=1 around a reload, STOPPING=1, and WATCHDOG=1 in half of the period that it wants. To a service
whose readiness is `notify`, or that has a watchdog: a NOTIFY_SOCKET, and its READY=1 and WATCHDOG=1 count when they
come from its own tree.
"""

import os
import selectors
from collections.abc import Mapping

from whalefall.supervisor.core.events import SaidAlive, SaidReady
from whalefall.supervisor.core.handover import State
from whalefall.supervisor.edge import clock
from whalefall.supervisor.edge.notify import Mailbox, Upward
from whalefall.supervisor.loop import AfterTurn, Loop

MAILBOX = "notify.sock"
_UP = (State.READY, State.FINISHED)


class ServiceManager(AfterTurn):
    def __init__(self, loop: Loop, environ: Mapping[str, str], run_dir: str) -> None:
        self.loop = loop
        self.upward = Upward(environ.get("NOTIFY_SOCKET", ""))
        self.mailbox = Mailbox(f"{run_dir}/{MAILBOX}")
        loop.selector.register(self.mailbox.socket, selectors.EVENT_READ, ("notify", ""))
        loop.notify_address = self.mailbox.path
        self.said: tuple[bool, bool, str] = (False, False, "")
        self.period_s = _watchdog_period_s(environ)
        self.ping_at = clock.now()

    def readable(self, kind: str, name: object) -> None:
        if kind == "notify":
            for pid, lines in self.mailbox.take():
                if life := self.loop.life_of(pid):
                    self._hear(life, lines)

    def _hear(self, life: str, lines: list[str]) -> None:
        if "READY=1" in lines:
            self.loop.post(SaidReady(life))
        if "WATCHDOG=1" in lines:
            self.loop.post(SaidAlive(life))

    def next_deadline(self) -> float | None:
        return self.ping_at if self.period_s else None

    def time_has_come(self, now: float) -> None:
        if self.period_s and now >= self.ping_at:
            self.upward.tell("WATCHDOG=1")
            self.ping_at = now + self.period_s

    def turn_ended(self) -> None:
        """Only what has changed is told."""
        slots = list(self.loop.engine.slots.values())
        up = sum(slot.state in _UP for slot in slots)
        ready = self.said[0] or up == len(slots)
        stopping = self.loop.engine.stopping
        status = "stopping" if stopping else f"{up} of {len(slots)} instances are ready"
        before, self.said = self.said, (ready, stopping, status)
        if status != before[2]:
            self.upward.tell(f"STATUS={status}")
        if ready and not before[0]:
            self.upward.tell("READY=1")
        if stopping and not before[1]:
            self.upward.tell("STOPPING=1")

    def reloading(self) -> None:
        """sd_notify(3): RELOADING=1 comes with the monotonic time, and READY=1 ends it."""
        self.upward.tell("RELOADING=1", f"MONOTONIC_USEC={int(clock.now() * 1_000_000)}")

    def reloaded(self) -> None:
        self.upward.tell("READY=1")

    def close(self) -> None:
        self.mailbox.close()


def _watchdog_period_s(environ: Mapping[str, str]) -> float:
    """Half of WATCHDOG_USEC, as sd_watchdog_enabled(3) advises; 0 when it is not for us."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or (pid and pid != str(os.getpid())):
        return 0.0
    return int(usec) / 2_000_000
