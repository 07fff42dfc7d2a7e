"""In doubt, let go: of the lead that cannot be proved, of a loop that hangs, of a run that somebody else has."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text

from tests.integration import process_app
from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import make_app, running
from tests.support.waiting import wait_until
from whalefall import Scheduler
from whalefall import scheduler as scheduling
from whalefall.scheduler.ledger.schema import run
from whalefall.settings import Settings


class HangAt:
    """Stops the thread that reaches a step, until the test lets it go on."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.hangs, self.go_on = threading.Event(), threading.Event()

    def reached(self, step: str) -> None:
        if step == self._step and not self.go_on.is_set():
            self.hangs.set()
            self.go_on.wait(60)


def ticking() -> Scheduler:
    scheduler = Scheduler()
    scheduler.task("interval", id="tick", seconds=1, catch_up="all", overlap="allow")(jobs.what_is_the_run)
    return scheduler


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with jobs.fresh():
        yield


def test_a_leader_that_cannot_reach_its_ledger_stops_believing_in_time(sqlite_url: str) -> None:
    """By its own clock, and before the database would let another lead: it cannot ask, so it must not fire."""
    app = make_app(sqlite_url, ticking())
    with running(app) as state:
        runtime = state.runtime
        assert runtime is not None
        assert runtime.keeper.tenure() is not None
        with state.engine.begin() as connection:  # nobody else can write, so it cannot renew
            connection.execute(text("UPDATE wf_lease SET ticked_at = ticked_at"))
            wait_until(lambda: runtime.keeper.tenure() is None, "it no longer believes that it leads", 8)
            [(expires_at,)] = connection.execute(text("SELECT expires_at FROM wf_lease"))
        assert str(expires_at) > "2026", "its lease is still in its name; it let go by itself"
        wait_until(lambda: runtime.keeper.tenure() is not None, "it leads again")
        count = len(jobs.seen)
        wait_until(lambda: len(jobs.seen) > count, "and fires")


def test_a_loop_that_hangs_gives_its_lead_to_a_standby(database_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its threads live and its lease is renewed; only the loop's own turning counts."""
    quick = {"SCHEDULER_HUNG_AFTER_S": 1.0}
    apps = [make_app(database_url, ticking(), **quick) for _ in range(2)]
    hang = HangAt("fire.committed")
    scheduling.of(apps[0]).checkpoints = hang
    with running(apps[0]) as first, running(apps[1]) as second, caplog.at_level(logging.ERROR, "whalefall"):
        assert hang.hangs.wait(20), "the leader's loop hangs after its first fire"
        assert first.runtime is not None
        assert second.runtime is not None
        holder = second.runtime.holder
        wait_until(lambda: second.admin.health().leader == holder, "the standby leads", 30)
        assert "the scheduler's loop has not turned for" in caplog.text
        count = len(jobs.seen)
        wait_until(lambda: len(jobs.seen) >= count + 2, "and fires")
        hang.go_on.set()
        instants = [run.scheduled_at for run in second.admin.list_runs(job_id="tick", limit=500).runs]
        assert len(instants) == len(set(instants))


def taken_by_another(state: scheduling.SchedulerState, run_id: str) -> None:
    """As if our lease had run out meanwhile, and a sweeper had given the run to somebody else."""
    theirs = {"claimed_by": "another", "attempt": run.c.attempt + 1, "lease_until": datetime(2099, 1, 1, tzinfo=UTC)}
    with state.engine.begin() as connection:
        connection.execute(run.update().where(run.c.run_id == run_id).values(**theirs))
    assert state.admin.get_run(run_id).claimed_by == "another"


def test_a_job_whose_run_is_somebody_elses_is_told_and_its_result_dropped(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    scheduler = Scheduler()
    scheduler.task("cron", id="patient", month=1, day=1, on_crash="rerun")(jobs.wait_for_cancel)
    with running(make_app(sqlite_url, scheduler)) as state:
        run_id = state.admin.run_now("patient", actor="ada")
        wait_until(lambda: state.admin.get_run(run_id).state == "running", "it runs")
        taken_by_another(state, run_id)
        assert state.runtime is not None
        roster = state.runtime.roster
        with caplog.at_level(logging.WARNING, "whalefall"):
            wait_until(lambda: not roster.run_ids(), "the job has seen `current_run.cancelled`, and ended")
            dropped = f"the result of run {run_id} (attempt 1) was dropped"
            wait_until(lambda: dropped in caplog.text, "it is told")
        view = state.admin.get_run(run_id)
        assert (view.state, view.claimed_by, view.attempt) == ("running", "another", 2), "untouched"


def test_a_process_whose_run_is_somebody_elses_is_killed(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_DATABASE_URL", sqlite_url)
    process_app.app.config["SCHEDULER_DATABASE_URL"] = sqlite_url
    process_app.scheduler.init_app(process_app.app, Settings.load({"ENABLE_SCHEDULER": "true"}))
    path = tmp_path / "pid"
    with running(process_app.app) as state:
        run_id = state.admin.run_now("stubborn", actor="ada", args={"path": str(path)})
        wait_until(lambda: path.exists() and path.read_text().isdigit(), "the job has begun", 60)
        pid = int(path.read_text())
        taken_by_another(state, run_id)
        wait_until(lambda: not psutil.pid_exists(pid), "its process is gone")
        view = state.admin.get_run(run_id)
        assert (view.state, view.claimed_by, view.attempt) == ("running", "another", 2), "untouched"


def test_a_process_that_another_scheduler_has_inherited_is_left_to_it(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """We were stopped for longer than its lease, and one of this host watches the same process: no other was begun."""
    monkeypatch.setenv("TEST_DATABASE_URL", sqlite_url)
    process_app.app.config["SCHEDULER_DATABASE_URL"] = sqlite_url
    process_app.scheduler.init_app(process_app.app, Settings.load({"ENABLE_SCHEDULER": "true"}))
    path = tmp_path / "pid"
    with running(process_app.app) as state, caplog.at_level(logging.WARNING, "whalefall"):
        run_id = state.admin.run_now("stubborn", actor="ada", args={"path": str(path)})
        wait_until(lambda: path.exists() and path.read_text().isdigit(), "the job has begun", 60)
        pid = int(path.read_text())
        theirs = {"claimed_by": "another", "lease_until": datetime(2099, 1, 1, tzinfo=UTC)}
        with state.engine.begin() as connection:
            connection.execute(run.update().where(run.c.run_id == run_id).values(**theirs))
        assert state.runtime is not None
        roster = state.runtime.roster
        wait_until(lambda: not roster.run_ids(), "it is no longer ours to watch")
        assert f"run {run_id} goes on in its process, and another watches over it now" in caplog.text
        assert psutil.pid_exists(pid)
        view = state.admin.get_run(run_id)
        assert (view.state, view.claimed_by, view.attempt) == ("running", "another", 1), "untouched"
        os.killpg(pid, signal.SIGKILL)  # its group; the minder sees it
        wait_until(lambda: not psutil.pid_exists(pid), "nothing is left behind")


def test_what_a_transactional_job_wrote_does_not_count_once_its_run_is_somebody_elses(postgres_url: str) -> None:
    """Or the other, who does it too, would do it twice. (SQLite has one writer: there nobody can take it meanwhile.)"""
    scheduler = Scheduler()
    write = jobs.write_in_the_ledgers_transaction_and_wait
    scheduler.task("cron", id="tx", month=1, day=1, transactional=True)(write)
    app = make_app(postgres_url, scheduler)
    with scheduling.of(app).engine.begin() as connection:
        connection.execute(text("CREATE TABLE shop (run_id text)"))
    with running(app) as state:
        run_id = state.admin.run_now("tx", actor="ada")
        wait_until(lambda: jobs.seen, "it has written, and has not committed")
        taken_by_another(state, run_id)
        jobs.gate.set()
        assert state.runtime is not None
        roster = state.runtime.roster
        wait_until(lambda: not roster.run_ids(), "it has ended")
        with state.engine.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM shop")).scalar_one() == 0
        assert state.admin.get_run(run_id).claimed_by == "another"
