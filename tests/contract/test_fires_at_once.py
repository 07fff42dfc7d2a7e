"""A crowd is recorded in few transactions and few statements, a lone fire in one: on both databases."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, update

from tests.support.ledgers import bring_in, declared, lead, opened, rewind, rows
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.fires import NO_OFFER, Offer
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.records import Ending
from whalefall.scheduler.ledger.schema import job

A_MINUTE = timedelta(minutes=1)
PLENTY = Offer({"thread": 10}, lease_s=30)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


class Work:
    """What the database was asked."""

    def __init__(self) -> None:
        self.commits = 0
        self.writes: list[str] = []


@contextmanager
def watched(ledger: Ledger) -> Iterator[Work]:
    work = Work()

    def commit(_connection: Any) -> None:
        work.commits += 1

    def statement(_connection: Any, _cursor: Any, text: str, *_: Any) -> None:
        if text.startswith(("INSERT", "UPDATE", "DELETE")):
            work.writes.append(text.split("(", maxsplit=1)[0].strip())

    event.listen(ledger.engine, "commit", commit)
    event.listen(ledger.engine, "before_cursor_execute", statement)
    try:
        yield work
    finally:
        event.remove(ledger.engine, "commit", commit)
        event.remove(ledger.engine, "before_cursor_execute", statement)


def all_due(ledger: Ledger, count: int) -> None:
    bring_in(ledger, *[declared(f"job{number:05}", "cron", hour=1) for number in range(count)])
    let_be_due(ledger, datetime.now(UTC).replace(microsecond=0) - A_MINUTE)


def let_be_due(ledger: Ledger, moment: datetime) -> None:
    with ledger.writing() as connection:
        connection.execute(update(job).values(next_fire_at=moment))


def test_ten_thousand_due_jobs_are_on_record_after_twenty_transactions(ledger: Ledger) -> None:
    all_due(ledger, 10_000)
    tenure = lead(ledger)
    now = ledger.now()
    with watched(ledger) as work:
        recorded = [ledger.record_fires(tenure, now, 500).jobs for _ in range(20)]
    assert recorded == [500] * 20
    assert work.commits == 20
    assert len(work.writes) == 40, "one INSERT for the runs and one UPDATE for the cursors of each batch"
    assert rows(ledger, "SELECT count(*), count(DISTINCT job_id) FROM wf_run") == [(10_000, 10_000)]
    assert rows(ledger, "SELECT count(*) FROM wf_job WHERE next_fire_at IS NULL") == [(0,)]
    assert ledger.record_fires(tenure, ledger.now(), 500).jobs == 0, "every cursor has moved on"


def test_a_lone_fire_is_recorded_and_claimed_in_one_transaction(ledger: Ledger) -> None:
    bring_in(ledger, declared("tidy"))
    rewind(ledger, "tidy", A_MINUTE)
    tenure = lead(ledger)
    with watched(ledger) as work:
        fired = ledger.fire(tenure, None, 500, PLENTY)
    assert work.commits == 1
    assert len(work.writes) == 2, "the run is never written as waiting"
    [claimed] = fired.claimed
    [run] = ledger.page(Wanted(job_id="tidy"))
    assert claimed.run == run, "what is started is what is on record"
    assert (run.state, run.attempt, run.claimed_by) == (RunState.RUNNING, 1, "me")
    assert ledger.keep_alive("me", [run.run_id], 30) == {run.run_id: False}
    assert ledger.finish("me", [Ending(run.run_id, 1, RunState.SUCCEEDED)]) == [run.run_id]


def test_an_instant_that_is_on_record_is_not_started_again(ledger: Ledger) -> None:
    bring_in(ledger, declared("tidy"), declared("other"))
    for job_id in ("tidy", "other"):
        rewind(ledger, job_id, A_MINUTE)
    tenure = lead(ledger)
    cursor = ledger.job("tidy").next_fire_at
    [first, _] = ledger.fire(tenure, None, 500, PLENTY).claimed
    ledger.finish("me", [Ending(first.run.run_id, 1, RunState.SUCCEEDED)])
    with ledger.writing() as connection:  # as after a failover to a replica that lost the last commit, or by hand
        connection.execute(update(job).where(job.c.job_id == first.run.job_id).values(next_fire_at=cursor))
    assert ledger.fire(tenure, None, 500, PLENTY).claimed == ()
    assert [run.state for run in ledger.page(Wanted(job_id=first.run.job_id))] == [RunState.SUCCEEDED]


def test_no_more_are_claimed_than_there_are_places_and_the_rest_waits(ledger: Ledger) -> None:
    all_due(ledger, 5)
    fired = ledger.fire(lead(ledger), None, 500, Offer({"thread": 2}, lease_s=30))
    assert (fired.jobs, fired.queued, len(fired.claimed)) == (5, 5, 2)
    assert len(ledger.page(Wanted(state="queued"))) == 3


def test_a_full_batch_claims_nothing_because_more_is_due(ledger: Ledger) -> None:
    all_due(ledger, 5)
    assert ledger.fire(lead(ledger), None, 3, PLENTY).claimed == ()


def test_without_an_offer_all_wait_for_those_before_them(ledger: Ledger) -> None:
    all_due(ledger, 2)
    fired = ledger.fire(lead(ledger), None, 500, NO_OFFER)
    assert (fired.queued, fired.claimed) == (2, ())


def test_a_job_beside_its_own_live_run_goes_the_long_way(ledger: Ledger) -> None:
    """Whoever counts slots and the queue's order does it there, once."""
    bring_in(ledger, declared("tidy", "cron", hour=1, overlap="queue"))
    tenure = lead(ledger)
    let_be_due(ledger, ledger.now() - A_MINUTE)
    [running] = ledger.fire(tenure, None, 500, PLENTY).claimed
    let_be_due(ledger, ledger.now() - timedelta(seconds=1))
    fired = ledger.fire(tenure, None, 500, PLENTY)
    assert (fired.queued, fired.claimed) == (1, ())
    assert ledger.claim(tenure, "thread", 10, 30) == [], "its one slot is taken"
    ledger.finish("me", [Ending(running.run.run_id, 1, RunState.SUCCEEDED)])
    assert len(ledger.claim(tenure, "thread", 10, 30)) == 1


def test_a_run_for_an_executor_without_places_waits(ledger: Ledger) -> None:
    bring_in(ledger, declared("tidy", executor="process"))
    rewind(ledger, "tidy", A_MINUTE)
    assert ledger.fire(lead(ledger), None, 500, PLENTY).claimed == ()
    assert len(ledger.page(Wanted(state="queued"))) == 1


def test_a_run_with_jitter_is_not_claimed_before_its_time(ledger: Ledger) -> None:
    bring_in(ledger, declared("tidy", jitter_s=100_000))
    rewind(ledger, "tidy", timedelta(seconds=61))
    assert ledger.fire(lead(ledger), None, 500, PLENTY).claimed == ()
    [run] = ledger.page(Wanted(job_id="tidy"))
    assert run.state is RunState.QUEUED
    assert run.not_before > run.scheduled_at


def test_the_longest_waiting_are_claimed_first(ledger: Ledger) -> None:
    bring_in(ledger, *[declared(f"job{number}", catch_up="all", overlap="allow") for number in range(3)])
    for number in range(3):
        rewind(ledger, f"job{number}", A_MINUTE * (3 - number))
    tenure = lead(ledger)
    ledger.record_fires(tenure, ledger.now(), 500)
    claimed = [one.run.not_before for one in ledger.claim(tenure, "thread", 100, 30)]
    assert claimed == sorted(claimed)
    assert len(claimed) == 6


def test_a_long_reconciliation_is_never_silent_for_long(ledger: Ledger) -> None:
    """PostgreSQL ends a transaction of ours that is idle for 8 s, and a hundred thousand unchanged jobs take longer."""
    crowd = [declared(f"job{number:05}", "cron", hour=1) for number in range(5_000)]
    bring_in(ledger, *crowd)
    asked: list[str] = []
    event.listen(ledger.engine, "before_cursor_execute", lambda _c, _cursor, text, *_: asked.append(text))
    assert bring_in(ledger, *crowd).changed == ()
    looks = [text for text in asked if text.startswith("SELECT") and "FROM" not in text]
    assert len(looks) >= 1 + 2 * (5_000 // 2_000), "the clock is asked on the way, both for new and for known jobs"
