"""Again, and when?"""

import pytest

from whalefall.scheduler.core.policies import Policies
from whalefall.scheduler.core.retries import RERUNS_MAX, reruns_after_crash, retry_delay_s
from whalefall.scheduler.core.runs import ALIVE, FINAL, SKIPPED, TRANSITIONS, RunState


def delay(attempt: int, state: RunState = RunState.FAILED, **policies: object) -> float | None:
    return retry_delay_s(Policies(**policies), state=state, attempt=attempt, run_id="run-1")


def test_without_retries_a_failure_is_final() -> None:
    assert delay(1) is None


def test_as_many_retries_as_declared() -> None:
    assert [delay(attempt, retries=2) is not None for attempt in (1, 2, 3)] == [True, True, False]


@pytest.mark.parametrize(("attempt", "base"), [(1, 10), (2, 20), (3, 40), (4, 80)])
def test_the_delay_doubles_less_a_share(attempt: int, base: float) -> None:
    found = delay(attempt, retries=9)
    assert found is not None
    assert base * 0.75 <= found <= base


def test_the_delay_has_a_cap_however_many_attempts_there_were() -> None:
    found = delay(5000, retries=9999, retry_delay_max_s=60)
    assert found is not None
    assert 45 <= found <= 60


def test_runs_that_failed_together_do_not_come_back_together() -> None:
    delays = {retry_delay_s(Policies(retries=1), state=RunState.FAILED, attempt=1, run_id=str(n)) for n in range(100)}
    assert len(delays) == 100


@pytest.mark.parametrize("state", [RunState.SUCCEEDED, RunState.CANCELLED, RunState.LOST])
def test_only_failures_and_timeouts_are_retried(state: RunState) -> None:
    assert delay(1, state, retries=5) is None
    assert delay(1, RunState.TIMED_OUT, retries=5) is not None


def test_a_vanished_runner_is_final_unless_the_job_is_idempotent() -> None:
    assert not reruns_after_crash(Policies(), attempt=1)
    assert reruns_after_crash(Policies(on_crash="rerun"), attempt=1)
    assert not reruns_after_crash(Policies(on_crash="rerun"), attempt=RERUNS_MAX + 1)


def test_every_state_has_its_ways_out_and_final_ones_have_none() -> None:
    assert set(TRANSITIONS) == set(RunState)
    assert {state for state, following in TRANSITIONS.items() if not following} == FINAL
    assert set(RunState) == FINAL | ALIVE
    assert SKIPPED < FINAL
