"""The run that is going on: what a job may ask about itself, and tell."""

import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from whalefall.scheduler.capture import Capturing
from whalefall.scheduler.errors import NotInARun
from whalefall.scheduler.ledger.records import ClaimedRun, Sign
from whalefall.scheduler.output import Output

_TEXT_MAX = 500  # characters of a progress text


class RunCancelled(Exception):  # noqa: N818 - it is no error: somebody wished it
    """Raised by `current_run.raise_if_cancelled()`; ends the run as cancelled."""


class Flag:
    """An Event that nobody waits for. Each run has six, and one of threading's is made of five objects."""

    __slots__ = ("_set",)

    def __init__(self) -> None:
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        return self._set


@dataclass(slots=True)
class RunContext:
    """One run while it is ours. Owned by its executor; the keeper and the scribe read it."""

    claimed: ClaimedRun
    output: Output = field(default_factory=Output)
    begun: Flag = field(default_factory=Flag)  # not while it waits for a thread
    cancelled: Flag = field(default_factory=Flag)
    fenced: Flag = field(default_factory=Flag)  # somebody else owns the run now
    inherited: Flag = field(default_factory=Flag)  # somebody else watches this very process now
    ended: Flag = field(default_factory=Flag)  # its end is on its way to the ledger
    cut_off: Flag = field(default_factory=Flag)  # our stop does not wait for it any longer
    started_s: float | None = None  # when the job's code began, by our elapsed seconds
    progress: float | None = None
    progress_text: str = ""
    connection: Connection | None = None
    returned: Any = None
    raised: BaseException | None = None
    told: Callable[[float, str], None] | None = None  # in a process of its own: progress goes to the parent
    settled: Callable[[], None] | None = None  # called when its end is on record, or no longer ours to record

    @property
    def run_id(self) -> str:
        return self.claimed.run.run_id

    @property
    def key(self) -> tuple[str, int]:
        return self.claimed.run.run_id, self.claimed.run.attempt

    def sign(self) -> Sign:
        run = self.claimed.run
        return Sign(run.run_id, run.attempt, self.progress, self.progress_text, self.output.text())


class CurrentRun:
    """`from whalefall import current_run`: the run in which this code was called."""

    @property
    def run_id(self) -> str:
        """Unique for ever; the same for all attempts of one run: an idempotency key."""
        return _context().run_id

    @property
    def job_id(self) -> str:
        return _context().claimed.run.job_id

    @property
    def scheduled_at(self) -> datetime:
        """The nominal time in UTC, before jitter: what this run is *for*, however late it is."""
        return _context().claimed.run.scheduled_at

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return _context().claimed.run.attempt

    @property
    def source(self) -> str:
        """schedule or manual."""
        return _context().claimed.run.source

    @property
    def cancelled(self) -> bool:
        """True once somebody asked for the run's end, or the run was given to another runner. Look at it in loops."""
        context = _context()
        return context.cancelled.is_set() or context.fenced.is_set() or context.cut_off.is_set()

    @property
    def connection(self) -> Connection:
        """The ledger's transaction, in a job with transactional=True: what is written here counts exactly once."""
        connection = _context().connection
        if connection is None:
            raise NotInARun("current_run.connection exists only in a job declared with transactional=True.")
        return connection

    def progress(self, fraction: float, text: str = "") -> None:
        """Tells how far the run is: 0.0 to 1.0, and a word about it."""
        context = _context()
        context.progress = min(max(float(fraction), 0.0), 1.0)
        context.progress_text = str(text)[:_TEXT_MAX]
        if context.told is not None:
            context.told(context.progress, context.progress_text)

    def raise_if_cancelled(self) -> None:
        """Ends the run here if somebody asked for it."""
        if self.cancelled:
            raise RunCancelled

    def __bool__(self) -> bool:
        return _current.get() is not None


_current: ContextVar[RunContext | None] = ContextVar("whalefall_current_run", default=None)
current_run = CurrentRun()


def _context() -> RunContext:
    context = _current.get()
    if context is None:
        raise NotInARun("current_run is known only inside a job that the scheduler has started.")
    return context


def _current_output() -> Output | None:
    context = _current.get()
    return None if context is None else context.output


capturing = Capturing(_current_output)


def enter(context: RunContext) -> Any:
    """Makes `context` the current run of this thread; pass the answer to `leave`."""
    return _current.set(context)


def leave(token: Any) -> None:
    _current.reset(token)


class Roster:
    """The runs that are ours now."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._runs: dict[str, RunContext] = {}
        self._told: dict[str, Sign] = {}

    def add(self, context: RunContext) -> None:
        with self._lock:
            self._runs[context.run_id] = context

    def remove(self, key: tuple[str, int]) -> None:
        """The end of this attempt is on record, or no longer ours to record."""
        context = self.release(key)
        if context is not None and context.settled is not None:
            context.settled()

    def release(self, key: tuple[str, int]) -> RunContext | None:
        """It is somebody else's to watch from now on. Another attempt of the run that is here by now stays."""
        with self._lock:
            context = self._runs.get(key[0])
            if context is None or context.key != key:
                return None
            del self._runs[key[0]]
            self._told.pop(key[0], None)
            self._lock.notify_all()
            return context

    def get(self, run_id: str) -> RunContext | None:
        with self._lock:
            return self._runs.get(run_id)

    def goes_on(self, run_id: str) -> bool:
        """Whether an attempt of it has not ended here."""
        with self._lock:
            context = self._runs.get(run_id)
            return context is not None and not context.ended.is_set()

    def run_ids(self) -> list[str]:
        with self._lock:
            return list(self._runs)

    def contexts(self) -> list[RunContext]:
        with self._lock:
            return list(self._runs.values())

    def not_begun(self) -> list[RunContext]:
        """Claimed, and still waiting for a thread."""
        with self._lock:
            return [context for context in self._runs.values() if not context.begun.is_set()]

    def begun(self) -> list[tuple[str, int]]:
        """Run and attempt of those that have begun."""
        with self._lock:
            runs = [context.claimed.run for context in self._runs.values() if context.begun.is_set()]
        return [(run.run_id, run.attempt) for run in runs]

    def wait_until_empty(self, timeout_s: float) -> bool:
        with self._lock:
            return self._lock.wait_for(lambda: not self._runs, timeout_s)

    def news(self) -> list[Sign]:
        """What has changed since it was asked last."""
        with self._lock:
            contexts = list(self._runs.values())
        news = []
        for context in contexts:
            sign = context.sign()
            if self._told.get(context.run_id) != sign and (sign.output or sign.progress is not None):
                self._told[context.run_id] = sign
                news.append(sign)
        return news
