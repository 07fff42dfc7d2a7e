"""A running scheduler: keeper, loop, scribe and executors of one app, started and stopped together."""

import logging

from whalefall.errors import ConfigError
from whalefall.scheduler import holders
from whalefall.scheduler.begun import Journal
from whalefall.scheduler.checkpoints import Checkpoints
from whalefall.scheduler.clocks import elapsed_s
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.estate import Estate
from whalefall.scheduler.executors import Courier, Executor
from whalefall.scheduler.executors.place import Places
from whalefall.scheduler.executors.processes import ProcessExecutor
from whalefall.scheduler.executors.threads import ThreadExecutor
from whalefall.scheduler.janitor import Janitor
from whalefall.scheduler.keeper import Keeper
from whalefall.scheduler.leadership.choose import choose
from whalefall.scheduler.loop import Loop
from whalefall.scheduler.performing import Performer
from whalefall.scheduler.running import Roster, RunContext, capturing
from whalefall.scheduler.scribe import Scribe
from whalefall.scheduler.state import SchedulerState

_START_S = 10.0  # to learn whether we lead and to turn once; a slow database may take longer, in the background
_END_S = 1.0  # for processes that were asked to end, and once more for those that are killed then
_log = logging.getLogger("whalefall.scheduler")


class Runtime:
    """What `start` makes and `stop` ends."""

    def __init__(self, state: SchedulerState, checkpoints: Checkpoints) -> None:
        ledger, tuning = state.ledger, state.tuning
        self.holder = holders.name()
        self.roster = Roster()
        self._state = state
        self._ledger = ledger
        self.scribe = Scribe(ledger, self.holder, self.roster, tuning, finished=self.wake)
        places = Places.in_private(state.places_path)
        self._journal = Journal(places.root, self.holder, still=self.roster.begun)
        self._processes = ProcessExecutor(
            tuning.processes,
            self.roster,
            self.scribe,
            places,
            app_ref=lambda: state.app_ref,
            note_begun=self._journal.note,
            give_up=self._give_up,
        )
        estate = Estate(
            ledger,
            self.holder,
            self.roster,
            places,
            self._processes,
            run_lease_s=tuning.run_lease_s,
            is_dead=holders.is_certainly_dead,
        )
        perform = Performer(
            state.app,
            ledger,
            self.roster,
            self.scribe,
            resolve=state.resolve,
            checkpoints=checkpoints,
            observers=state.observers,
        )
        self.executors: dict[str, Executor] = {
            "thread": ThreadExecutor(tuning.threads, self.roster, perform, note_begun=self._journal.note),
            "process": self._processes,
        }
        self.loop = Loop(
            ledger,
            self.executors,
            tuning,
            couriers=_couriers(state),
            holder=self.holder,
            reconcile=self._reconcile,
            settle=estate.settle,
            goes_on=self.roster.goes_on,
        )
        self.keeper = Keeper(
            ledger,
            choose(state.lock, ledger, self.holder, tuning.lease_ttl_s),
            self.holder,
            self.roster,
            tuning,
            tick_age_s=self.loop.tick_age_s,
            changed=self.wake,
            cancel=self._cancel,
        )

        self.janitor = Janitor(ledger, tuning.tidy_every_s, leads=lambda: self.keeper.tenure() is not None)

    def start(self) -> None:
        """Returns when it is known whether this process leads and, if so, after the first turn of its loop."""
        capturing.install()
        self._journal.open()
        self.scribe.start()
        self.keeper.start()
        self.keeper.wait_until_settled(_START_S)
        self.loop.start(self.keeper)
        self.janitor.start()
        if not self.loop.wait_for_first_turn(_START_S):
            _log.warning(
                "the scheduler of %s has not made its first turn in %.0f s; it goes on trying", self.holder, _START_S
            )

    def wake(self) -> None:
        self.loop.wake()

    def stop(self, wait_s: float, *, followed: bool = False) -> None:
        """Stops firing and gives the lead back at once, waits for runs up to `wait_s`, names those it cut off.

        Where another scheduler follows on this host, it inherits the runs that have a process of their own.
        """
        end_s = elapsed_s() + wait_s
        self.keeper.resign()
        self.janitor.stop(timeout_s=0)  # a deletion that is going on is a transaction: it ends or it never was
        self.loop.stop(timeout_s=2.0)
        for executor in self.executors.values():
            executor.close()
        settled = self._give_back_what_never_began()
        if followed:
            self._leave_processes_to_the_next()
        if not self.roster.wait_until_empty(max(end_s - elapsed_s(), 0)):
            settled = self._cut_off(wait_s) and settled
        self.scribe.stop(timeout_s=2.0)
        self.keeper.stop(timeout_s=2.0)
        if settled and not self.roster.run_ids():
            self._journal.close()
        capturing.remove()

    def _give_back_what_never_began(self) -> bool:
        """Nothing of it was done, so it goes back to the queue whatever its job says of crashes."""
        contexts = self.roster.not_begun()
        if not contexts:
            return True
        run_ids = [context.run_id for context in contexts]
        told = True
        try:
            self._ledger.return_unstarted(self.holder, run_ids)
        except Exception:  # noqa: BLE001 - a stop goes on whatever the database says
            told = False
            _log.exception(
                "runs %s were not begun, and the ledger could not be told; the next scheduler will see it", run_ids
            )
        for context in contexts:
            self.roster.remove(context.key)
        return told

    def _leave_processes_to_the_next(self) -> None:
        for run_id in self._processes.leave_to_the_next():
            _log.info("run %s goes on in its process; the next scheduler inherits it", run_id)

    def _cut_off(self, wait_s: float) -> bool:
        """First end what can be ended, then give it away: an idempotent run may start elsewhere at once."""
        contexts = self.roster.contexts()
        for happened in ("cut_off", "fenced"):  # asked, then made to
            for context in contexts:
                getattr(context, happened).set()
            self._processes.wait_for_ended(_END_S)
        run_ids = [context.run_id for context in contexts]
        why = f"its scheduler {self.holder} stopped and could not wait longer than {wait_s:.0f} s for it"
        try:
            for run_id, state in self._ledger.cut_off(self.holder, run_ids, why):
                _log.warning("run %s was cut off by the stop; it is %s now", run_id, state)
        except Exception:  # noqa: BLE001 - a stop goes on whatever the database says
            _log.exception("runs %s were cut off, and the ledger could not be told; the sweeper will end them", run_ids)
            return False
        for context in contexts:
            self.roster.remove(context.key)
        return True

    def _give_up(self, context: RunContext, why: str) -> None:
        """Of a run that ended without a word: as its job's on_crash says."""
        try:
            for run_id, state in self._ledger.hand_back(self.holder, [context.run_id], why):
                _log.warning("run %s: %s; it is %s now", run_id, why, state)
        except LedgerUnavailable as error:
            _log.warning("run %s: %s; its lease will run out: %s", context.run_id, why, error)
            self.roster.release(context.key)
        else:
            self.roster.remove(context.key)
            self.wake()

    def _reconcile(self) -> None:
        """At the beginning of each term."""
        self._state.reconcile()
        cut_off = self._ledger.tell_what_was_cut_off(self.holder)
        if cut_off:
            names = ", ".join(f"{run_id} ({state})" for run_id, state in cut_off.items())
            _log.warning("the last stop cut off %d runs: %s", len(cut_off), names)

    def _cancel(self, run_id: str) -> None:
        for executor in self.executors.values():
            executor.cancel(run_id)


def _couriers(state: SchedulerState) -> list[Courier]:
    """Celery costs a second to import: only where a job asks for it."""
    if not any(declaration.policies.executor == "celery" for declaration in state.declarations.values()):
        return []
    try:
        from whalefall.scheduler.executors import celery  # noqa: PLC0415 - see above
    except ImportError:
        raise ConfigError(
            "A job has executor='celery', but Celery is not installed: pip install 'celery[redis]>=5.4'."
        ) from None

    celery.broker_url(state)
    return [celery.Courier(state)]
