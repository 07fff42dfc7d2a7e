"""Keeps what is ours: leadership and the leases of our runs. A thread of its own, so that nothing else can delay it."""

import logging
import threading
from collections.abc import Callable

from whalefall.scheduler import taken
from whalefall.scheduler.clocks import elapsed_s, name_this_thread
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.leadership import Leadership
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Tenure
from whalefall.scheduler.running import Roster
from whalefall.scheduler.tuning import Tuning

_MARGIN = 0.8  # of the lease's life: by our own clock we stop before the database would let another begin
_COMPLAIN_EVERY_S = 15.0
_log = logging.getLogger("whalefall.scheduler")


class Keeper:
    """Candidate, leader or standby; the loop asks `tenure()` before each step."""

    def __init__(
        self,
        ledger: Ledger,
        leadership: Leadership,
        holder: str,
        roster: Roster,
        tuning: Tuning,
        *,
        tick_age_s: Callable[[], float],
        changed: Callable[[], None],
        cancel: Callable[[str], None],
    ) -> None:
        self._ledger, self._leadership, self._holder = ledger, leadership, holder
        self._roster, self._tuning = roster, tuning
        self._tick_age_s, self._changed, self._cancel = tick_age_s, changed, cancel
        self._tenure: Tenure | None = None
        self._until_s = 0.0
        self._wake = threading.Event()
        self._stopping = False
        self._resigned = False
        self._told_s = 0.0  # when people were last told that we stand by
        self._complaint, self._complained_s = "", 0.0
        self._settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wf-keeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tenure(self) -> Tenure | None:
        """Proof of leadership, or None if it is in any doubt."""
        tenure = self._tenure
        return tenure if tenure is not None and elapsed_s() < self._until_s and not self._resigned else None

    def wait_until_settled(self, timeout_s: float) -> None:
        """Until it is known whether we lead."""
        self._settled.wait(timeout_s)

    def resign(self) -> None:
        """Gives leadership back at once and takes no other; our runs are kept alive."""
        self._resigned = True
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout_s)

    def look_now(self) -> None:
        """Somebody asked for a run's end: do not wait for the next round."""
        self._wake.set()

    def _run(self) -> None:
        name_this_thread("wf-keeper")
        while True:
            self._guarded(self._lead)
            self._settled.set()
            self._guarded(self._keep_runs)
            self._guarded(self._stand_by)
            if self._stopping:
                return
            leads = self._tenure is not None
            self._wake.wait(
                self._tuning.renew_every_s if leads else min(self._tuning.poll_s, self._tuning.renew_every_s)
            )
            self._wake.clear()

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except LedgerUnavailable as error:
            self._complain(str(error))
        except Exception:  # noqa: BLE001 - no error may end this thread
            _log.exception("keeping the leases failed; trying again")

    def _complain(self, sentence: str) -> None:
        """Now and then: each step meets the same trouble each second, and a day of it would fill the log."""
        if sentence != self._complaint or elapsed_s() - self._complained_s >= _COMPLAIN_EVERY_S:
            self._complaint, self._complained_s = sentence, elapsed_s()
            _log.warning("%s", sentence)

    def _lead(self) -> None:
        if self._resigned or self._stopping:
            return self._give_back()
        if self._tenure is None:
            return self._try_to_lead()
        if self._tick_age_s() > self._tuning.hung_after_s:
            _log.error("the scheduler's loop has not turned for %.0f s: giving the lease away", self._tick_age_s())
            return self._give_back()
        return self._renew(self._tenure)

    def _try_to_lead(self) -> None:
        started_s = elapsed_s()
        if self._tick_age_s() > self._tuning.hung_after_s:
            return
        tenure = self._leadership.take()
        if tenure is not None:
            self._until_s = started_s + self._tuning.lease_ttl_s * _MARGIN
            self._tenure = tenure
            _log.info("%s leads now (term %d, lock %s)", tenure.holder, tenure.term, self._leadership.name)
            self._changed()

    def _renew(self, tenure: Tenure) -> None:
        started_s = elapsed_s()
        if self._leadership.renew(tenure, self._tick_age_s()):
            self._until_s = started_s + self._tuning.lease_ttl_s * _MARGIN
        else:
            self._tenure = None
            _log.warning("%s lost the lead of term %d: another scheduler took over", tenure.holder, tenure.term)

    def _give_back(self) -> None:
        tenure, self._tenure = self._tenure, None
        if tenure is not None:
            self._leadership.give_back(tenure)
            _log.info("%s gave the lead back (term %d)", tenure.holder, tenure.term)

    def _stand_by(self) -> None:
        """Shows people that we are here and do not lead. Seldom: it is a write, and it decides nothing."""
        if self._resigned or self._stopping:
            if self._told_s:
                self._told_s = 0.0
                self._ledger.leave_standby(self._holder)
        elif self._tenure is None and elapsed_s() - self._told_s >= self._tuning.renew_every_s:
            self._told_s = elapsed_s()
            self._ledger.stand_by(self._holder, self._tuning.lease_ttl_s)

    def _keep_runs(self) -> None:
        run_ids = self._roster.run_ids()
        if not run_ids:
            return
        kept = self._ledger.keep_alive(self._holder, run_ids, self._tuning.run_lease_s)
        for run_id in run_ids:
            context = self._roster.get(run_id)
            if context is None:
                continue
            if run_id not in kept:
                if taken.let_go(self._ledger, self._holder, context):
                    self._cancel(run_id)
            elif kept[run_id] and not context.cancelled.is_set():
                context.cancelled.set()
                self._cancel(run_id)
