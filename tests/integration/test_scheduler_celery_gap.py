"""A Celery worker goes on while the scheduler is dead: what it runs is recorded once, not repeated, can be cancelled.

Scheduler and worker are processes of their own, and are killed; the broker is a real Redis. The job notes each start
outside the ledger.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from tests.integration.celery_held_app import app, scheduler
from tests.integration.test_scheduler_celery import end, start_worker
from tests.support.crashing import spawn
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import ended
from tests.support.ledgers import rows
from tests.support.postgres import PostgresServer
from tests.support.proxies import Proxy
from tests.support.redis import RedisServer
from tests.support.waiting import wait_until
from whalefall import scheduler as scheduling
from whalefall.settings import Settings

APP = "tests.integration.celery_held_app:app"


def configured(url: str, broker: str, run_lease_s: float) -> scheduling.SchedulerState:
    app.config.update(SCHEDULER_DATABASE_URL=url, SCHEDULER_CELERY_BROKER=broker, SCHEDULER_RUN_LEASE_S=run_lease_s)
    scheduler.init_app(app, Settings.load({"ENABLE_SCHEDULER": "true"}))
    return scheduling.of(app)


def live(url: str, broker: str, run_lease_s: float) -> None:
    configured(url, broker, run_lease_s).start()
    while True:
        signal.pause()


@dataclass
class Estate:
    """A database, a broker, and people who look at the ledger and have no other part in this."""

    url: str
    broker: RedisServer
    place: Path
    people: scheduling.SchedulerState
    run_lease_s: float = 2.0
    schedulers: list[BaseProcess] = field(default_factory=list)
    workers: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start_scheduler(self) -> BaseProcess:
        process = spawn(live, self.url, self.broker.url, self.run_lease_s)
        self.schedulers.append(process)
        wait_until(lambda: self.leads(process), "it leads", 30)
        return process

    def start_worker(self, url: str | None = None) -> None:
        log = self.place / "worker.log"
        more = {"TEST_RUN_LEASE_S": str(self.run_lease_s)}
        self.workers.append(start_worker(url or self.url, self.broker.url, log, APP, **more))

    def leads(self, process: BaseProcess) -> bool:
        return f"/{process.pid}/" in (self.people.admin.health().leader or "")

    def run(self) -> str:
        return self.people.admin.run_now("held", actor="ada", args={"place": str(self.place)})

    def record(self) -> list[str]:
        """What the job says itself."""
        path = self.place / "record"
        return path.read_text().splitlines() if path.exists() else []

    def until_it_runs(self, run_id: str) -> None:
        wait_until(
            lambda: self.record() and self.state(run_id) == "running",
            "it runs",
            60,
            (self.place / "worker.log").read_text,
        )

    def state(self, run_id: str) -> str:
        return str(self.people.admin.get_run(run_id).state)

    def free(self) -> None:
        (self.place / "free").touch()


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join(10)
    assert process.exitcode == -signal.SIGKILL


@pytest.fixture
def make(postgres_url: str, redis_server: RedisServer, tmp_path: Path) -> Iterator[Callable[[float], Estate]]:
    with ExitStack() as stack:

        def make(run_lease_s: float) -> Estate:
            state = configured(postgres_url, redis_server.url, run_lease_s)
            state.reconcile()
            estate = Estate(postgres_url, redis_server, tmp_path, state, run_lease_s)
            stack.callback(state.ledger.engine.dispose)
            stack.callback(lambda: [end(worker) for worker in estate.workers if worker.poll() is None])
            stack.callback(lambda: [process.kill() for process in estate.schedulers])
            return estate

        yield make


@pytest.fixture
def estate(make: Callable[[float], Estate]) -> Estate:
    return make(2.0)


def running_without_a_scheduler(estate: Estate) -> str:
    """A run in a Celery worker whose scheduler has been killed meanwhile."""
    first = estate.start_scheduler()
    estate.start_worker()
    run_id = estate.run()
    estate.until_it_runs(run_id)
    kill(first)
    return run_id


def sweeps_twice(estate: Estate) -> None:
    """The new leader has looked for runs without a runner, and counts silence, for longer than a run's lease."""
    since = rows(estate.people.ledger, "SELECT clock_timestamp() + interval '3.5 s'")[0][0]
    wait_until(lambda: rows(estate.people.ledger, f"SELECT 1 WHERE clock_timestamp() > '{since}'"), "it has swept")


def test_the_next_scheduler_leaves_it_to_its_worker_and_its_end_is_recorded_once(estate: Estate) -> None:
    run_id = running_without_a_scheduler(estate)
    estate.start_scheduler()
    sweeps_twice(estate)
    assert estate.state(run_id) == "running", "its worker lives, and keeps its lease"
    estate.free()
    run = ended(estate.people, run_id)
    assert (run.state, run.attempt, run.output) == ("succeeded", 1, "returned done\n")
    assert estate.record() == ["start 1", "end 1"]
    assert estate.people.ledger.attempts(run_id) == []


def test_what_ended_in_the_gap_is_on_record_before_the_next_one_starts_and_stays_so(estate: Estate) -> None:
    run_id = running_without_a_scheduler(estate)
    estate.free()
    in_the_gap = ended(estate.people, run_id)
    assert (in_the_gap.state, in_the_gap.attempt) == ("succeeded", 1)
    estate.start_scheduler()
    sweeps_twice(estate)
    assert estate.people.admin.get_run(run_id) == in_the_gap
    assert estate.record() == ["start 1", "end 1"]


def test_a_cancel_in_the_gap_works(estate: Estate) -> None:
    """Of a run that goes on: the worker sees it by itself. Of one that waits: its message finds nothing to claim."""
    first = estate.start_scheduler()
    estate.start_worker()
    runs, waits = estate.run(), ""
    estate.until_it_runs(runs)
    waits = estate.run()  # behind it: the worker does one thing at a time
    wait_until(lambda: estate.people.ledger.run(waits).lease_until, "its message is on its way")
    kill(first)
    estate.people.admin.cancel_run(waits, actor="bob")
    assert estate.state(waits) == "cancelled"
    estate.people.admin.cancel_run(runs, actor="bob")
    run = ended(estate.people, runs)
    assert (run.state, run.reason, run.attempt) == ("cancelled", "cancelled by bob while it ran", 1)
    estate.start_scheduler()
    sweeps_twice(estate)
    assert [estate.state(run_id) for run_id in (runs, waits)] == ["cancelled", "cancelled"]
    assert estate.record() == ["start 1"], "the one that waited never began"


def test_a_message_sent_by_the_dead_and_again_by_the_next_runs_once(estate: Estate) -> None:
    first = estate.start_scheduler()
    run_id = estate.run()
    wait_until(lambda: estate.people.ledger.run(run_id).lease_until, "it was sent, and nobody is there to take it")
    kill(first)
    estate.start_scheduler()
    sent = estate.people.ledger.run(run_id).lease_until
    wait_until(lambda: estate.people.ledger.run(run_id).lease_until != sent, "it was sent again")
    estate.free()
    estate.start_worker()
    assert ended(estate.people, run_id, 60).state == "succeeded"
    again = estate.run()  # behind both messages of the first
    assert ended(estate.people, again).state == "succeeded"
    assert estate.record() == ["start 1", "end 1"] * 2
    assert [estate.people.admin.get_run(each).attempt for each in (run_id, again)] == [1, 1]


def test_a_worker_that_dies_in_the_gap_leaves_a_lost_run_once(estate: Estate) -> None:
    run_id = running_without_a_scheduler(estate)
    end(estate.workers[0])
    estate.start_scheduler()
    run = ended(estate.people, run_id)
    assert (run.state, run.attempt) == ("lost", 1)
    estate.free()
    estate.start_worker()  # Redis gives it the message of the dead one again, if at all
    again = estate.run()
    assert ended(estate.people, again, 60).state == "succeeded"
    assert estate.record() == ["start 1", "start 1", "end 1"]
    assert estate.state(run_id) == "lost"


def test_a_result_waits_in_the_worker_while_the_ledger_is_away(
    make: Callable[[float], Estate], postgres: PostgresServer
) -> None:
    estate = make(30.0)
    with Proxy(postgres.port) as proxy:
        estate.start_scheduler()
        estate.start_worker(estate.url.replace(f":{postgres.port}/", f":{proxy.port}/"))
        run_id = estate.run()
        estate.until_it_runs(run_id)
        proxy.swallow(600)
        proxy.cut()
        estate.free()
        wait_until(lambda: "waits to be written" in (estate.place / "worker.log").read_text(), "it has ended, in vain")
        assert estate.record() == ["start 1", "end 1"]
        proxy.swallow(0)
        run = ended(estate.people, run_id, 40)
    assert (run.state, run.attempt, run.output) == ("succeeded", 1, "returned done\n")
