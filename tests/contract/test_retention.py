"""What is forgotten and what is kept: by number, by age, by the catch-up window; a run with all that hangs on it."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import update

from tests.support.ledgers import age, bring_in, declared, lead, opened, rows
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.housekeeping import forget_old_runs
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.records import Ending
from whalefall.scheduler.ledger.schema import event, job, run

DAY = timedelta(days=1)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


def lived(ledger: Ledger, **policies: object) -> None:
    """A job with one run a day, the first of them 100 days ago; all have succeeded."""
    bring_in(ledger, declared("daily", minutes=24 * 60, catch_up="all", overlap="allow", **policies))
    age(ledger, "daily", 100 * DAY)
    ledger.record_fires(lead(ledger), ledger.now(), 10)
    claimed = ledger.claim(lead(ledger), "thread", 200, 30)
    assert len(claimed) == 100
    ledger.finish("me", [Ending(one.run.run_id, 1, RunState.SUCCEEDED) for one in claimed])
    with ledger.writing() as connection:  # written when they were due
        connection.execute(update(run).values(created_at=run.c.scheduled_at))


def kept(ledger: Ledger) -> int:
    return len(ledger.page(Wanted(job_id="daily", limit=1000)))


def test_by_age(ledger: Ledger) -> None:
    lived(ledger, keep_days=30)
    assert forget_old_runs(ledger) == 100 - kept(ledger)
    assert kept(ledger) == 30
    oldest = ledger.page(Wanted(job_id="daily", limit=1000))[-1]
    assert ledger.now() - oldest.scheduled_at < 30 * DAY


def test_by_number(ledger: Ledger) -> None:
    lived(ledger, keep_runs=7, keep_days=1000)
    assert forget_old_runs(ledger) == 93
    assert kept(ledger) == 7


def test_by_default_ninety_days_of_a_thousand(ledger: Ledger) -> None:
    lived(ledger)
    forget_old_runs(ledger)
    assert kept(ledger) == 90


def test_the_catch_up_window_is_kept_whatever_the_job_says(ledger: Ledger) -> None:
    """The fire key lives as long as its row: what might still be due must not lose it."""
    lived(ledger, keep_runs=1, keep_days=0)
    forget_old_runs(ledger)
    assert kept(ledger) == 1, "the one of the last day"


def test_of_a_scheduler_that_was_away_for_long_nothing_since_is_forgotten(ledger: Ledger) -> None:
    lived(ledger, keep_runs=1, keep_days=0)
    with ledger.writing() as connection:
        connection.execute(update(job).values(next_fire_at=ledger.now() - 50 * DAY))
    forget_old_runs(ledger)
    assert kept(ledger) == 51, "50 days, and the window before them"


def test_a_run_takes_its_attempts_along(ledger: Ledger) -> None:
    bring_in(ledger, declared("daily", minutes=24 * 60, retries=1))
    age(ledger, "daily", 3 * DAY)
    ledger.record_fires(lead(ledger), ledger.now(), 10)
    for number in (1, 2):
        [claimed] = ledger.claim(lead(ledger), "thread", 10, 30)
        again = 0.0 if number == 1 else None
        ledger.finish("me", [Ending(claimed.run.run_id, number, RunState.FAILED, retry_in_s=again)])
    assert rows(ledger, "SELECT count(*) FROM wf_attempt") == [(1,)]
    with ledger.writing() as connection:
        long_ago = ledger.now() - 100 * DAY
        connection.execute(update(run).where(run.c.attempt > 0).values(scheduled_at=long_ago, created_at=long_ago))
    forget_old_runs(ledger)
    assert rows(ledger, "SELECT count(*) FROM wf_attempt") == [(0,)]


def test_old_changes_of_leadership_go_and_what_happened_to_jobs_stays(ledger: Ledger) -> None:
    """Without it `verify` and `jobs why` would no longer know what to expect."""
    bring_in(ledger, declared("daily"))
    ledger.pause("daily", "ada", "", None)
    lead(ledger)
    assert len(ledger.events_of("", ["led"])) == 1
    with ledger.writing() as connection:
        connection.execute(update(event).values(at=ledger.now() - 200 * DAY))
    forget_old_runs(ledger)
    assert ledger.events_of("", ["led"]) == []
    assert [each.kind for each in ledger.events_of("daily")] == ["schedule", "paused"]


def test_a_live_run_stays_however_old_it_is(ledger: Ledger) -> None:
    lived(ledger, keep_runs=1, keep_days=0)
    oldest = ledger.page(Wanted(job_id="daily", limit=1000))[-1].run_id
    with ledger.writing() as connection:
        connection.execute(update(run).where(run.c.run_id == oldest).values(state="running", finished_at=None))
    forget_old_runs(ledger)
    assert ledger.run(oldest).state is RunState.RUNNING
