"""What every channel promises: one message to one receiver, within a time limit that even a dripping receiver cannot
stretch, and an answer in one sentence.

Socket timeouts count from byte to byte: a receiver that sends one every few seconds would hold the thread for ever. So
a timer closes the socket when the whole takes too long.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from whalefall.app.notify.message import Message

STEP_S = 10.0  # for one answer of the receiver, Standard Webhooks advises 15 to 30; ours are short
WHOLE_S = 20.0  # for all of it; less than a claim lasts


@dataclass(frozen=True, slots=True)
class Receipt:
    """How it went. `sentence` never holds a secret: it is shown on pages and in logs."""

    sent: bool
    sentence: str


class Channel(Protocol):
    """One receiver."""

    @property
    def name(self) -> str:
        """`webhook` or `mail`."""

    @property
    def target(self) -> str:
        """Whom it reaches, without secrets."""

    def send(self, message: Message) -> Receipt:
        """Returns within WHOLE_S, give or take the resolver's own limit; raises nothing that it can name."""


@contextlib.contextmanager
def within(whole_s: float, find_socket: Callable[[], socket.socket | None]) -> Iterator[threading.Event]:
    """Ends a conversation that takes longer; the event then says so."""
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        sock = find_socket()
        if sock is not None:
            with contextlib.suppress(OSError):
                # What waits for it wakes, which a close would not do. Not SSLSocket's own: it forgets its TLS first.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(whole_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield is_late
    finally:
        timer.cancel()


def reason_of(error: OSError) -> str:
    """The error in the words of the system, without what surrounds it."""
    if isinstance(error, TimeoutError):
        return f"no answer within {STEP_S:g} s"
    if isinstance(error, socket.gaierror):
        return "its name is not known to the resolver"
    return getattr(error, "verify_message", "") or error.strerror or str(error) or type(error).__name__
