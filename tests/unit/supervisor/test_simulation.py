"""What must never happen, over thousands of random histories in virtual time: design, invariants 3, 4, 5 and 9."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.playbook import service
from tests.support.world import World
from whalefall.plan import Dependency, Instance, MemoryLimit, Plan, Probe, RestartPolicy, StopPolicy

READY = Probe("http", address="127.0.0.1:1", period_s=0.25, timeout_s=2)
LIVE = Probe("http", address="127.0.0.1:1", period_s=10, timeout_s=2)
EXAMPLES = int(os.environ.get("WHALEFALL_HISTORIES", "2000"))


def _web(**changes: object) -> Instance:
    options = {"ready": READY, "live": LIVE, "start_timeout_s": 10.0, "replace": "start_first"}
    options["memory"] = MemoryLimit(100, "worker", period_s=30, settle_s=60)
    return service(
        "web", stop=StopPolicy(orphans="drain", grace_s=4, drain_s=120, dump_signal="USR2"), **{**options, **changes}
    )


def _scheduler(**changes: object) -> Instance:
    options = {"ready": READY, "live": LIVE, "start_timeout_s": 10.0, "restart": RestartPolicy(on_give_up="degrade")}
    options |= {"watchdog_s": 40.0, "memory": MemoryLimit(300, "tree", period_s=40, settle_s=60)}
    return service("scheduler", lock="/scheduler.lock", **{**options, **changes})


def _nginx() -> Instance:
    after = (Dependency("web"), Dependency("scheduler", "started"))
    return service("nginx", after=after, ready=READY, stop=StopPolicy("QUIT", "TERM", 3, "drain", "QUIT", drain_s=120))


RELEASE = service("release", run_once=True)
AFTER_RELEASE = (Dependency("release", "finished"),)

PLAN = Plan((_nginx(), _web(), _scheduler()), drain_delay_s=5)
CHANGES = (
    Plan((_nginx(), _web(start_timeout_s=11.0), _scheduler())),
    Plan((_nginx(), _web(memory=MemoryLimit(200, period_s=20)), _scheduler(start_timeout_s=11.0))),
    Plan((_web(), service("worker", watchdog_s=60))),
    Plan((_nginx(), _web(replace="stop_first"), _scheduler(), service("worker", 1), service("worker", 2))),
)
GATED = Plan((RELEASE, _web(after=AFTER_RELEASE), _scheduler(after=AFTER_RELEASE)))


def grace_sum(*plans: Plan) -> float:
    return sum(instance.stop.grace_s for plan in plans for instance in plan.instances)


def assert_ends_well(world: World, *plans: Plan) -> None:
    assert world.exit_code is not None, f"did not exit; {world.engine}"
    assert world.stop_asked_at is not None
    # Invariant 5: the drain delay, one grace per service in the chain, and the moment a killed tree needs to vanish.
    delay_s = max(plan.drain_delay_s for plan in plans)
    assert world.exited_at - world.stop_asked_at <= delay_s + grace_sum(*plans) + 1.0


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 255), max_size=120))
def test_no_history_breaks_an_invariant(numbers: list[int]) -> None:
    world = World.of(numbers)
    world.run(PLAN, CHANGES)
    assert_ends_well(world, PLAN, *CHANGES)


@settings(max_examples=EXAMPLES // 10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.integers(0, 255), max_size=60))
def test_no_history_with_a_release_breaks_an_invariant(numbers: list[int]) -> None:
    world = World.of(numbers)
    world.run(GATED)
    assert_ends_well(world, GATED)


KEPT = {
    "everything goes well": [],
    "a service in backoff while the others stop": [7, 7, 7, 7, 1],
    "all ones": [1] * 100,
    "all crash early": [3] * 100,
    "none is ready": [5] * 100,
    "all hang": [6] * 100,
    "none can be started": [7] * 100,
    "a bit of everything": list(range(100)),
}


@pytest.mark.parametrize("numbers", KEPT.values(), ids=KEPT.keys())
def test_histories_kept(numbers: list[int]) -> None:
    """Plain ones, and each that once broke something."""
    world = World.of(numbers)
    world.run(PLAN, CHANGES)
    assert_ends_well(world, PLAN, *CHANGES)


def test_a_good_world_starts_each_once() -> None:
    world = World.of([])
    world.run(PLAN)
    assert world.exit_code == 0
    assert world.spawns == 3
