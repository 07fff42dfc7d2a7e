"""When do dying workers mean that the service is not well? It runs in Gunicorn's master, beside our configurations.

Gunicorn replaces a worker that dies after it has booted, for ever and at once: to the supervisor, who sees the master,
such a service looks healthy while nobody is served. So a master whose workers die one after another, none of them
having lived for SETTLED_S and none beside them, ends itself with a sentence: then the supervisor's budget of restarts
counts it, and its policy applies. One dead worker among living ones is Gunicorn's business and stays it.
"""

import mmap
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

SETTLED_S = 10.0  # a worker that has been ready for so long is no part of a loop
DEATHS_MIN = 5  # a bad request sent three times must not end a master
EXIT_CODE = 70  # sysexits.h: EX_SOFTWARE
_WORKERS_MAX = 256  # whose moments are kept: twice what WEB_CONCURRENCY allows
_NEVER = 0.0


@dataclass(slots=True)
class Churn:
    """`moments` is memory that master and workers share: by worker, when it was ready and when it left in order."""

    moments: "memoryview[float]" = field(default_factory=lambda: memoryview(mmap.mmap(-1, _WORKERS_MAX * 16)).cast("d"))
    clock: Callable[[], float] = time.monotonic
    deaths: int = 0

    def forks(self, worker: Any) -> None:
        """In the master, before each fork."""
        self._note(worker, ready=_NEVER, left=_NEVER)

    def is_ready(self, worker: Any) -> None:
        """In the worker, when it has loaded the application. The monotonic clock is one for all processes."""
        self._note(worker, ready=self.clock())

    def leaves(self, worker: Any) -> None:
        """In the worker, on its way out: exit code 0 is a worker that was recycled, reloaded or asked to finish."""
        ending = sys.exc_info()[1]
        if isinstance(ending, SystemExit) and not ending.code:
            self._note(worker, left=self.clock())

    def died(self, server: Any, worker: Any) -> None:
        """In the master, when a worker was reaped. Raises Gunicorn's HaltServer when that was one too many."""
        at = _place(worker)
        if self.moments[at + 1] != _NEVER or not server.LISTENERS:  # in order; or the master itself is stopping
            return
        if any(self._settled(each) for each in (worker, *server.WORKERS.values())):
            self.deaths = 0
            return
        self.deaths += 1
        if self.deaths >= max(DEATHS_MIN, 2 * server.num_workers):
            self._end(server)

    def _settled(self, worker: Any) -> bool:
        ready = self.moments[_place(worker)]
        return ready != _NEVER and self.clock() - ready >= SETTLED_S

    def _end(self, server: Any) -> None:
        from gunicorn.errors import HaltServer  # noqa: PLC0415 - the planner itself must not load Gunicorn

        sentence = (
            f"{self.deaths} workers have died one after another, none was ready for {SETTLED_S:g} s: this service is "
            "not well, so its master ends. What killed them is above"
        )
        if server.cfg.errorlog != "-":  # a crash report has what is said on standard error
            sys.stderr.write(f"whalefall: {sentence}.\n")
        raise HaltServer(sentence, EXIT_CODE)

    def _note(self, worker: Any, *, ready: float | None = None, left: float | None = None) -> None:
        at = _place(worker)
        for offset, moment in enumerate((ready, left)):
            if moment is not None:
                self.moments[at + offset] = moment


def _place(worker: Any) -> int:
    """`age` is Gunicorn's running number of its workers."""
    number: int = worker.age
    return 2 * (number % _WORKERS_MAX)
