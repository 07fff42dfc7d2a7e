"""An answer that takes a while to find is kept for a multiple of that while, so pages that poll eat no core."""

import threading
import time
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

_MULTIPLE = 20  # at most a twentieth of one core in each process, whoever looks and how often
_KEPT_MAX = 64  # answers; the oldest goes


class Remembered(Generic[T]):
    """By key; quick answers are hardly kept at all, so they are always fresh."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # also: of several who ask at once, one finds out
        self._kept: dict[Hashable, tuple[float, T]] = {}

    def get(self, key: Hashable, find: Callable[[], T]) -> T:
        """The kept answer, or a new one."""
        with self._lock:
            began = self._clock()
            good_until, answer = self._kept.pop(key, (0.0, None))
            if answer is None or began >= good_until:
                answer = find()
                ended = self._clock()
                good_until = ended + _MULTIPLE * (ended - began)
            self._kept[key] = good_until, answer
            while len(self._kept) > _KEPT_MAX:
                del self._kept[next(iter(self._kept))]
            return answer
