"""Again, and when? A pure function of the policy, the attempt and the run's name."""

from whalefall.scheduler.core.chance import share
from whalefall.scheduler.core.policies import Policies
from whalefall.scheduler.core.runs import RunState

RERUNS_MAX = 5  # a run that takes its process down each time must not do it for ever
_SPREAD = 0.25  # up to this share earlier, so that runs that failed together do not come back together


def retry_delay_s(policies: Policies, *, state: RunState, attempt: int, run_id: str) -> float | None:
    """Seconds until attempt + 1, or None if this was the last. Exponential, capped, spread by a hash of the run."""
    if state not in (RunState.FAILED, RunState.TIMED_OUT) or attempt > policies.retries:
        return None
    exponent = min(attempt - 1, 40)  # 2**40 s is beyond any cap; more would overflow
    delay = min(policies.retry_delay_s * 2.0**exponent, policies.retry_delay_max_s)
    return delay * (1 - _SPREAD * share(run_id, attempt))


def reruns_after_crash(policies: Policies, *, attempt: int) -> bool:
    """Does a run whose runner vanished go back to the queue?"""
    return policies.on_crash == "rerun" and attempt <= policies.retries + RERUNS_MAX
