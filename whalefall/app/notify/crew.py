"""The threads of one process: one that looks, and one for each channel that sends what anybody's look has found.

They are alone: no request and no job waits for them, a receiver that hangs keeps only its own channel's thread, and an
error of any kind is a line in the log and a later try. Whatever one of them leaves undone by dying, another process
finds in the outbox.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from whalefall.app.notify.incidents import Notice
from whalefall.app.notify.message import Site, headline, message_of
from whalefall.app.notify.sending import WHOLE_S, Channel, Receipt
from whalefall.app.notify.watch import Watch
from whalefall.app.store import notices
from whalefall.app.store.notices import Outgoing
from whalefall.scheduler.clocks import elapsed_s, name_this_thread
from whalefall.scheduler.core.chance import share
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.ledger import Ledger

T = TypeVar("T")
Observe = Callable[[str, str], None]  # channel, outcome

# Seconds until each further try: a receiver that restarts, one that is repaired at night; after hours it is history.
AGAIN_AFTER_S = (5, 30, 120, 600, 1800, 3600, 7200)
_PAUSE_MAX_S = 60.0  # between tries while the database is away
_LOOK_SHARE = 50  # a look that takes a second is made every 50: two hundredths of one core at most
_log = logging.getLogger("whalefall.notify")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often; tests make it quicker."""

    look_every_s: float = 10.0
    send_every_s: float = 5.0  # how soon what another process has found is sent
    claim_s: float = 3 * WHOLE_S  # a process that dies while it sends: after this another one sends again
    again_after_s: Sequence[float] = AGAIN_AFTER_S


@dataclass(frozen=True, slots=True)
class Duty:
    """What a crew works for."""

    ledger: Ledger
    channels: Sequence[Channel]
    site: Site
    holder: str
    observe: Observe
    pace: Pace


class Crew:
    """Started after the fork, stopped with the worker."""

    def __init__(self, duty: Duty, watch: Watch) -> None:
        self._watch, self._pace = watch, duty.pace
        self._stopping = threading.Event()
        self._couriers = [Courier(duty, channel, self._stopping) for channel in duty.channels]
        names = ["wf-watch", *(f"wf-{courier.name}" for courier in self._couriers)]
        works = [self._look_for_ever, *(courier.work for courier in self._couriers)]
        self._threads = [
            threading.Thread(target=_named, args=(name, work), name=name, daemon=True)
            for name, work in zip(names, works, strict=True)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self, wait_s: float) -> None:
        """Waits a little for what is being sent, so that nobody has to send it again."""
        self._stopping.set()
        for courier in self._couriers:
            courier.wake()
        end_s = elapsed_s() + wait_s
        for thread in self._threads:
            thread.join(max(end_s - elapsed_s(), 0))

    def _look_for_ever(self) -> None:
        pause_s = min(1.0, self._pace.look_every_s)  # a worker that starts has other work
        guard = _Guard("looked at")
        while not self._stopping.wait(guard.pause_s(pause_s)):
            began_s = elapsed_s()
            ttl_s = max(3 * self._pace.look_every_s, 5 * pause_s)
            self._tell(guard(partial(self._watch.look, ttl_s)) or [])
            pause_s = max(self._pace.look_every_s, _LOOK_SHARE * (elapsed_s() - began_s) if not guard.failures else 0)
        if not guard.failures:
            guard(self._watch.leave)

    def _tell(self, told: Sequence[Notice]) -> None:
        for notice in told:
            level = logging.INFO if notice.event == "recovered" else logging.WARNING
            _log.log(level, "%s: %s", headline(notice.event, notice.subject), notice.text)
        if told:
            for courier in self._couriers:
                courier.wake()


class Courier:
    """Sends what is due by one channel, one at a time."""

    def __init__(self, duty: Duty, channel: Channel, stopping: threading.Event) -> None:
        self._duty, self._channel, self._stopping = duty, channel, stopping
        self._something = threading.Event()

    @property
    def name(self) -> str:
        """Of the channel."""
        return self._channel.name

    def wake(self) -> None:
        """Something may be due."""
        self._something.set()

    def work(self) -> None:
        guard = _Guard("sent")
        while not self._stopping.is_set():
            if not guard(self._send_next):
                self._something.wait(guard.pause_s(self._duty.pace.send_every_s))
                self._something.clear()

    def _send_next(self) -> bool:
        """False when nothing is due."""
        outgoing = self._claim()
        if outgoing is None:
            return False
        receipt = self._try(outgoing)
        again_in_s = None if receipt.sent else self._again_in_s(outgoing)
        self._note(outgoing, receipt, again_in_s)
        with self._duty.ledger.writing() as connection:
            notices.settle(
                connection,
                self.name,
                outgoing,
                sent=receipt.sent,
                answer=receipt.sentence,
                again_in_s=again_in_s,
            )
        return True

    def _claim(self) -> Outgoing | None:
        duty = self._duty
        with duty.ledger.reading() as connection:
            if not notices.is_due(connection, self.name):
                return None
        with duty.ledger.writing() as connection:
            return notices.claim(connection, self.name, duty.holder, duty.pace.claim_s)

    def _try(self, outgoing: Outgoing) -> Receipt:
        try:
            return self._channel.send(message_of(outgoing, self._duty.site))
        except Exception as error:  # noqa: BLE001 - whatever it is, it counts as a try: no notice is tried for ever
            _log.exception("a notice could not be sent by %s", self.name)
            return Receipt(sent=False, sentence=f"{type(error).__name__}; the log has the details")

    def _again_in_s(self, outgoing: Outgoing) -> float | None:
        delays = self._duty.pace.again_after_s
        if outgoing.attempts > len(delays):
            return None
        return delays[outgoing.attempts - 1] * (1 + 0.2 * share(outgoing.id, outgoing.attempts))

    def _note(self, outgoing: Outgoing, receipt: Receipt, again_in_s: float | None) -> None:
        title = headline(outgoing.event, outgoing.subject)
        if receipt.sent:
            _log.info("told by %s: %s", self.name, title)
            self._duty.observe(self.name, "sent")
        elif again_in_s is None:
            _log.error("not told by %s, given up: %s: %s", self.name, title, receipt.sentence)
            self._duty.observe(self.name, "failed")
        else:
            _log.warning("not told by %s yet: %s: %s; again in %.0f s", self.name, title, receipt.sentence, again_in_s)
            self._duty.observe(self.name, "retried")


class _Guard:
    """The border of a thread: what fails is logged, once until it goes again, and tried later, ever more rarely."""

    def __init__(self, deed: str) -> None:
        self._deed = deed
        self.failures = 0

    def __call__(self, work: Callable[[], T]) -> T | None:
        try:
            done = work()
        except LedgerUnavailable as error:
            self.failures += 1
            _log.log(self._level, "nothing is %s: %s", self._deed, error)
        except Exception:  # noqa: BLE001 - no error may end this thread
            self.failures += 1
            _log.log(self._level, "nothing is %s", self._deed, exc_info=True)
        else:
            if self.failures:
                _log.warning("it is %s again, after %d tries", self._deed, self.failures)
            self.failures = 0
            return done
        return None

    @property
    def _level(self) -> int:
        return logging.WARNING if self.failures == 1 else logging.DEBUG

    def pause_s(self, usual_s: float) -> float:
        """Until the next try: twice as long after each failure, up to a limit."""
        return min(usual_s * 2.0 ** min(self.failures, 20), max(_PAUSE_MAX_S, usual_s))


def _named(name: str, work: Callable[[], None]) -> None:
    name_this_thread(name)
    work()
