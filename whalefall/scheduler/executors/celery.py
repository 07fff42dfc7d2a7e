"""Celery: for those who outgrow one machine. The ledger's row is the outbox, and stays the truth.

The leader sends only a run's name. The worker claims the run in the ledger first, so a message that comes twice, or one
from a leader that was deposed meanwhile, finds nothing to claim and ends at once. What is sent and never claimed is
sent again; what a worker claimed and never finished is swept like any other run.

    Procfile:  worker: celery -A whalefall.scheduler.executors.celery worker
"""

import functools
import logging
import os
import secrets
import socket
import threading
from typing import Any

import celery
from celery.exceptions import SoftTimeLimitExceeded

from whalefall.errors import ConfigError
from whalefall.scheduler import taken
from whalefall.scheduler.checkpoints import NoCheckpoints
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.executors.child import app_named
from whalefall.scheduler.ledger.records import Ending, WaitingRun
from whalefall.scheduler.performing import Performer
from whalefall.scheduler.running import Roster, RunContext, capturing
from whalefall.scheduler.state import SchedulerState, of

TASK = "whalefall.run"
_GRACE_S = 10  # between Celery's soft limit, which raises in the job, and its hard one, which kills the process
_log = logging.getLogger("whalefall.scheduler")


def broker_url(state: SchedulerState) -> str:
    """Raises ConfigError if nobody has named a broker."""
    url = state.app.config.get("SCHEDULER_CELERY_BROKER") or state.settings.celery_broker_url
    if not url:
        raise ConfigError(
            "A job has executor='celery', but no broker is named: set CELERY_BROKER_URL to a URL like redis://host/0."
        )
    return str(url)


def make_celery(state: SchedulerState) -> Any:
    """A Celery application with the one task that it needs."""
    application = celery.Celery("whalefall", broker=broker_url(state), set_as_current=False)
    application.conf.update(
        task_ignore_result=True,  # the ledger has it
        task_acks_late=True,  # a worker that dies gives the message back; the claim decides what it is worth
        worker_prefetch_multiplier=1,
        broker_connection_retry_on_startup=True,
        worker_hijack_root_logger=False,
    )

    def perform(run_id: str) -> None:
        worker_here(state).run(run_id)

    application.task(name=TASK)(perform)
    return application


class Courier:
    """The leader's side: sends the names of runs."""

    name = "celery"

    def __init__(self, state: SchedulerState) -> None:
        self._state = state
        self._celery: Any = None

    def send(self, waiting: WaitingRun) -> None:
        """Raises what the broker raises; the run stays queued and is sent again."""
        if self._celery is None:
            self._celery = make_celery(self._state)
        timeout_s = waiting.policies.timeout_s
        limits = {"soft_time_limit": timeout_s, "time_limit": timeout_s + _GRACE_S} if timeout_s else {}
        self._celery.send_task(TASK, args=[waiting.run_id], **limits, retry=False)


class Worker:
    """The worker's side: claims, keeps alive, performs, finishes. One for each process of the pool."""

    def __init__(self, state: SchedulerState) -> None:
        self.holder = f"celery/{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(3)}"
        self._state, self._ledger = state, state.ledger
        self._roster = Roster()
        self._performer = Performer(
            state.app,
            self._ledger,
            self._roster,
            self,
            resolve=state.resolve,
            checkpoints=NoCheckpoints(),
            time_limits=(SoftTimeLimitExceeded,),
        )
        self._closed = threading.Event()
        capturing.install()
        threading.Thread(target=self._keep_alive, name="wf-keeper", daemon=True).start()

    def run(self, run_id: str) -> None:
        if self._roster.goes_on(run_id):
            _log.warning("run %s waits: an earlier attempt of it still goes on in this worker", run_id)
            return
        claimed = self._ledger.claim_one(run_id, self.holder, self._state.tuning.run_lease_s)
        if claimed is None:
            _log.info("run %s is not to be had: somebody has it, or had it", run_id)
            return
        try:
            context = RunContext(claimed)
            context.begun.set()
            self._roster.add(context)
            self._performer(context)
        except SoftTimeLimitExceeded:  # it came between the job and our own lines
            _log.warning("run %s reached its limit as it ended", run_id)

    def finish(self, ending: Ending) -> None:
        """For the performer: written before the next message, for nobody else would write it."""
        context = self._roster.get(ending.run_id)
        if context is not None:
            context.ended.set()
        try:
            if not self._written(ending):
                taken.drop(self._ledger, self.holder, ending)
        finally:
            self._roster.remove(ending.key)

    def _written(self, ending: Ending) -> bool:
        """A ledger that is away is waited for: it costs time, not the result. False: the run was taken from us."""
        pause_s = 0.1
        while True:
            try:
                return bool(self._ledger.finish(self.holder, [ending]))
            except LedgerUnavailable as error:
                _log.warning("the ending of run %s waits to be written: %s", ending.run_id, error)
            self._closed.wait(pause_s)
            pause_s = min(pause_s * 2, self._state.tuning.backoff_max_s)

    def close(self) -> None:
        """For a process that goes on after its worker."""
        self._closed.set()
        capturing.remove()

    def _keep_alive(self) -> None:
        tuning = self._state.tuning
        while not self._closed.wait(min(tuning.sign_every_s, tuning.renew_every_s)):
            try:
                self._look()
            except Exception:  # noqa: BLE001 - no error may end this thread
                _log.exception("the leases of this worker's runs could not be kept; trying again")

    def _look(self) -> None:
        run_ids = self._roster.run_ids()
        if not run_ids:
            return
        kept = self._ledger.keep_alive(self.holder, run_ids, self._state.tuning.run_lease_s)
        for run_id in run_ids:
            context = self._roster.get(run_id)
            if context is not None and run_id not in kept:
                taken.let_go(self._ledger, self.holder, context)
            elif context is not None and kept[run_id]:
                context.cancelled.set()
        news = self._roster.news()
        if news:
            self._ledger.tell(self.holder, news)


_workers: dict[int, Worker] = {}  # by process


def worker_here(state: SchedulerState) -> Worker:
    """This process's: the pool forks, and a thread does not survive that."""
    if os.getpid() not in _workers:
        _workers[os.getpid()] = Worker(state)
    return _workers[os.getpid()]


@functools.cache
def _named_application() -> Any:
    app_ref = os.environ.get("WHALEFALL_APP", "") or "whalefall.app.wsgi:application"
    return make_celery(of(app_named(app_ref)))


def __getattr__(name: str) -> Any:
    """`celery -A` looks for `app`: the Flask application named by WHALEFALL_APP, made when it is asked for."""
    if name in ("app", "celery_app"):
        return _named_application()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
