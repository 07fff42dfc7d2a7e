"""Writes what runners say: endings at once, many in one transaction; progress and output every second.

A database that is away costs time, not results: endings wait here until they are written or the process ends.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from whalefall.scheduler import taken
from whalefall.scheduler.clocks import name_this_thread
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Ending
from whalefall.scheduler.running import Roster
from whalefall.scheduler.tuning import Tuning

_BATCH = 500
_CROWD = 50  # after so many at once there will be more
_GATHER_S = 0.02
_log = logging.getLogger("whalefall.scheduler")


class Scribe:
    """One thread; `finish` may be called from any."""

    def __init__(
        self, ledger: Ledger, holder: str, roster: Roster, tuning: Tuning, finished: Callable[[], None]
    ) -> None:
        self._ledger, self._holder, self._roster, self._tuning = ledger, holder, roster, tuning
        self._finished = finished
        self._news = threading.Condition()
        self._endings: list[Ending] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="wf-scribe", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, ending: Ending) -> None:
        context = self._roster.get(ending.run_id)
        if context is not None and context.key == ending.key:
            context.ended.set()
        with self._news:
            self._endings.append(ending)
            self._news.notify()

    def stop(self, timeout_s: float) -> None:
        """Writes what is left, for at most `timeout_s`."""
        with self._news:
            self._stopping = True
            self._news.notify()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        name_this_thread("wf-scribe")
        pause_s = 0.1
        batch: list[Ending] = []
        while True:
            with self._news:
                if len(batch) > _CROWD:
                    self._news.wait_for(lambda: len(self._endings) >= _BATCH or self._stopping, _GATHER_S)
                self._news.wait_for(lambda: self._endings or self._stopping, self._tuning.sign_every_s)
                batch = self._endings[:_BATCH]
                if self._stopping and not batch:
                    return
            try:
                self._write(batch)
            except LedgerUnavailable as error:
                _log.warning("%d endings of runs wait to be written: %s", len(batch), error)
                pause_s = self._rest(pause_s)
            except Exception:  # noqa: BLE001 - no error may end this thread
                _log.exception("the endings of runs could not be written together; writing each by itself")
                pause_s = pause_s if self._write_apart(batch) else self._rest(pause_s)
            else:
                pause_s = 0.1

    def _rest(self, pause_s: float) -> float:
        threading.Event().wait(pause_s)
        return min(pause_s * 2, self._tuning.backoff_max_s)

    def _write(self, batch: list[Ending]) -> None:
        if not batch:
            self._ledger_tell()
            return
        ours = set(self._ledger.finish(self._holder, batch))
        with self._news:
            del self._endings[: len(batch)]
        for ending in batch:
            self._roster.remove(ending.key)
        self._finished()
        for ending in batch:
            if ending.run_id not in ours:
                with contextlib.suppress(LedgerUnavailable):  # it is in the log
                    taken.drop(self._ledger, self._holder, ending)

    def _write_apart(self, batch: list[Ending]) -> bool:
        """One ending that the database refuses must not keep the others from being recorded; False when it is away."""
        for ending in batch:
            try:
                self._write_or_say_so(ending)
            except LedgerUnavailable as error:
                _log.warning("endings of runs wait to be written: %s", error)
                return False
            with self._news:
                self._endings.remove(ending)
            self._roster.remove(ending.key)
        self._finished()
        return True

    def _write_or_say_so(self, ending: Ending) -> None:
        try:
            self._ledger.finish(self._holder, [ending])
        except LedgerUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - the border: whatever is wrong with it, the run has ended
            _log.exception("the result of run %s could not be stored", ending.run_id)
            why = f"Its result could not be stored ({type(error).__name__}); the scheduler's log has the whole story."
            plain = replace(ending, state=RunState.FAILED, error=why, output="", progress_text="", retry_in_s=None)
            self._ledger.finish(self._holder, [plain])

    def _ledger_tell(self) -> None:
        news = self._roster.news()
        if news:
            self._ledger.tell(self._holder, news)
