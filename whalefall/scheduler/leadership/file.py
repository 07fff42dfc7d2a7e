"""A POSIX record lock beside the SQLite file: for one host. Free the moment its process is gone.

A record lock, not flock(2): with flock a forked child that outlives a killed leader would keep it. Record locks belong
to the process, so two candidates in one process need the set below, and nobody else may open the lock's file here,
because closing any descriptor of it would release the lock (fcntl(2)). Not for network file systems.
"""

import fcntl
import os
from threading import Lock
from typing import Final

from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Tenure

_held: Final[dict[str, int]] = {}  # path → descriptor, of this process
_held_lock = Lock()


class RecordLock:
    """Its limit: a leader that is stopped (SIGSTOP) keeps the lock, so nobody fires until it goes on or is killed."""

    name = "file"

    def __init__(self, ledger: Ledger, holder: str, ttl_s: float, path: str) -> None:
        self._ledger, self._holder, self._ttl_s, self._path = ledger, holder, ttl_s, path

    def take(self) -> Tenure | None:
        with _held_lock:
            if self._path in _held:
                return None
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(descriptor)  # nothing of ours is released: this process holds no lock on this file
                return None
            _held[self._path] = descriptor
        try:
            return self._ledger.seize_lease(self._holder, self._ttl_s)
        except BaseException:
            self._let_go()
            raise

    def renew(self, tenure: Tenure, tick_age_s: float) -> bool:
        return self._ledger.renew_lease(tenure, self._ttl_s, tick_age_s)

    def give_back(self, tenure: Tenure) -> None:
        try:
            self._ledger.give_lease_back(tenure)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        with _held_lock:
            descriptor = _held.pop(self._path, None)
            if descriptor is not None:
                os.close(descriptor)
