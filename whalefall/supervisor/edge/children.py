"""Reaping: every child that ends, ours and adopted ones, without waiting."""

import os
import signal
from collections.abc import Iterator

from whalefall.supervisor.core.events import Exited, ExitStatus


def reap() -> Iterator[Exited]:
    """wait4(2) until there is nothing to take: SIGCHLD coalesces, one signal may stand for many deaths.

    Not waitid(2): it tells nothing of the memory that the dead had used.
    """
    while True:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        yield Exited(pid, _status(os.waitstatus_to_exitcode(status)), usage.ru_maxrss * 1024)


def _status(code: int) -> ExitStatus:
    if code >= 0:
        return ExitStatus(code)
    try:
        name = signal.Signals(-code).name
    except ValueError:  # real-time signals have no name of their own
        name = f"signal {-code}"
    return ExitStatus(128 - code, name)
