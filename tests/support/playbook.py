"""A test as a conversation with the engine: `>>` tells it what happened, `<<` says what it must order next.

    assert play(service()) >> Start() << Spawn("a.1#1") >> Spawned("a.1#1", 7) << ...

Every action but `Report` and `KeepDossier` must be expected, in order, before the next event; `Report` is checked when
`says(...)` expects it. Time stands still until `at(t)` moves it.
`assert` closes the playbook: then nothing may be left unexpected.
"""

import random
from dataclasses import dataclass
from typing import Any

from whalefall.plan import Command, Instance, Plan
from whalefall.supervisor.core import actions as do
from whalefall.supervisor.core.engine import Engine
from whalefall.supervisor.core.events import DeadlinePassed, Event
from whalefall.supervisor.core.lifecycle import Life


def service(name: str = "a", number: int = 1, **options: Any) -> Instance:
    """An instance with a command that nobody runs here."""
    return Instance(name, number, Command(("true",), "/"), **options)


@dataclass(frozen=True)
class Start:
    """The supervisor begins."""


@dataclass(frozen=True)
class at:  # noqa: N801 - reads as a word
    """It is now `t`; whatever deadline has passed is told to the engine."""

    t: float


@dataclass(frozen=True)
class says:  # noqa: N801 - reads as a word
    """A Report since the last event contains this."""

    text: str


@dataclass(frozen=True)
class order:  # noqa: N801 - reads as a word
    """An action of this kind for this life, whatever its other fields."""

    kind: type
    life: str = ""


def Spawn(life: str) -> order:  # noqa: N802 - stands for the action
    return order(do.Spawn, life)


class LongestDelay(random.Random):
    """Jitter always takes the whole delay, so that a playbook can name the moment."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class play:  # noqa: N801 - reads as a word
    def __init__(self, *instances: Instance, **plan: Any) -> None:
        self.engine = Engine(LongestDelay())
        self.plan = Plan(instances, **plan)
        self.now = 0.0
        self.pending: list[do.Action] = []
        self.reports: list[str] = []

    def __rshift__(self, event: Event | Start | at) -> "play":
        self._nothing_unexpected(f"before {event}")
        self.reports.clear()
        if isinstance(event, Start):
            self._take(self.engine.begin(self.plan, self.now))
        elif isinstance(event, at):
            self._let_time_pass(event.t)
        else:
            self._take(self.engine.step(event, self.now))
        return self

    def __lshift__(self, expected: do.Action | order | says) -> "play":
        if isinstance(expected, says):
            assert any(expected.text in report for report in self.reports), (expected.text, self.reports)
            return self
        assert self.pending, f"expected {expected}, but nothing (more) was ordered"
        found = self.pending.pop(0)
        if isinstance(expected, order):
            assert type(found) is expected.kind, f"expected {expected}, got {found}"
            assert expected.life in ("", found.life), f"expected {expected}, got {found}"
        else:
            assert found == expected, f"expected {expected}, got {found}"
        return self

    def __bool__(self) -> bool:
        self._nothing_unexpected("at the end")
        return True

    def life(self, name: str) -> Life:
        current = self.engine.slots[name].current
        assert current is not None, f"{name} has no life"
        return current

    def _take(self, actions: list[do.Action]) -> None:
        self.reports += [action.text for action in actions if isinstance(action, do.Report)]
        self.pending += [action for action in actions if not isinstance(action, do.Report | do.KeepDossier)]

    def _let_time_pass(self, until: float) -> None:
        assert until >= self.now, "time does not run backwards"
        while (deadline := self.engine.next_deadline()) is not None and deadline <= until:
            self.now = max(self.now, deadline)
            self._take(self.engine.step(DeadlinePassed(), self.now))
        self.now = until

    def _nothing_unexpected(self, when: str) -> None:
        assert not self.pending, f"{when}: not expected: {self.pending}"
