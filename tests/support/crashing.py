"""A scheduler that dies on purpose: forked clean, killed with SIGKILL when it reaches a named step."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

from tests.integration import scheduled_jobs as jobs
from tests.support.flaskapp import make_app
from whalefall import Scheduler
from whalefall import scheduler as scheduling

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


def spawn(function: Callable[..., None], *arguments: Any) -> BaseProcess:
    process = _context.Process(target=function, args=arguments, daemon=True)
    process.start()
    return process
