"""A scheduler that dies on purpose: forked clean, killed with SIGKILL when it reaches a named step."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.integration import scheduled_jobs as jobs
from tests.support.flaskapp import make_app
from whalefall import Scheduler
from whalefall import scheduler as scheduling

# Debian's package `faketime`. It reads FAKETIME anew at each call, so a forked child may set a clock of its own.
_FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
# Forked from a process without threads; importing everything once there makes a start cheap.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class KillAt:
    """Ends this process the n-th time that a step is reached."""

    def __init__(self, step: str, times: int = 1) -> None:
        self._step, self._left = step, times

    def reached(self, step: str) -> None:
        if step == self._step:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def crash_app(url: str, record: str, **config: Any) -> Any:
    """Two jobs that leave a line in `record` at each start: one that may not run twice, one that may."""
    scheduler = Scheduler()
    common: dict[str, Any] = {"minutes": 1, "catch_up": "all", "overlap": "allow", "args": [record]}
    scheduler.task("interval", id="once", on_crash="mark", **common)(jobs.append)
    scheduler.task("interval", id="idempotent", on_crash="rerun", **common)(jobs.append)
    return make_app(url, scheduler, **config)


def live_until_killed(url: str, record: str, step: str, config: dict[str, Any] | None = None) -> None:
    """The body of the process that dies."""
    state = scheduling.of(crash_app(url, record, **(config or {})))
    state.checkpoints = KillAt(step)
    state.start()
    signal.pause()
    sys.exit(3)


def can_fake_clocks() -> bool:
    return _FAKETIME is not None


def spawn(function: Callable[..., None], *arguments: Any, clock_s: float = 0.0) -> BaseProcess:
    """`clock_s`: how far the process's wall clock is ahead of this one's; its other clocks are right."""
    process = _context.Process(target=_with_clock, args=(clock_s, function, *arguments), daemon=True)
    with _preloaded():
        process.start()
    return process


def _with_clock(clock_s: float, function: Callable[..., None], *arguments: Any) -> None:
    if clock_s:
        os.environ["FAKETIME"] = f"{clock_s:+.0f}"
    function(*arguments)


@contextlib.contextmanager
def _preloaded() -> Iterator[None]:
    """Around the start of the server that all children are forked from, which is with the first of them."""
    if _FAKETIME is None:
        yield
        return
    ours = {"LD_PRELOAD": str(_FAKETIME), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
