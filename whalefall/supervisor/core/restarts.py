"""When to start again what died by itself, and when to give up.

The first restart is immediate; then the delay doubles up to a cap, with full jitter (uniform from 0 to the delay), so
that instances that died together do not come back together. A stable period forgets the streak. Two budgets end a
crash loop: crashes before ready within a short window, crashes of any kind within a long one.
"""

from collections import deque
from typing import Protocol

from whalefall.plan import RestartPolicy
from whalefall.plan.records import field, mutable


class Chance(Protocol):
    """The part of random.Random that is needed."""

    def uniform(self, a: float, b: float, /) -> float: ...


@mutable
class Restarts:
    """The crash record of one instance."""

    policy: RestartPolicy
    streak: int = 0  # crashes since the last stable period
    total: int = 0  # for people
    early: deque[float] = field(factory=deque)
    all: deque[float] = field(factory=deque)

    def crashed(self, now: float, ready_for_s: float | None, rng: Chance) -> float | None:
        """Seconds until the next start, or None to give up. `ready_for_s` is None when it never became ready."""
        policy = self.policy
        if ready_for_s is not None and ready_for_s >= policy.stable_s:
            self.streak = 0
        self.streak += 1
        self.all.append(now)
        if ready_for_s is None:
            self.early.append(now)
        _forget_before(self.early, now - policy.early_window_s)
        _forget_before(self.all, now - policy.window_s)
        if len(self.early) >= policy.early_crashes or len(self.all) >= policy.crashes:
            return None
        self.total += 1
        if self.streak == 1:
            return 0.0
        exponent = min(self.streak - 2, 64)  # beyond this the cap has long won, and floats overflow
        return rng.uniform(0.0, min(policy.max_s, policy.first_s * policy.factor**exponent))

    def budget(self) -> str:
        """`crash 2 of 5 in 60 s`: where the budget stands that is nearer to its end."""
        policy = self.policy
        if len(self.early) * policy.crashes > len(self.all) * policy.early_crashes:
            return f"crash {len(self.early)} of {policy.early_crashes} in {policy.early_window_s:g} s"
        return f"crash {len(self.all)} of {policy.crashes} in {policy.window_s:g} s"

    def forgive(self) -> None:
        """A person asked for a start: the past does not count."""
        self.streak = 0
        self.early.clear()
        self.all.clear()


def _forget_before(times: deque[float], horizon: float) -> None:
    while times and times[0] <= horizon:
        times.popleft()
