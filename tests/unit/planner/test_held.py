"""Who is inside of the application, since when, and when nobody waits for any of them."""

import threading
from collections.abc import Iterable
from typing import Any

import pytest

from whalefall.planner.held import Held


class Hall:
    """An application whose views stay until they are let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.doors = threading.Semaphore(0)

    def __call__(self, environ: dict[str, Any], _start: Any) -> Iterable[bytes]:
        self.entered.release()
        assert self.doors.acquire(timeout=30)
        return [b"x"]


def test_all_of_them_and_each_for_longer_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    hall, held = Hall(), Held(threads=2, limit_s=10)
    application = held.watching(hall)
    guests = [threading.Thread(target=application, args=({}, None)) for _ in range(2)]
    guests[0].start()
    assert hall.entered.acquire(timeout=30)
    assert not held.all_lost(1_000), "one thread is free"
    now[0] = 105.0
    guests[1].start()
    assert hall.entered.acquire(timeout=30)
    assert not held.all_lost(114), "somebody still waits for the second"
    assert held.all_lost(116)
    hall.doors.release(2)
    for guest in guests:
        guest.join()
    assert not held.all_lost(1_000), "what has returned is not held, however long it sends"


def test_one_that_fails_is_not_held() -> None:
    def broken(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        raise ZeroDivisionError

    held = Held(threads=1, limit_s=-1)
    with pytest.raises(ZeroDivisionError):
        held.watching(broken)({}, None)
    assert not held.all_lost(1e9)
