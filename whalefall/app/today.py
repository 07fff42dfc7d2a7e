"""What became of today's instants: an hour in which nothing can change any more is counted once.

A site may have a million runs a day, and reading them takes two seconds. Run ids grow with time, so each hour is a
range of the primary key; what is left to read is the present hour, and one in which a run still waits or works.
"""

import threading
from collections import Counter
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta

from whalefall.scheduler.ledger.overview import SKEW

_HOUR = timedelta(hours=1)
_MAY_CHANGE = ("queued", "running")
Count = Callable[[datetime, datetime | None], Counter[str]]


class Today:
    """By database; shared by the threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._closed: dict[tuple[Hashable, datetime], Counter[str]] = {}

    def counts(self, database: Hashable, now: datetime, count: Count) -> Counter[str]:
        """Since midnight, UTC. `count` answers for the runs that were made from one moment until before another."""
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        found: Counter[str] = Counter()
        hour = midnight
        while hour <= now:
            found += self._of_hour(database, hour, now, count)
            hour += _HOUR
        with self._lock:
            self._closed = {key: counted for key, counted in self._closed.items() if key[1] >= midnight}
        return found

    def _of_hour(self, database: Hashable, hour: datetime, now: datetime, count: Count) -> Counter[str]:
        with self._lock:
            known = self._closed.get((database, hour))
        if known is not None:
            return known
        # A clock may be behind ours: what fires at midnight there is made before it here.
        start = hour - SKEW if hour.hour == 0 else hour
        end = hour + _HOUR
        found = count(start, end if end <= now else None)
        if end + SKEW <= now and not any(found[state] for state in _MAY_CHANGE):
            with self._lock:
                self._closed[database, hour] = found
        return found
