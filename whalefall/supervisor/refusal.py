"""While a service is down for good, whoever connects to its held socket is refused at once; nobody would answer.

A dead service's connections wait in the kernel's queue, because it is back in a moment. One that has failed, or that a
person has stopped, is not: Nginx would hold its clients until its own timeout. So we take each connection and close it,
and Nginx answers 502 right away. From the turn on in which it is started again, connections wait as ever.

Meanwhile the socket does not block, whatever its service wants, for an orphan of that may be quicker than we are, and
the loop would stand still until the next client comes. Its flags are shared with the service, so they are given back.
"""

import contextlib
import os
import selectors

from whalefall.supervisor.core.actions import Report
from whalefall.supervisor.core.handover import Slot, State
from whalefall.supervisor.loop import AfterTurn, Loop

_AT_ONCE_MAX = 64  # connections in a turn; others want their turn, too


class Refusal(AfterTurn):
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.refusing: dict[str, bool] = {}  # listeners that are in the selector, and whether they were blocking

    def turn_ended(self) -> None:
        wanted = self._of_services_that_are_down()
        for name in [name for name in self.refusing if name not in wanted]:
            self.listener_closes(name)
        for name in wanted - self.refusing.keys():
            descriptor = self.loop.sockets[name].fileno()
            self.refusing[name] = os.get_blocking(descriptor)
            os.set_blocking(descriptor, False)
            self.loop.selector.register(self.loop.sockets[name], selectors.EVENT_READ, ("refuse", name))
            self._tell_of_a_stop(name)

    def listener_closes(self, name: str) -> None:
        if name in self.refusing:
            self.loop.selector.unregister(self.loop.sockets[name])
            os.set_blocking(self.loop.sockets[name].fileno(), self.refusing.pop(name))

    def readable(self, kind: str, name: object) -> None:
        if kind == "refuse" and isinstance(name, str) and name in self.refusing:
            with contextlib.suppress(OSError):  # BlockingIOError: that was all
                for _ in range(_AT_ONCE_MAX):
                    self.loop.sockets[name].accept()[0].close()

    def _of_services_that_are_down(self) -> set[str]:
        """Listeners that only instances have which nothing but a wish brings back, or a moment that is far away."""
        slots = self.loop.engine.slots.values()
        down = {name for slot in slots if self._is_down(slot) for name in slot.instance.listeners}
        if not down:  # every turn asks, and this is nearly every turn
            return set()
        used = {name for slot in slots if not self._is_down(slot) for name in slot.instance.listeners}
        return (down - used) & self.loop.sockets.keys()

    def _is_down(self, slot: Slot) -> bool:
        """A stop of all is none by hand: whoever waits on a socket of the service manager is served by the next."""
        stopped = slot.state is State.STOPPED and slot.down and not self.loop.engine.stopping
        return stopped or slot.state is State.FAILED

    def _tell_of_a_stop(self, listener: str) -> None:
        slots = [slot for slot in self.loop.engine.slots.values() if listener in slot.instance.listeners]
        for name in dict.fromkeys(slot.instance.service for slot in slots if slot.state is State.STOPPED):
            text = f"{name} was stopped by hand, so its clients are refused at once. Start it: whalefall start {name}"
            self.loop.tell(Report(text, slots[0].instance.name))
