"""What a wrong clock and a deleted job leave behind, on both databases."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, update

from tests.support.ledgers import bring_in, declared, lead, opened, rows
from whalefall.scheduler.housekeeping import forget_old_runs
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.schema import job, lease, run


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


def lease_ends(ledger: Ledger, at: datetime) -> None:
    with ledger.writing() as connection:
        connection.execute(update(lease).values(expires_at=at))


def test_a_lease_from_a_clock_that_was_set_back_is_not_waited_for(ledger: Ledger) -> None:
    first = lead(ledger, "a", ttl_s=10)
    lease_ends(ledger, datetime.now(UTC) + timedelta(hours=2))
    second = ledger.take_lease("b", 10)
    assert second is not None
    assert second.term == first.term + 1


def test_a_lease_of_a_replica_with_a_longer_time_is_respected(ledger: Ledger) -> None:
    lead(ledger, "a", ttl_s=25)
    assert ledger.take_lease("b", 10) is None


def test_the_history_of_a_deleted_job_is_forgotten_with_time(ledger: Ledger) -> None:
    bring_in(ledger, declared("gone"), declared("kept"))
    for name in ("gone", "kept"):
        ledger.run_now(name, actor="me", args=None, reason="", dedupe=None)
    with ledger.writing() as connection:
        connection.execute(delete(job).where(job.c.job_id == "gone"))
    assert forget_old_runs(ledger) == 0, "it is young"
    long_ago = datetime.now(UTC) - timedelta(days=31)
    with ledger.writing() as connection:
        connection.execute(
            update(run).values(state="succeeded", scheduled_at=long_ago, created_at=long_ago, finished_at=long_ago)
        )
    assert forget_old_runs(ledger) >= 1
    assert ("gone",) not in rows(ledger, "select distinct job_id from wf_run")
