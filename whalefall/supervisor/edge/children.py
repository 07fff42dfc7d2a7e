"""Reaping: every child that ends, ours and adopted ones, without waiting."""

import os
import signal
from collections.abc import Iterator

from whalefall.supervisor.core.events import Exited, ExitStatus


def reap() -> Iterator[Exited]:
    """waitid(2) until there is nothing to take: SIGCHLD coalesces, one signal may stand for many deaths."""
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            return
        if ended is None:
            return
        yield Exited(ended.si_pid, _status(ended.si_code, ended.si_status))


def _status(code: int, status: int) -> ExitStatus:
    if code == os.CLD_EXITED:
        return ExitStatus(status)
    try:
        name = signal.Signals(status).name
    except ValueError:  # real-time signals have no name of their own
        name = f"signal {status}"
    return ExitStatus(128 + status, name)
