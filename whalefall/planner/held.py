"""A worker whose threads are all held by requests that nobody waits for any more leaves, and its master replaces it.

Behind Nginx a view that has said nothing for REQUEST_TIMEOUT has lost its client: Nginx has answered 504. While one
thread is free, the worker serves on; when none is, it would be taken for alive for ever, because Gunicorn's sign of
life comes from its main thread, and a probe of the service is answered by its brothers.
"""

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from whalefall.planner.gunicorn import Wsgi

MARGIN_S = 2.0  # after Nginx has given up


class Held:
    """Which threads are inside of the application, and since when (monotonic seconds)."""

    def __init__(self, threads: int, limit_s: float) -> None:
        self._threads, self._limit_s = threads, limit_s
        self._since: dict[int, float] = {}

    def watching(self, application: Wsgi) -> Wsgi:
        """`application`; what it sends after it has returned is no longer its view's time, and not counted."""

        def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            me = threading.get_ident()
            self._since[me] = time.monotonic()
            try:
                return application(environ, start_response)
            finally:
                del self._since[me]

        return serve

    def all_lost(self, now: float) -> bool:
        """Whether no thread is left that anybody waits for."""
        since = list(self._since.values())
        return len(since) >= self._threads and now - max(since) > self._limit_s


def leave_when_all_are_lost(worker: Any, request_timeout_s: float) -> None:
    """In a worker, before its first request. It looks whenever the worker gives its sign of life: once a second."""
    held = Held(worker.cfg.threads, request_timeout_s + MARGIN_S)
    worker.wsgi = held.watching(worker.wsgi)
    sign_of_life = worker.notify

    def notify() -> None:
        sign_of_life()
        if held.all_lost(time.monotonic()):
            worker.log.critical(
                "Worker (pid:%s): all %s threads are held by requests that have lasted longer than REQUEST_TIMEOUT "
                "(%g s), so nobody waits for them any more. Their stacks follow; then this worker is replaced.",
                worker.pid,
                worker.cfg.threads,
                request_timeout_s,
            )
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)  # an orderly end would wait for the very threads

    worker.notify = notify
