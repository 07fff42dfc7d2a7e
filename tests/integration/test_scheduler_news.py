"""What the ledger tells of runs is what it has on record, whichever way a run was recorded or ended."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest

from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import ended, make_app, running
from tests.support.ledgers import age, bring_in, declared, end_run_leases, lead, opened, rows
from tests.support.waiting import wait_until
from whalefall import Scheduler
from whalefall import scheduler as scheduling
from whalefall.scheduler import SchedulerState
from whalefall.scheduler.core.runs import FINAL, RunState, Source
from whalefall.scheduler.errors import JobConflict, LedgerUnavailable
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.news import Ended, News, Recorded
from whalefall.scheduler.ledger.records import Ending

YEARLY = {"month": 1, "day": 1}  # declared, and not due while the test runs
MINUTES = 250  # of instants that nobody looked at: more than get a row each


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with jobs.fresh():
        yield


def fails() -> None:
    raise ValueError("as it was told to")


def assert_told_what_is_on_record(told: list[News], ledger: Ledger) -> Counter[tuple[str, str]]:
    """Answers the rows by job and state."""
    on_record: Counter[tuple[str, str]] = Counter()
    timed: Counter[str] = Counter()
    started: Counter[str] = Counter()
    expected: Counter[str] = Counter()  # instants: runs by hand are not
    by_hand: Counter[str] = Counter()
    query = "SELECT job_id, state, source, span_count, started_at, finished_at, attempt FROM wf_run"
    for job_id, state, source, count, started_at, finished_at, attempt in rows(ledger, query):
        on_record[job_id, state] += int(count)
        expected[job_id] += int(count) * (source == Source.SCHEDULE)
        by_hand[job_id] += source == Source.MANUAL and state in FINAL
        timed[job_id] += bool(state in FINAL and state != RunState.LOST and started_at and finished_at)
        started[job_id] += bool(attempt > 1 or (state in FINAL and started_at))
    recorded = [each for each in told if isinstance(each, Recorded)]
    endings = [each for each in told if isinstance(each, Ended)]
    assert sum((Counter({each.job_id: each.count}) for each in recorded), Counter()) == +expected
    assert Counter(e.job_id for e in endings if e.source == Source.MANUAL and e.state in FINAL) == +by_hand
    ends = sum((Counter({(e.job_id, str(e.state)): e.count}) for e in recorded if e.state in FINAL), Counter())
    ends += Counter((each.job_id, str(each.state)) for each in endings if each.state in FINAL)
    assert ends == Counter({key: count for key, count in on_record.items() if key[1] in FINAL})
    assert +Counter(each.job_id for each in endings if each.took_s is not None) == +timed
    assert +Counter(each.job_id for each in endings if each.late_s is not None) == +started
    return on_record


def watched(state: SchedulerState) -> list[News]:
    told: list[News] = []
    state.watchers.append(told.extend)
    return told


def test_fires_skips_retries_and_transactions(database_url: str) -> None:
    scheduler = Scheduler()
    scheduler.task("interval", id="often", minutes=1)(jobs.what_is_the_run)
    scheduler.task("interval", id="late", minutes=1, misfire_grace_s=0.001)(jobs.what_is_the_run)
    scheduler.task("cron", id="stubborn", retries=2, retry_delay_s=0.01, **YEARLY)(fails)
    scheduler.task("cron", id="tx", transactional=True, **YEARLY)(jobs.write_in_the_ledgers_transaction)
    scheduler.task("cron", id="broken-tx", transactional=True, **YEARLY)(fails)
    app = make_app(database_url, scheduler)
    state = scheduling.of(app)
    state.reconcile()
    told = watched(state)
    for job_id in ("often", "late"):
        age(state.ledger, job_id, timedelta(minutes=MINUTES))
    with state.ledger.writing() as connection:
        connection.exec_driver_sql("CREATE TABLE shop (run_id TEXT)")
    with running(app):
        run_ids = [state.admin.run_now(job_id, actor="a test") for job_id in ("stubborn", "tx", "broken-tx")]
        for run_id in run_ids:
            ended(state, run_id)
        wait_until(lambda: ("often", "succeeded") in {(e.job_id, str(e.state)) for e in told}, "the newest one ran")
        wait_until(lambda: not state.ledger.alive_runs(), "all has ended")
        found = assert_told_what_is_on_record(told, state.ledger)
    assert found["often", "succeeded"] >= 1
    assert found["often", "skipped_late"] >= MINUTES - 1
    assert found["late", "skipped_late"] >= MINUTES
    missed = sum((Counter({e.job_id: e.count}) for e in told if isinstance(e, Recorded) and e.is_miss), Counter())
    assert missed == {"late": found["late", "skipped_late"]}, "where a newer one ran, nothing is amiss"
    assert found["stubborn", "failed"] == 1
    assert found["tx", "succeeded"] == 1
    assert found["broken-tx", "failed"] == 1
    late_s = [each.late_s for each in told if isinstance(each, Ended) and each.job_id == "stubborn"]
    assert [late is not None for late in late_s] == [True, False, False], "the first attempt's start, not a later one's"


def test_what_people_do(database_url: str) -> None:
    told: list[News] = []
    with opened(database_url, watchers=[told.extend]) as ledger:
        bring_in(ledger, *(declared(job_id) for job_id in ("cancelled", "edited", "deleted", "retired", "forwarded")))
        for job_id in ("edited", "deleted", "retired", "forwarded"):
            age(ledger, job_id, timedelta(minutes=3))
        ids = [
            ledger.run_now("cancelled", actor="a test", args=None, reason="", dedupe=dedupe)
            for dedupe in ("twice", "twice", None)
        ]
        assert ids[0] == ids[1]
        ledger.cancel(ids[0], "a test")
        with pytest.raises(JobConflict):
            ledger.cancel(ids[0], "a test")
        ledger.edit_trigger("edited", {"type": "interval", "seconds": 3600}, "a test")
        ledger.delete("deleted", "a test")
        bring_in(ledger, *(declared(job_id) for job_id in ("cancelled", "edited", "forwarded")))
        ledger.fast_forward("a test")
        found = assert_told_what_is_on_record(told, ledger)
    assert found["cancelled", "cancelled"] == 1
    assert found["cancelled", "queued"] == 1
    for job_id in ("edited", "deleted", "retired", "forwarded"):
        assert found[job_id, "skipped_edited"] >= 3, job_id


def test_runs_whose_runner_is_gone_cut_off_or_given_up(database_url: str) -> None:
    told: list[News] = []
    with opened(database_url, watchers=[told.extend]) as ledger:
        bring_in(ledger, declared("swept"), declared("again", on_crash="rerun", retries=1), declared("cut"))
        for job_id in ("swept", "again", "cut"):
            ledger.run_now(job_id, actor="a test", args=None, reason="", dedupe=None)
        tenure = lead(ledger)
        claimed = {one.run.job_id: one.run for one in ledger.claim(tenure, "thread", 10, 60)}
        ledger.cut_off("me", [claimed["cut"].run_id], "the stop")
        end_run_leases(ledger)
        assert len(ledger.sweep(tenure)) == 2
        late = Ending(claimed["swept"].run_id, 1, RunState.SUCCEEDED)
        assert ledger.finish("me", [late]) == [], "fenced off, and so not told"
        again = ledger.claim(tenure, "thread", 10, 60)
        ledger.finish("me", [Ending(one.run.run_id, one.run.attempt, RunState.SUCCEEDED) for one in again])
        found = assert_told_what_is_on_record(told, ledger)
    assert found == {("swept", "lost"): 1, ("cut", "lost"): 1, ("again", "succeeded"): 1}


def test_of_a_transaction_that_was_rolled_back_nothing_is_told(database_url: str) -> None:
    told: list[News] = []
    with opened(database_url, watchers=[told.extend]) as ledger:
        bring_in(ledger, declared("one"))
        run_id = ledger.run_now("one", actor="a test", args=None, reason="", dedupe=None)
        ledger.claim(lead(ledger), "thread", 10, 60)
        told.clear()
        with pytest.raises(ValueError, match="told to"):
            _end_and_fail(ledger, run_id)
        assert told == []
        with ledger.writing_for_a_job(60) as connection:
            ledger.finish_within(connection, Ending(run_id, 1, RunState.SUCCEEDED), "me")
        assert [(each.job_id, each.state) for each in told] == [("one", RunState.SUCCEEDED)]


def test_a_connection_that_is_lost_is_the_database_that_does_not_answer(postgres_url: str) -> None:
    """Gathering must not put an error of its own in the place of that one, which everybody knows how to bear."""
    told: list[News] = []
    with opened(postgres_url, watchers=[told.extend]) as ledger:
        bring_in(ledger, declared("one"))
        with pytest.raises(LedgerUnavailable):
            _lose_the_connection(ledger)
        run_id = ledger.run_now("one", actor="a test", args=None, reason="", dedupe=None)
        ledger.cancel(run_id, "a test")
    assert [each.state for each in told] == [RunState.CANCELLED]


def _lose_the_connection(ledger: Ledger) -> None:
    with ledger.writing() as connection:
        connection.exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")


def _end_and_fail(ledger: Ledger, run_id: str) -> None:
    with ledger.writing_for_a_job(60) as connection:
        ledger.finish_within(connection, Ending(run_id, 1, RunState.SUCCEEDED), "me")
        fails()


def test_a_celery_worker_tells_what_it_ends(sqlite_url: str) -> None:
    over_celery = pytest.importorskip("whalefall.scheduler.executors.celery")
    scheduler = Scheduler()
    scheduler.task("cron", id="there", **YEARLY)(fails)
    state = scheduling.of(make_app(sqlite_url, scheduler))
    state.reconcile()
    told = watched(state)
    worker = over_celery.Worker(state)
    try:
        worker.run(state.admin.run_now("there", actor="a test"))
    finally:
        worker.close()
    found = assert_told_what_is_on_record(told, state.ledger)
    assert found == {("there", "failed"): 1}
    state.ledger.engine.dispose()


def test_a_watcher_that_fails_fails_alone(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    scheduler = Scheduler()
    scheduler.task("cron", id="one", **YEARLY)(fails)
    state = scheduling.of(make_app(sqlite_url, scheduler))
    state.reconcile()
    state.watchers.append(lambda _news: fails())
    told = watched(state)
    state.admin.cancel_run(state.admin.run_now("one", actor="a test"), actor="a test")
    assert len(told) == 1
    assert "a watcher of the ledger failed" in caplog.text
    state.ledger.engine.dispose()
