"""An existing apscheduler_jobs table, made by APScheduler itself."""

import io
import os
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import create_engine, text

from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import make_app
from whalefall import Scheduler
from whalefall.compat.apscheduler_jobs import _HarmlessUnpickler, import_jobs
from whalefall.errors import UsageError
from whalefall.scheduler import SchedulerState, of


@pytest.fixture
def state(sqlite_url: str) -> SchedulerState:
    return of(make_app(sqlite_url, Scheduler()))


@pytest.fixture
def old(tmp_path: Path) -> str:
    """The URL of a database that APScheduler has used."""
    url = f"sqlite:///{tmp_path}/old.db"
    store = SQLAlchemyJobStore(url)
    scheduler = BackgroundScheduler(jobstores={"default": store}, timezone="Europe/Berlin")
    scheduler.add_job(jobs.note, "cron", day_of_week="0-4", hour=6, id="cron", name="Morning", kwargs={"x": 1})
    scheduler.add_job(jobs.note, "interval", minutes=5, id="interval", coalesce=False, max_instances=2)
    scheduler.add_job(jobs.note, "date", run_date="2035-01-01 12:00:00", id="date")
    scheduler.add_job(jobs.note, "cron", hour=6, id="stopped", misfire_grace_time=30)
    scheduler.start(paused=True)
    scheduler.pause_job("stopped")
    scheduler.shutdown()
    store.engine.dispose()
    return url


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/whalefall-was-here",)


def test_jobs_keep_their_meaning(state: SchedulerState, old: str) -> None:
    assert [(one.job_id, one.refused) for one in import_jobs(state, old, actor="ada", dry_run=False)] == [
        ("cron", ""),
        ("date", ""),
        ("interval", ""),
        ("stopped", ""),
    ]
    cron, date, interval, stopped = (state.admin.get_job(job_id) for job_id in ("cron", "date", "interval", "stopped"))
    assert (cron.name, cron.kwargs, cron.timezone, cron.source) == ("Morning", {"x": 1}, "Europe/Berlin", "added")
    assert cron.trigger_words == "at 06:00, Monday to Friday"
    assert (interval.trigger_words, interval.coalesce, interval.max_instances) == ("every 5 minutes", False, 2)
    assert str(date.next_run_time) == "2035-01-01 11:00:00+00:00"
    assert (stopped.state, stopped.pause_reason, stopped.paused_by) == (
        "STATE_PAUSED",
        "it was paused in APScheduler",
        "ada",
    )
    assert (stopped.misfire_grace_time, cron.misfire_grace_time) == (30, 1)


def test_an_interval_goes_on_in_step(state: SchedulerState, old: str) -> None:
    engine = create_engine(old)
    with engine.connect() as connection:
        query = text("SELECT next_run_time FROM apscheduler_jobs WHERE id = 'interval'")
        stored = connection.execute(query).scalar_one()
        theirs = datetime.fromtimestamp(round(stored, 6), UTC)
    engine.dispose()
    list(import_jobs(state, old, actor="ada", dry_run=False))
    ours = state.admin.get_job("interval").next_run_time
    assert ours is not None
    assert (ours - theirs) % timedelta(minutes=5) == timedelta()


def test_a_second_time_and_a_trial_change_nothing(state: SchedulerState, old: str) -> None:
    assert not any(one.refused for one in import_jobs(state, old, actor="ada", dry_run=True))
    assert state.admin.list_jobs() == []
    list(import_jobs(state, old, actor="ada", dry_run=False))
    assert all("already" in one.refused for one in import_jobs(state, old, actor="ada", dry_run=False))


def test_a_pickle_that_wants_to_run_code_is_refused(state: SchedulerState, old: str) -> None:
    engine = create_engine(old)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE apscheduler_jobs SET job_state = :state WHERE id = 'cron'"), {"state": pickle.dumps(Evil())}
        )
    engine.dispose()
    refused = {one.job_id: one.refused for one in import_jobs(state, old, actor="ada", dry_run=False)}
    assert "posix.system, which no job needs" in refused["cron"]
    assert refused["date"] == refused["interval"] == ""
    assert not Path("/tmp/whalefall-was-here").exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("apscheduler.triggers.cron", "convert_to_datetime"),
        ("apscheduler.util", "ref_to_obj"),
        ("apscheduler.triggers.combining", "ref_to_obj"),
        ("zoneinfo", "ZoneInfo.from_file"),
        ("subprocess", "Popen"),
    ],
)
def test_nothing_but_what_a_job_consists_of_can_be_made(module: str, name: str) -> None:
    with pytest.raises(pickle.UnpicklingError, match="which no job needs"):
        _HarmlessUnpickler(io.BytesIO(b"")).find_class(module, name)


def test_another_table_is_asked_for(state: SchedulerState, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no table 'apscheduler_jobs'"):
        list(import_jobs(state, f"sqlite:///{tmp_path}/empty.db", actor="ada", dry_run=False))
