"""Forgets old runs while this process leads, for every app: a ledger that only grows is a disk that fills up.

A thread of its own, so that a long deletion delays no fire. What fails is tried again an hour later.
"""

import logging
import threading
from collections.abc import Callable

from whalefall.scheduler.clocks import name_this_thread
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.housekeeping import forget_old_runs
from whalefall.scheduler.ledger import Ledger

_FIRST_SHARE = 0.1  # of the period: after a start there is other work
_log = logging.getLogger("whalefall.scheduler")


class Janitor:
    """Sleeps, looks whether we lead, tidies."""

    def __init__(self, ledger: Ledger, every_s: float, leads: Callable[[], bool]) -> None:
        self._ledger, self._every_s, self._leads = ledger, every_s, leads
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wf-janitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._stopping.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        name_this_thread("wf-janitor")
        pause_s = self._every_s * _FIRST_SHARE
        while not self._stopping.wait(pause_s):
            pause_s = self._every_s
            if self._leads():
                self._tidy()

    def _tidy(self) -> None:
        try:
            count = forget_old_runs(self._ledger, stop=self._stopping.is_set)
        except LedgerUnavailable as error:
            _log.warning("old runs were not forgotten: %s", error)
        except Exception:  # noqa: BLE001 - no error may end this thread
            _log.exception("old runs were not forgotten")
        else:
            if count:
                _log.info("%d old runs were forgotten", count)
