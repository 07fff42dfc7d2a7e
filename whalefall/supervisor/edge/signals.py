"""Signals → numbers on a descriptor. A handler does nothing; the kernel's byte in the pipe wakes the loop.

Not signalfd: CPython has no binding before 3.14, and a blocked mask would have to be undone in every child.
"""

import contextlib
import os
import signal

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
# CPython ignores these two, and a child would inherit that; a handler is as good for us (the call fails with EPIPE or
# EFBIG), and exec resets it to the default that a program expects (signal(7)).
UNHEARD = (signal.SIGPIPE, signal.SIGXFSZ)
_BYTES_PER_TURN = 4_096


class Signals:
    """Owns the process's signal handling from creation on."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # The wakeup pipe may overflow under a signal storm: harmless, because the loop then looks at everything anyway.
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in (*HANDLED, *UNHEARD):
            signal.signal(number, _nothing)

    def fileno(self) -> int:
        return self._read

    def take(self) -> list[int]:
        """The signals since the last call, duplicates merged, in order of number."""
        with contextlib.suppress(BlockingIOError):
            return sorted(set(os.read(self._read, _BYTES_PER_TURN)))
        return []


def _nothing(_number: int, _frame: object) -> None:
    """Python runs handlers between bytecodes; the wakeup byte has already been written by then."""
