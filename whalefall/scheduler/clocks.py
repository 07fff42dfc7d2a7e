"""Elapsed time and visible threads: the two things that the scheduler asks of the operating system."""

import contextlib
import threading
import time
from pathlib import Path

_COMM_MAX = 15  # bytes of a thread's name that Linux keeps


def elapsed_s() -> float:
    """Seconds that never jump and go on while the host sleeps, unlike time.monotonic() on Linux."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def name_this_thread(name: str) -> None:
    """So that `ps -eLo comm` shows who is who: a person can count the schedulers of a machine."""
    with contextlib.suppress(OSError):
        Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name[:_COMM_MAX])
