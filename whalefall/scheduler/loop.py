"""The loop: looks at what is due, records it, hands it to executors, sleeps until the next deadline.

"The ledger says whether, the runner says where; this loop says when to look." It holds no job in memory: each turn is
one cheap query, so a hundred thousand idle jobs cost nothing, and an edit made anywhere is seen within a second. When
the time comes that the last look has told of, it records first and looks afterwards.
No error ends it; health is the age of its last turn.
"""

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime

from whalefall.scheduler.clocks import elapsed_s, name_this_thread
from whalefall.scheduler.errors import Deposed, ForeignLedger, LedgerUnavailable
from whalefall.scheduler.executors import Courier, Executor
from whalefall.scheduler.hearing import Hearing
from whalefall.scheduler.keeper import Keeper
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.fires import NO_OFFER, Fired, Offer
from whalefall.scheduler.ledger.records import ClaimedRun, Peek, Tenure
from whalefall.scheduler.tuning import Tuning

_log = logging.getLogger("whalefall.scheduler")
_BACKOFF_FIRST_S = 0.2
_NOTHING_S = 0.25  # to find that among ten thousand waiting runs is none for an executor takes longer than to find some
_SHORTEST_S = 0.001  # of sleep: SQLite's clock has milliseconds
_BATCHES_MAX = 40  # of fires in one turn: 20,000 jobs; then it starts some, and goes on


class Loop:
    """One thread, named wf-scheduler."""

    def __init__(
        self,
        ledger: Ledger,
        executors: Mapping[str, Executor],
        tuning: Tuning,
        *,
        couriers: Sequence[Courier] = (),
        holder: str,
        reconcile: Callable[[], None],
        settle: Callable[[bool], AbstractSet[str]],
        goes_on: Callable[[str], bool],
    ) -> None:
        """`settle` looks after what dead schedulers left, and answers which runners are certainly dead; it is told
        whether silence counts. `goes_on`: whether an attempt of this run is still going on here.
        """
        self._ledger, self._executors, self._tuning, self._holder = ledger, executors, tuning, holder
        self._couriers = couriers
        self._reconcile, self._settle, self._goes_on = reconcile, settle, goes_on
        self._hearing = Hearing(tuning.run_lease_s, max(tuning.run_lease_s / 3, 2 * tuning.sweep_every_s))
        self._keeper: Keeper | None = None
        self._condition = threading.Condition()
        self._woken = False
        self._stopping = False
        self._ticked_s = elapsed_s()
        self._swept_s = 0.0
        self._term_seen = 0
        self._put_off_told: set[str] = set()
        self._some_wait = False  # for a free thread or process, at the last look
        self._expected_s: float | None = None  # when, by our elapsed seconds, the next fire is due that we know of
        self._nothing_s = dict.fromkeys(executors, 0.0)  # when each was asked last, if nothing waited for it then
        self._first_turn = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wf-scheduler", daemon=True)

    def start(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._thread.start()

    def tick_age_s(self) -> float:
        """Seconds since the loop last turned."""
        return elapsed_s() - self._ticked_s

    def wake(self) -> None:
        """Something changed: look now."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def wait_for_first_turn(self, timeout_s: float) -> bool:
        return self._first_turn.wait(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Nothing is recorded or started after this."""
        self._stopping = True
        self.wake()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        name_this_thread("wf-scheduler")
        backoff_s = _BACKOFF_FIRST_S
        while not self._stopping:
            try:
                delay_s = self._turn()
                backoff_s = _BACKOFF_FIRST_S
            except Deposed as error:
                expected = self._keeper is not None and self._keeper.tenure() is None  # given back, not taken
                _log.log(logging.INFO if expected else logging.WARNING, "%s", error)
                delay_s = self._tuning.poll_s
            except ForeignLedger as error:
                _log.error("this scheduler stands aside: %s", error)
                if self._keeper is not None:
                    self._keeper.resign()
                delay_s = self._tuning.poll_s
            except LedgerUnavailable as error:
                _log.warning("the scheduler waits %.1f s: %s", backoff_s, error)
                delay_s, backoff_s = backoff_s, min(backoff_s * 2, self._tuning.backoff_max_s)
            except Exception:  # noqa: BLE001 - no error may end the loop
                _log.exception("the scheduler's loop failed; it goes on in %.1f s", backoff_s)
                delay_s, backoff_s = backoff_s, min(backoff_s * 2, self._tuning.backoff_max_s)
            else:
                self._ticked_s = elapsed_s()
            self._sleep(delay_s)

    def _sleep(self, delay_s: float) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._woken or self._stopping, max(delay_s, 0))
            self._woken = False

    def _turn(self) -> float:
        """One look and one step. Answers the seconds until the next."""
        tenure = self._keeper.tenure() if self._keeper is not None else None
        if tenure is None:
            self._first_turn.set()
            self._sweep_if_due(None)
            return self._tuning.poll_s  # the keeper wakes us when we lead
        if tenure.term != self._term_seen:
            self._reconcile()
            self._term_seen = tenure.term
            self._swept_s = 0.0  # whom we succeed may have left something
        self._record_expected(tenure)
        peek = self._ledger.peek(self._holder)
        looked_s = elapsed_s()
        self._hearing.answered(looked_s)
        self._some_wait = peek.waiting
        if peek.cancels and self._keeper is not None:
            self._keeper.look_now()
        recorded, waiting = self._record(tenure, peek)
        started = self._start_waiting(tenure) if peek.waiting or waiting else 0
        self._first_turn.set()
        # Last, so that it delays no fire; whatever took time here, the look before it is old.
        swept = self._sweep_if_due(tenure)
        return 0.0 if recorded or started or swept else self._until_next(peek, looked_s)

    def _record_expected(self, tenure: Tenure) -> None:
        """Where we slept until a fire's time, it waits for no look. If it is gone by now, nothing is due."""
        expected_s, self._expected_s = self._expected_s, None
        if expected_s is not None and elapsed_s() >= expected_s:
            self._fire(tenure, None)

    def _record(self, tenure: Tenure, peek: Peek) -> tuple[int, bool]:
        """How many jobs' instants were recorded, and whether some of their runs are still to be started."""
        if peek.next_fire_at is None or peek.next_fire_at > peek.now:
            return 0, False
        fired = self._fire(tenure, peek.now)
        recorded, queued, started = fired.jobs, fired.queued, len(fired.claimed)
        for _ in range(_BATCHES_MAX - 1):  # first all on record, then the first start
            if fired.jobs < self._tuning.batch:
                break
            fired = self._ledger.record_fires(tenure, peek.now, self._tuning.batch)
            recorded, queued = recorded + fired.jobs, queued + fired.queued
        return recorded, queued > started

    def _fire(self, tenure: Tenure, now: datetime | None) -> Fired:
        """One transaction, and then the starts that it allowed. What waited before goes first, and is claimed later."""
        offer = NO_OFFER if self._some_wait else Offer(self._free(), self._tuning.run_lease_s)
        fired = self._ledger.fire(tenure, now, self._tuning.batch, offer)
        for one in fired.claimed:
            self._executors[one.run.executor].start(one)
        return fired

    def _free(self) -> dict[str, int]:
        return {name: min(executor.free(), self._tuning.batch) for name, executor in self._executors.items()}

    def _start_waiting(self, tenure: Tenure) -> int:
        """Those for whom nothing waited lately come last, and are not asked again at each turn of a crowd's."""
        started = 0
        for name, free in sorted(self._free().items(), key=lambda item: self._nothing_s[item[0]]):
            if started and elapsed_s() - self._nothing_s[name] < _NOTHING_S:
                continue
            if free > 0:
                started += self._claim(tenure, name, free)
        for courier in self._couriers:
            started += self._send(tenure, courier)
        return started

    def _claim(self, tenure: Tenure, name: str, free: int) -> int:
        claimed = self._ledger.claim(tenure, name, free, self._tuning.run_lease_s)
        self._nothing_s[name] = 0.0 if claimed else elapsed_s()
        started = 0
        for one in claimed:
            if self._goes_on(one.run.run_id):
                self._put_off(one)
            else:
                self._executors[name].start(one)
                started += 1
        return started

    def _put_off(self, claimed: ClaimedRun) -> None:
        """It was taken from us while we were out of reach, and has come back to us; but its job has not ended here."""
        told = {run_id for run_id in self._put_off_told if self._goes_on(run_id)}
        self._put_off_told = told | {claimed.run.run_id}
        if claimed.run.run_id not in told:
            _log.warning("run %s waits: an earlier attempt of it still goes on in this scheduler", claimed.run.run_id)
        self._ledger.return_unstarted(self._holder, [claimed.run.run_id], again_in_s=self._tuning.poll_s)

    def _send(self, tenure: Tenure, courier: Courier) -> int:
        sent = 0
        for waiting in self._ledger.to_send(tenure, courier.name, self._tuning.batch, self._tuning.send_again_s):
            try:
                courier.send(waiting)
            except Exception as error:  # noqa: BLE001 - a broker may raise anything; the run stays queued
                _log.error(
                    "run %s could not be sent by %s, it will be sent again: %s", waiting.run_id, courier.name, error
                )
            else:
                sent += 1
        return sent

    def _sweep_if_due(self, tenure: Tenure | None) -> bool:
        """True if it was. A standby settles, too: what was left on its host nobody else can see."""
        if elapsed_s() - self._swept_s < self._tuning.sweep_every_s:
            return False
        silence_counts = self._hearing.silence_counts(elapsed_s())
        dead = self._settle(silence_counts)
        if tenure is not None:
            # Nobody who died since: of those it is not settled what they had begun.
            for run_id, state in self._ledger.sweep(tenure, dead.__contains__, silence_counts=silence_counts):
                _log.warning("run %s lost its runner; it is %s now", run_id, state)
        self._swept_s = elapsed_s()
        self._hearing.answered(self._swept_s)
        return True

    def _until_next(self, peek: Peek, looked_s: float) -> float:
        """`looked_s`: when, by our clock, `peek` was answered; the database's clock is not asked again."""
        until_fire_s = _between_s(peek.now, peek.next_fire_at)
        passed_s = elapsed_s() - looked_s
        nearest_s = min(until_fire_s, _between_s(peek.now, peek.next_start_at)) - passed_s
        if until_fire_s <= self._tuning.poll_s:
            self._expected_s = looked_s + until_fire_s
        return min(max(nearest_s, _SHORTEST_S), self._tuning.poll_s)


def _between_s(now: datetime, moment: datetime | None) -> float:
    return math.inf if moment is None else (moment - now).total_seconds()
