"""While a service has given up, whoever connects to its held socket is refused at once instead of waiting for nobody.

A dead service's connections wait in the kernel's queue, because it is back in a moment. One that has failed is not:
Nginx would hold its clients until its own timeout. So we take each connection and close it, and Nginx answers 502
right away.
"""

import contextlib
import selectors

from whalefall.supervisor.core.handover import State
from whalefall.supervisor.loop import AfterTurn, Loop


class Refusal(AfterTurn):
    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.refusing: set[str] = set()  # listeners that are in the selector

    def turn_ended(self) -> None:
        wanted = self._of_failed_services()
        for name in [name for name in self.refusing if name not in wanted]:
            self.listener_closes(name)
        for name in wanted - self.refusing:
            self.refusing.add(name)
            self.loop.selector.register(self.loop.sockets[name], selectors.EVENT_READ, ("refuse", name))

    def listener_closes(self, name: str) -> None:
        if name in self.refusing:
            self.refusing.remove(name)
            self.loop.selector.unregister(self.loop.sockets[name])

    def readable(self, kind: str, name: object) -> None:
        if kind == "refuse" and isinstance(name, str) and name in self.refusing:
            # One a turn, after select(2) has seen it: the socket itself may be blocking, and its flags are shared with
            # the service that inherits it. Nobody else accepts while the service is down.
            with contextlib.suppress(OSError):
                self.loop.sockets[name].accept()[0].close()

    def _of_failed_services(self) -> set[str]:
        """Listeners that only failed instances have."""
        slots = self.loop.engine.slots.values()
        failed = {name for slot in slots if slot.state is State.FAILED for name in slot.instance.listeners}
        used = {name for slot in slots if slot.state is not State.FAILED for name in slot.instance.listeners}
        return (failed - used) & self.loop.sockets.keys()
