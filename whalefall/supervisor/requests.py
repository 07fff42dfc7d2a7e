"""What the control socket may ask: requests → events for the engine, states → replies. No socket in here."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

from whalefall._version import __version__
from whalefall.control.protocol import Request
from whalefall.errors import ControlError
from whalefall.supervisor.control import Connection, Control
from whalefall.supervisor.core.actions import Report
from whalefall.supervisor.core.events import (
    Event,
    InstanceRestartRequested,
    InstanceStartRequested,
    InstanceStopRequested,
    StopRequested,
)
from whalefall.supervisor.core.snapshot import snapshot
from whalefall.supervisor.edge import clock
from whalefall.supervisor.loop import AfterTurn, Loop
from whalefall.supervisor.reload import Reload

_EVENTS: dict[str, Callable[[str], Event]] = {
    "start": InstanceStartRequested,
    "stop": InstanceStopRequested,
    "restart": InstanceRestartRequested,
    "reload": InstanceRestartRequested,  # of one service: replaced in any case, with what the present Plan says
}


class Requests(AfterTurn):
    """Answers requests on `control` about `loop`."""

    def __init__(self, loop: Loop, reload: Reload) -> None:
        self.loop, self.reload = loop, reload
        loop.listeners_to_events.append(self._pass_on_event)
        self.control = Control(loop.selector, self.handle)
        self.control.closed.append(self._forget)
        self.started_at, self.started = clock.wall(), clock.now()
        self.verbs: dict[str, Callable[[Request, Connection], None]] = {
            "status": self._status,
            "logs": self._logs,
            "shutdown": self._shutdown,
            "start": self._act,
            "stop": self._act,
            "restart": self._act,
            "reload": self._reload,
            "scale": self._scale,
            "why": self._why,
            "events": self._events,
        }

    def readable(self, kind: str, name: object) -> None:
        if kind == "control":
            self.control.accept()
        elif kind == "connection" and isinstance(name, int):
            self.control.proceed(name)

    def _forget(self, connection: Connection) -> None:
        """A follower that has gone must not go on collecting lines."""
        with contextlib.suppress(ValueError):
            self.loop.output.followers.remove(connection)

    def turn_ended(self) -> None:
        self.control.flush_all()

    def handle(self, request: Request, connection: Connection) -> None:
        """Raises ControlError with the sentence of a refusal."""
        verb = self.verbs.get(request.command)
        if verb is None:
            raise ControlError(f"'{request.command}' is not available in this version")
        verb(request, connection)

    def _status(self, _request: Request, connection: Connection) -> None:
        now = clock.now()
        ours: dict[str, Any] = {
            "pid": os.getpid(),
            "version": __version__,
            "state": "stopping" if self.loop.engine.stopping else "running",
            "started_at": round(self.started_at, 3),
            "uptime_s": round(now - self.started, 3),
            "control_groups": self.loop.groups.directory,
            "replan": list(self.reload.plan.replan.argv) if self.reload.plan.replan else [],
            "replan_in": self.reload.plan.replan.cwd if self.reload.plan.replan else "",
        }
        connection.answer({"supervisor": ours, "instances": snapshot(self.loop.engine, now)})

    def _logs(self, request: Request, connection: Connection) -> None:
        names = self._names(request.target)
        said = [(name, line) for name in names for line in self.loop.output.last(name, request.lines)]
        if not request.follow:
            connection.answer({"lines": said})
            return
        for name, line in said:
            connection.answer({"name": name, "text": line})
        connection.streaming, connection.wanted = "logs", frozenset(names)
        self.loop.output.followers.append(connection)

    def _act(self, request: Request, connection: Connection) -> None:
        if not request.target:
            raise ControlError(f"'{request.command}' needs a service; there are: {', '.join(self._services())}")
        if self.loop.engine.stopping:
            raise ControlError("whalefall is stopping")
        names = self._names(request.target)
        for name in names:
            self.loop.tell(Report(f"{request.command} {name}: asked for", name))
            self.loop.post(_EVENTS[request.command](name))
        connection.answer({"accepted": names})

    def _reload(self, request: Request, connection: Connection) -> None:
        if request.target:
            self._act(request, connection)
            return
        self._plan_again(connection, {})

    def _scale(self, request: Request, connection: Connection) -> None:
        numbers = request.options
        if not numbers or not all(type(number) is int and number >= 0 for number in numbers.values()):
            raise ControlError("'scale' needs a number for each service, as web=3")
        self._plan_again(connection, numbers)

    def _plan_again(self, connection: Connection, scale: dict[str, int]) -> None:
        """Answers when the planner has."""
        if self.loop.engine.stopping:
            raise ControlError("whalefall is stopping")
        connection.streaming = "reload"

        def answer(reason: str) -> None:
            connection.streaming = ""
            if reason:
                connection.refuse(f"nothing is changed: {reason}")
            else:
                names = [instance.name for instance in self.reload.plan.instances]
                connection.answer({"accepted": names, "changed": self.reload.changed})

        self.reload.ask(answer, scale)

    def _why(self, request: Request, connection: Connection) -> None:
        connection.answer({"dossiers": self.loop.dossiers.about(self._names(request.target), request.lines)})

    def _events(self, request: Request, connection: Connection) -> None:
        events = list(self.loop.told)[-request.lines :] if request.lines > 0 else []
        if not request.follow:
            connection.answer({"events": events})
            return
        for event in events:
            connection.answer(event)
        connection.streaming = "events"

    def _pass_on_event(self, event: dict[str, Any]) -> None:
        for connection in self.control.followers():
            if connection.streaming == "events":
                connection.answer(event)

    def _shutdown(self, _request: Request, connection: Connection) -> None:
        self.loop.post(StopRequested("'shutdown' on the control socket"))
        connection.answer({"accepted": True})

    def _services(self) -> list[str]:
        return list(dict.fromkeys(slot.instance.service for slot in self.loop.engine.slots.values()))

    def _names(self, target: str) -> list[str]:
        slots = self.loop.engine.slots
        names = [name for name, slot in slots.items() if not target or target in (name, slot.instance.service)]
        if not names:
            raise ControlError(f"there is no service or instance '{target}'; there are: {', '.join(self._services())}")
        return names
