"""Threads of this process: the default. Cheap, share the app's memory; cannot be killed, so they give no timeout."""

import queue
import threading
from collections.abc import Callable

from whalefall.scheduler.clocks import name_this_thread
from whalefall.scheduler.ledger.records import ClaimedRun


class ThreadExecutor:
    """Up to `threads` runs at a time, each thread made when first needed.

    The threads are daemons, unlike those of concurrent.futures: a job that will not end must not keep the process
    from ending. What it was doing is handed back to the ledger by name.
    """

    name = "thread"

    def __init__(self, threads: int, perform: Callable[[ClaimedRun], None]) -> None:
        self._threads = threads
        self._perform = perform
        self._work: queue.SimpleQueue[ClaimedRun | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy = 0
        self._made = 0
        self._closed = False

    def free(self) -> int:
        with self._lock:
            return 0 if self._closed else self._threads - self._busy

    def start(self, claimed: ClaimedRun) -> None:
        with self._lock:
            self._busy += 1
            if self._made < self._busy:
                self._made += 1
                threading.Thread(target=self._serve, name=f"wf-run-{self._made}", daemon=True).start()
        self._work.put(claimed)

    def cancel(self, run_id: str) -> None:
        """Nothing more can be done to a thread than telling its job."""

    def wait_for_ended(self, timeout_s: float) -> None:
        """A thread cannot be ended; it sees `current_run.cancelled`."""

    def close(self) -> None:
        with self._lock:
            self._closed = True
            for _ in range(self._made):
                self._work.put(None)

    def _serve(self) -> None:
        name_this_thread(threading.current_thread().name)
        while (claimed := self._work.get()) is not None:
            try:
                self._perform(claimed)
            finally:
                with self._lock:
                    self._busy -= 1
