"""Who holds too much memory, and may it be asked to go now? Sizes in, at most one pid out.

Two rules keep it from swinging: one look above the limit is a large request, only the second in a row is a leak; and
after one was asked nobody else is until it is gone and its successor has had time to settle.
"""

from collections.abc import Mapping

from whalefall.plan import MemoryLimit
from whalefall.plan.records import mutable


@mutable
class Scales:
    """Of one life, from when it is ready."""

    limit: MemoryLimit
    look_at: float  # when to look next
    quiet_until: float  # what has just started may be large for a while
    fat: frozenset[int] = frozenset()  # who was above the limit at the last look
    leaving: int | None = None  # who was asked to go

    @classmethod
    def since(cls, limit: MemoryLimit, now: float) -> "Scales":
        return cls(limit, now + limit.period_s, now + limit.settle_s)

    def weighed(self, sizes: Mapping[int, int], now: float) -> int | None:
        """The fattest of those that shall go, None for nobody."""
        before, self.fat = self.fat, frozenset(pid for pid, size in sizes.items() if size > self.limit.bytes)
        if self.leaving is not None and self.leaving not in sizes:
            self.leaving, self.quiet_until = None, now + self.limit.settle_s
        if self.leaving is not None or now < self.quiet_until:
            return None
        self.leaving = max(before & self.fat, key=lambda pid: sizes[pid], default=None)
        return self.leaving
