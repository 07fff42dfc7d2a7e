"""Threads of this process: the default. Cheap, share the app's memory; cannot be killed, so they give no timeout."""

import queue
import threading
from collections.abc import Callable

from whalefall.scheduler.clocks import elapsed_s, name_this_thread
from whalefall.scheduler.ledger.records import ClaimedRun
from whalefall.scheduler.running import Roster, RunContext

_AHEAD_S = 0.25
_AHEAD_MAX = 500  # runs that would have to be given back if the process were killed now
_LOOK_S = 0.05  # a rate over less is noise


class ThreadExecutor:
    """Up to `threads` runs at a time, each thread made when first needed.

    The threads are daemons, unlike those of concurrent.futures: a job that will not end must not keep the process
    from ending. What it was doing is handed back to the ledger by name.
    """

    name = "thread"

    def __init__(
        self,
        threads: int,
        roster: Roster,
        perform: Callable[[RunContext], None],
        *,
        note_begun: Callable[[tuple[str, int]], None],
    ) -> None:
        """`note_begun` is told before a run's first line."""
        self._threads = threads
        self._note_begun = note_begun
        self._roster = roster
        self._perform = perform
        self._work: queue.SimpleQueue[RunContext | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy = 0
        self._made = 0
        self._closed = False
        self._ended = 0
        self._ahead = 0
        self._looked_s = elapsed_s()

    def free(self) -> int:
        """Free threads, and as many more as will be free within _AHEAD_S at the rate of late.

        So that ten thousand quick runs need not be claimed ten at a time; for runs that take long it is nothing.
        """
        with self._lock:
            if self._closed:
                return 0
            now_s = elapsed_s()
            if now_s - self._looked_s > _LOOK_S:
                self._ahead = min(int(self._ended * _AHEAD_S / (now_s - self._looked_s)), _AHEAD_MAX)
                self._ended, self._looked_s = 0, now_s
            return self._threads + self._ahead - self._busy

    def start(self, claimed: ClaimedRun) -> None:
        """From here on the keeper extends its lease, also while it waits for a thread."""
        context = RunContext(claimed)
        self._roster.add(context)
        with self._lock:
            self._busy += 1
            if self._made < min(self._busy, self._threads):
                self._made += 1
                threading.Thread(target=self._serve, name=f"wf-run-{self._made}", daemon=True).start()
        self._work.put(context)

    def cancel(self, run_id: str) -> None:
        """Nothing more can be done to a thread than telling its job."""

    def wait_for_ended(self, timeout_s: float) -> None:
        """A thread cannot be ended; it sees `current_run.cancelled`."""

    def close(self) -> None:
        """What waits for a thread stays in the roster, not begun: the runtime gives it back."""
        with self._lock:
            self._closed = True
            for _ in range(self._made):
                self._work.put(None)

    def _serve(self) -> None:
        name_this_thread(threading.current_thread().name)
        while (context := self._work.get()) is not None:
            try:
                self._begin(context)
            finally:
                with self._lock:
                    self._busy -= 1
                    self._ended += 1

    def _begin(self, context: RunContext) -> None:
        with self._lock:
            closed = self._closed
            if not closed:
                context.begun.set()
        if context.fenced.is_set():
            self._roster.remove(context.key)  # it waited here longer than its lease: somebody else has it
        elif not closed:
            run = context.claimed.run
            self._note_begun((run.run_id, run.attempt))
            self._perform(context)
