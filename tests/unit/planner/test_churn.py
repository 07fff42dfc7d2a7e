"""Workers that die in a loop end their master; a worker that dies beside others does not."""

import contextlib
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.errors import HaltServer

from whalefall.planner.churn import EXIT_CODE, Churn


class Master:
    """What Gunicorn's master does to the hooks, in virtual time."""

    def __init__(self, workers: int = 2) -> None:
        self.now = 1_000.0
        self.churn = Churn(clock=lambda: self.now)
        self.age = 0
        self.server = SimpleNamespace(
            LISTENERS=["a socket"], WORKERS={}, num_workers=workers, cfg=SimpleNamespace(errorlog="-")
        )

    def spawn(self, *, ready: bool = True) -> Any:
        self.age += 1
        worker = self.server.WORKERS[self.age] = SimpleNamespace(age=self.age)
        self.churn.forks(worker)
        if ready:
            self.churn.is_ready(worker)
        return worker

    def dies(self, worker: Any, *, code: int | None = None) -> None:
        """By a signal, or through sys.exit(code)."""
        if code is not None:
            with contextlib.suppress(SystemExit):
                try:
                    raise SystemExit(code)
                finally:
                    self.churn.leaves(worker)
        del self.server.WORKERS[worker.age]
        self.churn.died(self.server, worker)


def test_workers_that_die_one_after_another_end_their_master() -> None:
    master = Master()
    for _ in range(4):
        worker = master.spawn()
        master.now += 0.3
        master.dies(worker)
    with pytest.raises(HaltServer, match="5 workers have died one after another, none was ready for 10 s") as ended:
        master.dies(master.spawn(ready=False))
    assert ended.value.exit_status == EXIT_CODE


def test_many_workers_have_more_deaths_between_them() -> None:
    master = Master(workers=8)
    for _ in range(15):
        master.dies(master.spawn())
    with pytest.raises(HaltServer, match="16 workers"):
        master.dies(master.spawn())


def test_beside_a_worker_that_lives_any_number_may_die() -> None:
    master = Master()
    master.spawn()
    master.now += 10
    for _ in range(100):
        master.dies(master.spawn())


def test_a_worker_that_had_lived_ends_the_count() -> None:
    master = Master()
    for _ in range(10):
        for _ in range(4):
            master.dies(master.spawn())
        worker = master.spawn()
        master.now += 10
        master.dies(worker)


def test_workers_that_leave_in_order_are_not_counted_and_forgive_nothing() -> None:
    master = Master()
    for _ in range(100):
        master.dies(master.spawn(), code=0)
    for _ in range(4):
        master.dies(master.spawn(), code=1)
        master.dies(master.spawn(), code=0)
    with pytest.raises(HaltServer):
        master.dies(master.spawn(), code=1)


def test_a_master_that_is_stopping_counts_nothing() -> None:
    master = Master()
    workers = [master.spawn() for _ in range(20)]
    master.server.LISTENERS = []
    for worker in workers:
        master.dies(worker)
