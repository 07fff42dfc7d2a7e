"""Jobs in a real Celery worker, through a real Redis; the ledger stays the truth."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import celery_app
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import ended, running
from tests.support.redis import RedisServer
from tests.support.supervised import ROOT
from tests.support.waiting import wait_until
from whalefall import Scheduler
from whalefall import scheduler as scheduling
from whalefall.errors import ConfigError
from whalefall.scheduler.executors import celery as over_celery
from whalefall.settings import Settings


def start_worker(
    url: str, broker: str, log: Path, app: str = "tests.integration.celery_app:app", **more: str
) -> "subprocess.Popen[bytes]":
    environment = {
        **os.environ,
        "TEST_DATABASE_URL": url,
        "TEST_BROKER_URL": broker,
        "WHALEFALL_APP": app,
        "ENABLE_SCHEDULER": "false",
        "PYTHONPATH": str(ROOT),
        **more,
    }
    command = [
        "-m",
        "celery",
        "-A",
        "whalefall.scheduler.executors.celery",
        "worker",
        "--concurrency",
        "1",
        "-l",
        "info",
    ]
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=log.parent,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def end(worker: "subprocess.Popen[bytes]") -> None:
    """The worker and its pool."""
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)


@pytest.fixture
def state(postgres_url: str, redis_server: RedisServer) -> Iterator[scheduling.SchedulerState]:
    celery_app.app.config.update(SCHEDULER_DATABASE_URL=postgres_url, SCHEDULER_CELERY_BROKER=redis_server.url)
    celery_app.scheduler.init_app(celery_app.app, Settings.load({"ENABLE_SCHEDULER": "true"}))
    with running(celery_app.app) as state:
        yield state


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


def test_runs_happen_in_the_worker_and_are_on_record_here(
    state: scheduling.SchedulerState, postgres_url: str, redis_server: RedisServer, log: Path
) -> None:
    worker = start_worker(postgres_url, redis_server.url, log)
    try:
        runs = wait_until(
            lambda: (runs := state.admin.list_runs(job_id="tick", state="succeeded").runs)[2:] and runs,
            "three fires ran in the worker",
            60,
            log.read_text,
        )
        assert runs[0].output.startswith("returned in elsewhere, process ")
        assert str(os.getpid()) not in runs[0].output
        assert (runs[0].progress_text, runs[0].claimed_by.partition("/")[0]) == ("half", "celery")

        failed = ended(state, state.admin.run_now("fail", actor="ada"), 30)
        assert (failed.state, failed.attempt) == ("failed", 2)
        assert failed.error.endswith("ValueError: no shelf, attempt 2\n")

        run_id = state.admin.run_now("patient", actor="ada")
        wait_until(lambda: state.admin.get_run(run_id).state == "running", "it runs", 30)
        state.admin.cancel_run(run_id, actor="bob")
        assert ended(state, run_id, 30).state == "cancelled"

        assert ended(state, state.admin.run_now("hang", actor="ada"), 30).state == "timed_out"
    finally:
        end(worker)


def test_a_message_that_comes_twice_runs_once(state: scheduling.SchedulerState) -> None:
    """Redelivery, a deposed leader, a curious person: the claim decides. Here both workers are this process."""
    run_id = state.admin.run_now("fail", actor="ada")
    workers = [over_celery.Worker(state) for _ in range(2)]
    for worker in (*workers, *workers):
        worker.run(run_id)
    for worker in workers:
        worker.close()
    run = state.admin.get_run(run_id)
    assert run.attempt <= 2
    assert len(state.ledger.attempts(run_id)) == run.attempt - (run.state != "queued")


def test_a_broker_that_is_away_costs_time_and_no_run(
    state: scheduling.SchedulerState, postgres_url: str, redis_server: RedisServer, log: Path
) -> None:
    redis_server.stop()
    run_id = state.admin.run_now("fail", actor="ada")
    wait_until(lambda: state.ledger.run(run_id).lease_until, "it was sent, in vain")
    redis_server.start()
    worker = start_worker(postgres_url, redis_server.url, log)
    try:
        assert ended(state, run_id, 60).state == "failed"
    finally:
        end(worker)


def test_without_a_broker_the_start_is_refused(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
    scheduler = Scheduler()
    scheduler.task("cron", id="a", hour=1, executor="celery")(celery_app.tick)
    from tests.support.flaskapp import make_app

    with pytest.raises(ConfigError, match="no broker is named: set CELERY_BROKER_URL"):
        scheduling.of(make_app(sqlite_url, scheduler)).start()
