"""As PID 1: stop, crash and recovery, orphans, and the end that nobody can refuse."""

import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.container.engine import Container
from tests.support.waiting import wait_until

DOCKER_KILLS_AFTER_S = 10
SIGKILLED = 128 + 9

# Two forks each: the middle process ends at once, so that its child is an orphan, and PID 1 must take it in.
ORPHANS = """
import os, time
for _ in range(200):
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(0.2)
        os._exit(0)
for _ in range(200):
    os.wait()
"""


@pytest.fixture
def container(image: str) -> Iterator[Container]:
    with Container() as running:
        yield running.until_ready()


def test_stop_ends_it_with_0_before_docker_would_kill(
    container: Container, record_property: Callable[[str, object], None]
) -> None:
    since = time.monotonic()
    code = container.stop(DOCKER_KILLS_AFTER_S)
    record_property("stop", f"{time.monotonic() - since:.1f} s")
    assert code == 0  # SIGKILLED if the engine had to
    assert container.left() == []
    assert "is killed" not in container.logs()


def test_each_master_that_is_killed_comes_back_and_leaves_the_others_alone(container: Container) -> None:
    for name in ("web.1", "scheduler.1", "nginx.1"):
        before = container.rows()
        container.kill(before[name]["pid"])

        def back(name: str = name, old: int = before[name]["pid"]) -> bool:
            row = container.rows()[name]
            return row["state"] == "ready" and row["pid"] != old

        wait_until(back, f"{name} is back", 30, container.logs)
        after = container.rows()
        assert {other: row["pid"] for other, row in after.items() if other != name} == {
            other: row["pid"] for other, row in before.items() if other != name
        }
        assert container.get("/api/v1/health/basic") == 200
        assert container.get("/api/v1/scheduler/jobs") == 200


def test_two_hundred_orphans_are_reaped(container: Container) -> None:
    container.run("python3", "-c", ORPHANS)

    def zombies() -> list[psutil.Process]:
        return [each for each in container.tree() if each.is_running() and each.status() == psutil.STATUS_ZOMBIE]

    def only_ours() -> bool:
        return {each.pid for each in container.tree()} <= {each.pid for each in container.processes}

    wait_until(only_ours, "the orphans have ended and are reaped", 20, lambda: f"{list(container.tree())}")
    assert zombies() == []


def test_sigkill_of_the_supervisor_ends_the_container_and_all_in_it(container: Container) -> None:
    container.kill(1)
    assert container.until_exited() == SIGKILLED
    wait_until(lambda: not container.left(), "nothing of it is left", 10, lambda: f"{container.left()}")
