"""Waiting for conditions, never for time to pass."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_EVERY_S = 0.02


def wait_until(condition: Callable[[], T], what: str, timeout_s: float = 20.0, explain: Callable[[], str] = str) -> T:
    """The first truthy answer of `condition`. Fails with `what` and `explain()` when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain until {what}\n{explain()}")
        time.sleep(_LOOK_EVERY_S)
