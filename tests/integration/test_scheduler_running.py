"""A running scheduler in a real Flask app: from due to history, on both databases where they could differ."""

import itertools
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, current_app, g
from sqlalchemy import text

from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import ended, make_app, running
from tests.support.ledgers import end_run_leases, rows
from tests.support.waiting import wait_until
from whalefall import Scheduler, current_run
from whalefall import scheduler as scheduling
from whalefall.errors import ConfigError
from whalefall.scheduler.errors import (
    InvalidArguments,
    InvalidTrigger,
    JobConflict,
    NotInARun,
    RunNotFound,
    SchedulerNotInstalled,
)
from whalefall.settings import Settings

YEARLY: dict[str, Any] = {"month": 1, "day": 1}  # declared, and not due while the test runs


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with jobs.fresh():
        yield


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler()


def on(scheduler: Scheduler, function: Callable[..., Any], **options: Any) -> None:
    scheduler.task(options.pop("trigger", "cron"), **{**({} if "seconds" in options else YEARLY), **options})(function)


class TestFiring:
    def test_a_job_fires_each_second_and_each_second_is_on_record_once(
        self, scheduler: Scheduler, database_url: str
    ) -> None:
        on(scheduler, jobs.what_is_the_run, id="tick", trigger="interval", seconds=1)
        with running(make_app(database_url, scheduler)) as state:
            wait_until(lambda: len(jobs.seen) >= 3, "three fires were seen")
        runs = state.admin.list_runs(job_id="tick").runs
        done = {run.run_id: run for run in runs if run.state == "succeeded"}
        for run_id, job_id, scheduled_at, attempt, source in jobs.seen:
            assert (job_id, attempt, source) == ("tick", 1, "schedule")
            assert done[run_id].scheduled_at == scheduled_at
        instants = sorted(run.scheduled_at for run in runs)
        assert all(after - before == timedelta(seconds=1) for before, after in itertools.pairwise(instants))

    def test_one_of_two_schedulers_leads_and_the_other_takes_over(self, database_url: str) -> None:
        apps = []
        for _ in range(2):
            scheduler = Scheduler()
            on(scheduler, jobs.note, id="tick", trigger="interval", seconds=1, kwargs={})
            apps.append(make_app(database_url, scheduler))
        with running(apps[1]) as second:
            with running(apps[0]) as first:
                assert first.runtime is not None
                assert second.runtime is not None
                leader = second.admin.health().leader
                assert leader == second.runtime.holder
                [standby] = wait_until(lambda: second.admin.health().standbys, "the standby tells of itself")
                assert (standby.holder, standby.pid) == (first.runtime.holder, os.getpid())
                wait_until(lambda: len(jobs.seen) >= 2, "two fires were seen")
                second.stop(3.0)
                wait_until(lambda: first.admin.health().leader == first.runtime.holder, "the standby leads")
                assert first.admin.health().standbys == ()
                assert first.admin.health().term > 1
                count = len(jobs.seen)
                wait_until(lambda: len(jobs.seen) >= count + 2, "the new leader fires")
            instants = [run.scheduled_at for run in first.admin.list_runs(job_id="tick", limit=500).runs]
            assert len(instants) == len(set(instants))

    def test_only_the_scheduler_role_starts(self, scheduler: Scheduler, sqlite_url: str) -> None:
        app = Flask("web")
        app.config["SCHEDULER_DATABASE_URL"] = sqlite_url
        scheduler.init_app(app, Settings.load({"ENABLE_SCHEDULER": "false"}))
        assert scheduler.start(app) is False
        assert scheduling.of(app).runtime is None

    def test_the_flask_command_never_starts_it(
        self, scheduler: Scheduler, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")
        assert scheduler.start(make_app(sqlite_url, scheduler)) is False

    def test_the_thread_can_be_counted_from_outside(self, scheduler: Scheduler, sqlite_url: str) -> None:
        def schedulers() -> int:
            return sum(path.read_text().strip() == "wf-scheduler" for path in Path("/proc/self/task").glob("*/comm"))

        before = schedulers()
        with running(make_app(sqlite_url, scheduler)):
            assert schedulers() == before + 1
        wait_until(lambda: schedulers() == before, "the thread is gone")

    def test_an_edit_by_another_process_is_seen(self, scheduler: Scheduler, database_url: str) -> None:
        on(scheduler, jobs.note, id="yearly")
        with running(make_app(database_url, scheduler)):
            other = make_app(database_url, Scheduler())  # as the web's process: it declares nothing and runs nothing
            scheduling.of(other).admin.edit_trigger("yearly", "* * * * * *", actor="ada")
            wait_until(lambda: jobs.seen, "the edited job fired")
            scheduling.of(other).ledger.engine.dispose()

    def test_a_fire_is_seldom_late(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.note, id="tick", trigger="interval", seconds=1)
        with running(make_app(sqlite_url, scheduler)) as state:
            wait_until(lambda: len(jobs.seen) >= 3, "three fires were seen")
            late = sorted(run.lateness_s or 0 for run in state.admin.list_runs(state="succeeded").runs)
        assert late[0] < 0.2, "the loop sleeps until the deadline, not until the next poll"


class TestRuns:
    def run(self, state: scheduling.SchedulerState, job_id: str, **options: Any) -> scheduling.RunView:
        return ended(state, state.admin.run_now(job_id, actor="ada", **options))

    def test_output_logging_progress_and_the_answer_are_kept(self, scheduler: Scheduler, database_url: str) -> None:
        on(scheduler, jobs.talk, id="talk")
        with running(make_app(database_url, scheduler)) as state:
            run = self.run(state, "talk", reason="to see")
        assert run.state == "succeeded"
        assert run.output == "hello from the job\nWARNING shop: stock is low\nreturned 42 things\n"
        assert (run.created_by, run.reason, run.source, run.progress_text) == ("ada", "to see", "manual", "almost")
        assert run.duration_s is not None

    def test_output_and_progress_are_seen_while_it_runs(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, _talk_then_wait, id="long")
        with running(make_app(sqlite_url, scheduler)) as state:
            run_id = state.admin.run_now("long", actor="ada")
            run = wait_until(lambda: (run := state.admin.get_run(run_id)).output and run, "its output is in the ledger")
            assert (run.state, run.output, run.progress, run.progress_text) == ("running", "step one\n", 0.5, "half")
            jobs.gate.set()
            assert ended(state, run_id).state == "succeeded"

    def test_it_runs_in_the_apps_context_and_the_teardown_runs(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.use_context, id="context")
        app = make_app(sqlite_url, scheduler)
        torn: list[str] = []
        app.teardown_appcontext(lambda error: torn.append(current_app.name))
        with running(app) as state:
            assert self.run(state, "context").state == "succeeded"
        assert (jobs.seen, torn) == ([1], ["demo"])

    def test_a_failure_keeps_its_traceback_and_touches_nothing_else(
        self, scheduler: Scheduler, database_url: str
    ) -> None:
        on(scheduler, jobs.fail, id="fail")
        on(scheduler, jobs.leave, id="leave")
        on(scheduler, jobs.note, id="fine")
        with running(make_app(database_url, scheduler)) as state:
            failed = self.run(state, "fail")
            assert failed.state == "failed"
            assert failed.error.endswith("ValueError: the shelf is empty\n")
            assert failed.error.startswith(f'Traceback (most recent call last):\n  File "{jobs.__file__}", line ')
            assert self.run(state, "leave").error.endswith("SystemExit: 3\n")
            assert self.run(state, "fine").state == "succeeded"

    def test_what_a_job_leaves_behind_in_its_thread_is_gone_for_the_next(
        self, scheduler: Scheduler, sqlite_url: str
    ) -> None:
        """One thread runs all of them: `g`, context variables and the current run are each job's own."""
        on(scheduler, _litter, id="litter")
        on(scheduler, _look_around, id="look")
        with running(make_app(sqlite_url, scheduler, SCHEDULER_THREADS=1)) as state:
            assert self.run(state, "litter").error.endswith("ValueError: and it fails\n")
            first = self.run(state, "look")
            assert self.run(state, "litter").state == "failed"
            second = self.run(state, "look")
        assert [first.output, second.output] == ["returned False, nothing, look\n"] * 2

    def test_the_teardown_of_a_failed_job_is_told_of_nothing_but_runs(
        self, scheduler: Scheduler, sqlite_url: str
    ) -> None:
        on(scheduler, jobs.fail, id="fail")
        on(scheduler, jobs.leave, id="leave")
        app = make_app(sqlite_url, scheduler)
        torn: list[str] = []
        app.teardown_appcontext(lambda error: torn.append(f"{current_run.job_id} {type(error).__name__}"))
        with running(app) as state:
            for job_id in ("fail", "leave"):
                assert self.run(state, job_id).state == "failed"
        assert torn == ["fail ValueError", "leave SystemExit"], "as Flask does it: with the error"

    def test_a_teardown_that_fails_fails_its_run_and_no_other(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.note, id="note")
        app = make_app(sqlite_url, scheduler, SCHEDULER_THREADS=1)
        broken = [True]

        def teardown(error: BaseException | None) -> None:
            if broken:
                raise OSError("the session could not be closed")

        app.teardown_appcontext(teardown)
        with running(app) as state:
            failed = self.run(state, "note")
            broken.clear()
            assert self.run(state, "note").state == "succeeded"
        assert failed.state == "failed"
        assert failed.error.endswith("OSError: the session could not be closed\n")

    def test_a_retry_is_the_same_run(self, scheduler: Scheduler, database_url: str) -> None:
        on(scheduler, jobs.fail_once, id="again", retries=2, retry_delay_s=0.01)
        with running(make_app(database_url, scheduler)) as state:
            run = self.run(state, "again")
        assert (run.state, run.attempt) == ("succeeded", 2)

    def test_arguments_by_hand_are_checked_against_the_signature(
        self, scheduler: Scheduler, sqlite_url: str, tmp_path: Path
    ) -> None:
        target = tmp_path / "out"
        on(scheduler, jobs.append, id="append", kwargs={"path": str(tmp_path / "other")})
        with running(make_app(sqlite_url, scheduler)) as state:
            with pytest.raises(InvalidArguments, match="unexpected keyword argument 'paths'"):
                state.admin.run_now("append", actor="ada", args={"paths": "x"})
            with pytest.raises(InvalidArguments, match="stored as JSON"):
                state.admin.run_now("append", actor="ada", args={"path": target})
            assert self.run(state, "append", args={"path": str(target)}).state == "succeeded"
        assert target.read_text().startswith("append ")

    def test_a_run_again_has_the_arguments_of_the_first(self, scheduler: Scheduler, database_url: str) -> None:
        on(scheduler, jobs.note, id="note", kwargs={"where": "shop"})
        with running(make_app(database_url, scheduler)) as state:
            first = self.run(state, "note", args={"what": "flour"})
            again = ended(state, state.admin.rerun(first.run_id, actor="bob"))
            with pytest.raises(RunNotFound):
                state.admin.rerun("nothing", actor="bob")
        assert jobs.seen == [{"app": "demo", "attempt": 1, "where": "shop", "what": "flour"}] * 2
        assert again.run_id != first.run_id
        assert (again.state, again.created_by, again.reason) == ("succeeded", "bob", f"again, after {first.run_id}")

    def test_a_cancelled_run_ends_as_cancelled(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.wait_for_cancel, id="patient")
        with running(make_app(sqlite_url, scheduler)) as state:
            run_id = state.admin.run_now("patient", actor="ada")
            wait_until(lambda: state.admin.get_run(run_id).state == "running", "it runs")
            state.admin.cancel_run(run_id, actor="bob")
            run = ended(state, run_id)
            assert (run.state, run.reason) == ("cancelled", "cancelled by bob while it ran")
            with pytest.raises(JobConflict, match="has ended already"):
                state.admin.cancel_run(run_id, actor="bob")

    def test_a_job_runs_one_at_a_time_and_the_next_waits(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.wait, id="slow")
        with running(make_app(sqlite_url, scheduler)) as state:
            first = state.admin.run_now("slow", actor="ada")
            wait_until(lambda: state.admin.get_run(first).state == "running", "the first runs")
            second = state.admin.run_now("slow", actor="ada")
            assert state.admin.get_run(second).state == "queued"
            jobs.gate.set()
            assert ended(state, second).state == "succeeded"
            assert (state.admin.get_run(second).started_at or 0) >= (ended(state, first).finished_at or 0)

    def test_current_run_is_nothing_outside(self) -> None:
        assert not current_run
        with pytest.raises(NotInARun, match="only inside a job"):
            _ = current_run.run_id

    def test_transactional_jobs_count_exactly_once_or_not_at_all(self, scheduler: Scheduler, database_url: str) -> None:
        on(scheduler, jobs.write_in_the_ledgers_transaction, id="tx", transactional=True)
        app = make_app(database_url, scheduler)
        with scheduling.of(app).engine.begin() as connection:
            connection.execute(text("CREATE TABLE shop (run_id text)"))
        with running(app) as state:
            good = self.run(state, "tx")
            bad = self.run(state, "tx", args={"fails": True})
            with state.engine.begin() as connection:
                written = connection.execute(text("SELECT run_id FROM shop")).scalars().all()
        assert (good.state, bad.state) == ("succeeded", "failed")
        assert written == [good.run_id]

    def test_a_transactional_job_may_work_between_two_statements(self, scheduler: Scheduler, postgres_url: str) -> None:
        """The 8 s of our own transactions are for the lease's row; PostgreSQL would end the job's connection."""
        on(scheduler, _limits_of_its_transaction, id="tx", transactional=True)
        with running(make_app(postgres_url, scheduler)) as state:
            assert self.run(state, "tx").output == "returned 1h, 0\n"

    def test_it_started_when_its_code_began_not_when_it_was_claimed(
        self, scheduler: Scheduler, database_url: str
    ) -> None:
        """One thread, kept busy: the second run is claimed long before it can begin."""
        on(scheduler, jobs.wait, id="slow", overlap="allow")
        with running(make_app(database_url, scheduler, SCHEDULER_THREADS=1)) as state:
            assert state.runtime is not None
            executor = state.runtime.executors["thread"]
            executor._ahead = 5  # type: ignore[attr-defined]  # as after many quick runs
            executor._looked_s += 1000  # type: ignore[attr-defined]
            first, second = (state.admin.run_now("slow", actor="ada") for _ in range(2))
            wait_until(
                lambda: [state.admin.get_run(i).state for i in (first, second)] == ["running"] * 2, "both are claimed"
            )
            claimed_at = state.admin.get_run(second).started_at
            assert claimed_at is not None
            long = timedelta(seconds=0.5)
            wait_until(lambda: state.ledger.now() - claimed_at > long, "the thread has been busy for a while")
            jobs.gate.set()
            run = ended(state, second)
            assert run.started_at is not None
            assert run.started_at - claimed_at >= long, "the first had the thread all the while"


class TestStopping:
    def test_a_stop_waits_for_runs_and_gives_the_lead_back(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.wait, id="slow")
        app = make_app(sqlite_url, scheduler)
        with running(app, wait_s=20) as state:
            run_id = state.admin.run_now("slow", actor="ada")
            wait_until(lambda: state.admin.get_run(run_id).state == "running", "it runs")
            stopper = threading.Thread(target=state.stop, args=(20,))
            stopper.start()
            wait_until(lambda: state.admin.health().leader is None, "the lead was given back while the run goes on")
            assert state.admin.get_run(run_id).state == "running"
            jobs.gate.set()
            stopper.join(20)
            assert state.admin.get_run(run_id).state == "succeeded"

    def test_what_does_not_end_in_time_is_named(
        self, scheduler: Scheduler, sqlite_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        on(scheduler, jobs.wait, id="stubborn")
        on(scheduler, jobs.wait, id="idempotent", on_crash="rerun")
        with running(make_app(sqlite_url, scheduler)) as state:
            ids = [state.admin.run_now(job_id, actor="ada") for job_id in ("stubborn", "idempotent")]
            wait_until(lambda: [state.admin.get_run(i).state for i in ids] == ["running"] * 2, "both run")
            with caplog.at_level(logging.WARNING, "whalefall"):
                state.stop(0.1)
            stubborn, idempotent = map(state.admin.get_run, ids)
            assert (stubborn.state, idempotent.state) == ("lost", "queued")
            assert "stopped and could not wait longer than 0 s" in stubborn.reason
            assert f"run {ids[0]} was cut off by the stop; it is lost now" in caplog.text

    def test_the_next_start_reports_what_was_cut_off_and_the_one_after_it_does_not(
        self, scheduler: Scheduler, database_url: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        on(scheduler, jobs.wait, id="stubborn")
        on(scheduler, jobs.note, id="note")
        app = make_app(database_url, scheduler)
        reports, cut_off = [], ""
        for _ in range(3):
            caplog.clear()
            with caplog.at_level(logging.WARNING, "whalefall"), running(app, wait_s=0.1) as state:
                ended(state, state.admin.run_now("note", actor="ada"))  # so it leads, and has looked at what was left
                reports.append([r.getMessage() for r in caplog.records if "the last stop cut off" in r.getMessage()])
                if not cut_off:
                    cut_off = begun(state, "stubborn")
        assert reports == [[], [f"the last stop cut off 1 runs: {cut_off} (lost)"], []]

    def test_what_was_claimed_and_never_began_goes_back_to_the_queue(
        self, scheduler: Scheduler, sqlite_url: str
    ) -> None:
        """Quick runs are claimed ahead of free threads; here the threads are then kept busy."""
        on(scheduler, jobs.wait, id="slow", overlap="allow")
        app = make_app(sqlite_url, scheduler, SCHEDULER_THREADS=1)
        with running(app) as state:
            assert state.runtime is not None
            executor = state.runtime.executors["thread"]
            executor._ahead = 5  # type: ignore[attr-defined]  # as after many quick runs
            executor._looked_s += 1000  # type: ignore[attr-defined]
            ids = [state.admin.run_now("slow", actor="ada") for _ in range(4)]
            wait_until(lambda: [state.admin.get_run(i).state for i in ids] == ["running"] * 4, "all are claimed")
            state.stop(0.1)
            assert [state.admin.get_run(i).state for i in ids] == ["lost", "queued", "queued", "queued"]
            assert state.admin.get_run(ids[1]).attempt == 0


class TestTroubles:
    def test_a_database_that_goes_away_costs_time_and_not_the_scheduler(
        self, scheduler: Scheduler, postgres_url: str, postgres: Any
    ) -> None:
        on(scheduler, jobs.note, id="tick", trigger="interval", seconds=1, catch_up="all", overlap="allow")
        with running(make_app(postgres_url, scheduler)) as state:
            wait_until(lambda: jobs.seen, "it fires")
            postgres.restart()
            count = len(jobs.seen)
            wait_until(lambda: len(jobs.seen) >= count + 2, "it fires again after the restart", timeout_s=30)
            instants = sorted(run.scheduled_at for run in state.admin.list_runs(job_id="tick", limit=500).runs)
        assert instants == [instants[0] + timedelta(seconds=n) for n in range(len(instants))], "none lost, none doubled"

    def test_a_locked_sqlite_file_costs_time_and_not_the_scheduler(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.note, id="tick", trigger="interval", seconds=1)
        app = make_app(sqlite_url, scheduler)
        with running(app) as state:
            wait_until(lambda: jobs.seen, "it fires")
            with state.engine.begin() as connection:  # BEGIN IMMEDIATE: nobody else can write
                since = connection.execute(text("SELECT next_fire_at FROM wf_job")).scalar_one()
                passed = text("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now') > :since")
                wait_until(lambda: connection.execute(passed, {"since": since}).scalar_one(), "a fire is due")
            count = len(jobs.seen)
            wait_until(lambda: len(jobs.seen) > count, "it fires again")

    def test_runs_that_go_on_here_are_not_lost_because_the_ledger_was_away_for_longer_than_their_leases(
        self, scheduler: Scheduler, sqlite_url: str
    ) -> None:
        on(scheduler, jobs.wait, id="long", on_crash="rerun")
        with running(make_app(sqlite_url, scheduler)) as state:
            assert state.runtime is not None
            run_id = state.admin.run_now("long", actor="ada")
            wait_until(lambda: state.admin.get_run(run_id).state == "running", "it runs")
            state.runtime.keeper.stop(5.0)  # what else would renew the leases in time, or not
            end_run_leases(state.ledger)
            alive = (
                "SELECT 1 FROM wf_run WHERE state = 'running' AND lease_until > strftime('%Y-%m-%d %H:%M:%f', 'now')"
            )
            wait_until(
                lambda: rows(state.ledger, alive),
                "the sweeper has left it",
                explain=lambda: str(state.admin.get_run(run_id)),
            )
            jobs.gate.set()
            run = ended(state, run_id)
        assert (run.state, run.attempt) == ("succeeded", 1)

    def test_a_broken_ledger_is_a_sentence(self, scheduler: Scheduler, tmp_path: Path) -> None:
        path = tmp_path / "whalefall.db"
        path.write_bytes(b"this is not a database, but it is long enough to look like one" * 40)
        state = scheduling.of(make_app(f"sqlite:///{path}", scheduler))
        with pytest.raises(scheduling.LedgerUnavailable, match="no SQLite database, or it is damaged"):
            state.admin.list_jobs()

    def test_a_newer_schema_is_refused(self, scheduler: Scheduler, sqlite_url: str) -> None:
        state = scheduling.of(make_app(sqlite_url, scheduler))
        with state.engine.begin() as connection:
            connection.execute(text("UPDATE wf_alembic_version SET version_num = '9999' WHERE version_num LIKE '00%'"))
        again = scheduling.of(make_app(sqlite_url, scheduler))
        with pytest.raises(scheduling.LedgerUnavailable, match="written by a newer whalefall"):
            again.admin.list_jobs()


def test_old_runs_are_forgotten_by_the_leader(scheduler: Scheduler, sqlite_url: str) -> None:
    on(scheduler, jobs.note, id="yearly", keep_runs=2)
    app = make_app(sqlite_url, scheduler, SCHEDULER_TIDY_EVERY_S=1.0)
    with running(app) as state:
        run_ids = [ended(state, state.admin.run_now("yearly", actor="ada")).run_id for _ in range(5)]
        with state.engine.begin() as connection:  # as if they were of the day before yesterday
            connection.execute(
                text("UPDATE wf_run SET scheduled_at = '2020-01-0' || (1 + rowid) || ' 00:00:00.000000'")
            )
        wait_until(lambda: len(state.admin.list_runs().runs) == 2, "three of five were forgotten")
        assert [run.run_id for run in state.admin.list_runs().runs] == run_ids[:2:-1]


class TestAdmin:
    def test_jobs_are_shown_with_all_that_matters(self, scheduler: Scheduler, sqlite_url: str) -> None:
        report = {"args": ["/x"], "expression": "30 6 * * mon-fri", "timezone": "Europe/Berlin"}
        scheduler.task("cron", id="report", name="Report", **report)(jobs.append)
        with running(make_app(sqlite_url, scheduler)) as state:
            [view] = state.admin.list_jobs()
            assert state.admin.get_job("report") == view
        assert (view.id, view.name, view.func, view.func_ref) == (
            "report",
            "Report",
            "append",
            f"{jobs.__name__}:append",
        )
        assert (view.cron_expression, view.timezone, view.source, view.state) == (
            "30 6 * * mon-fri",
            "Europe/Berlin",
            "code",
            "STATE_RUNNING",
        )
        assert view.trigger_args == {
            "second": "0", "minute": "30", "hour": "6", "day": "*", "month": "*", "day_of_week": "mon-fri", "year": "*",
        }  # fmt: skip
        assert view.next_run_time is not None
        assert view.next_run_time.tzinfo is UTC

    def test_jobs_come_in_pages(self, scheduler: Scheduler, database_url: str) -> None:
        for number in range(5):
            on(scheduler, jobs.note, id=f"job{number}", name="Odd" if number % 2 else "Even")
        state = scheduling.of(make_app(database_url, scheduler))
        state.reconcile()
        page = state.admin.page_of_jobs(limit=2, offset=2)
        assert ([view.id for view in page.jobs], page.count) == (["job2", "job3"], 5)
        page = state.admin.page_of_jobs(text="odd")
        assert ([view.id for view in page.jobs], page.count) == (["job1", "job3"], 2)
        assert [view.id for view in state.admin.list_jobs(["job4", "gone", "job0"])] == ["job0", "job4"]
        state.ledger.engine.dispose()

    def test_edit_pause_resume_reset(self, scheduler: Scheduler, database_url: str) -> None:
        on(scheduler, jobs.note, id="yearly")
        with running(make_app(database_url, scheduler)) as state:
            admin = state.admin
            edited = admin.edit_trigger("yearly", "15 30 4 * * * 2099", actor="ada")
            assert (edited.source, edited.cron_expression, edited.code_cron_expression) == (
                "edited",
                "15 30 4 * * * 2099",
                "0 0 1 1 *",
            )
            with pytest.raises(InvalidTrigger, match="the field hour goes from 0 to 23"):
                admin.edit_trigger("yearly", "0 24 * * *", actor="ada")
            until = datetime.now(UTC) + timedelta(days=1)
            paused = admin.pause("yearly", actor="ada", reason="holidays", until=until)
            assert (paused.state, paused.next_run_time, paused.pause_reason) == ("STATE_PAUSED", None, "holidays")
            assert admin.resume("yearly", actor="ada").state == "STATE_RUNNING"
            assert admin.reset_trigger("yearly", actor="ada").source == "code"

    def test_reload_keeps_edits_and_names_what_is_gone(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.note, id="stays")
        on(scheduler, jobs.fail, id="goes")
        with running(make_app(sqlite_url, scheduler)) as state:
            state.admin.edit_trigger("stays", "0 1 * * *", actor="ada")
            del scheduler.declarations["goes"]
            report = state.admin.reload(actor="ada")
            assert (report.deleted, report.reloaded) == (["goes"], ["stays"])
            assert {job.id: job.source for job in state.admin.list_jobs()} == {"goes": "retired", "stays": "edited"}

    def test_a_job_whose_module_is_gone_is_broken_and_heals(
        self, scheduler: Scheduler, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "vanishing.py").write_text("def work(): pass\n")
        import vanishing  # type: ignore[import-not-found]  # made above

        on(scheduler, vanishing.work, id="work")
        with running(make_app(sqlite_url, scheduler)):
            pass
        (tmp_path / "vanishing.py").unlink()
        monkeypatch.delitem(__import__("sys").modules, "vanishing")
        __import__("importlib").invalidate_caches()
        with running(make_app(sqlite_url, Scheduler())) as state:
            broken = state.admin.get_job("work")
            assert broken.source == "broken"
            assert "No module named 'vanishing'" in broken.broken_reason
            with pytest.raises(JobConflict, match="is broken"):
                state.admin.run_now("work", actor="ada")
        with running(make_app(sqlite_url, scheduler)) as state:
            assert state.admin.get_job("work").source == "code"

    def test_preview_shows_the_next_fires(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.note, id="yearly")
        with running(make_app(sqlite_url, scheduler)) as state:
            assert [(fire.month, fire.day) for fire in state.admin.preview("yearly", None, 3)] == [(1, 1)] * 3
            assert len(state.admin.preview("yearly", "*/5 * * * *", 20)) == 20
            assert state.admin.preview("yearly", "0 0 0 1 1 * 2020", 5) == []

    def test_health_is_the_age_of_the_last_tick(self, scheduler: Scheduler, sqlite_url: str) -> None:
        app = make_app(sqlite_url, scheduler)
        state = scheduling.of(app)
        assert (state.admin.health().healthy, state.admin.health().reason) == (False, "no scheduler has ever run")
        with running(app):
            health = state.admin.health()
            assert health.healthy, health
            assert health.last_tick_age_s is not None
        assert state.admin.health().reason.startswith("no scheduler leads since")


class TestSetup:
    def test_an_app_without_a_scheduler_says_so(self) -> None:
        with pytest.raises(SchedulerNotInstalled, match=r"call Scheduler\(app\)"):
            scheduling.of(Flask("bare"))

    def test_one_scheduler_serves_several_apps(self, scheduler: Scheduler, tmp_path: Path) -> None:
        on(scheduler, jobs.note, id="yearly")
        apps = [make_app(f"sqlite:///{tmp_path}/{number}.db", scheduler) for number in range(2)]
        assert scheduling.of(apps[0]) is not scheduling.of(apps[1])
        for app in apps:
            with running(app) as state:
                assert [job.id for job in state.admin.list_jobs()] == ["yearly"]

    def test_a_wrong_number_is_named(self, scheduler: Scheduler, sqlite_url: str) -> None:
        with pytest.raises(ConfigError, match="SCHEDULER_POLL_S: -1 is not a number above 0"):
            make_app(sqlite_url, scheduler, SCHEDULER_POLL_S=-1)

    def test_a_wrong_time_zone_is_named_at_the_start(self, scheduler: Scheduler, sqlite_url: str) -> None:
        on(scheduler, jobs.note, id="yearly")
        state = scheduling.of(make_app(sqlite_url, scheduler, SCHEDULER_TIMEZONE="Mars/Olympus"))
        with pytest.raises(ConfigError, match="SCHEDULER_TIMEZONE: 'Mars/Olympus' is not a time zone"):
            state.start()
        state.ledger.engine.dispose()

    def test_a_wrong_database_is_named(self, scheduler: Scheduler) -> None:
        for url, sentence in (("mysql://x/y", "not in 'mysql'"), ("what", "is no database URL")):
            with pytest.raises(ConfigError, match=sentence):
                _ = scheduling.of(make_app(url, scheduler)).engine

    def test_many_processes_may_start_on_an_empty_database(self, tmp_path: Path, postgres: Any) -> None:
        for url in (f"sqlite:///{tmp_path}/new.db", postgres.new_database()):
            failures: list[BaseException] = []

            def start(url: str = url, failures: list[BaseException] = failures) -> None:
                try:
                    state = scheduling.of(make_app(url, Scheduler()))
                    state.admin.list_jobs()
                    state.ledger.engine.dispose()
                except BaseException as error:  # noqa: BLE001 - shown below
                    failures.append(error)

            threads = [threading.Thread(target=start) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures


def begun(state: scheduling.SchedulerState, job_id: str) -> str:
    """A run of the job that is running now."""
    run_id = state.admin.run_now(job_id, actor="ada")
    wait_until(lambda: state.admin.get_run(run_id).state == "running", f"{job_id} runs")
    return run_id


_left: ContextVar[str] = ContextVar("left", default="nothing")


def _litter() -> None:
    g.litter = True
    _left.set("litter")
    raise ValueError("and it fails")


def _look_around() -> str:
    return f"{hasattr(g, 'litter')}, {_left.get()}, {current_run.job_id}"


def _talk_then_wait() -> None:
    print("step one")  # noqa: T201 - what a job prints is kept
    current_run.progress(0.5, "half")
    jobs.gate.wait(30)


def _limits_of_its_transaction() -> str:
    names = ("idle_in_transaction_session_timeout", "statement_timeout")
    return ", ".join(str(current_run.connection.execute(text(f"SHOW {name}")).scalar()) for name in names)
