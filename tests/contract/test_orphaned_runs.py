"""A run whose job is gone, and whose runner dies too: somebody must still end it."""

from collections.abc import Iterator

import pytest
from sqlalchemy import delete

from tests.support.ledgers import bring_in, declared, end_run_leases, lead, opened
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import JobRecord, Tenure
from whalefall.scheduler.ledger.schema import job


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


def begun(ledger: Ledger, tenure: Tenure, job_id: str) -> str:
    run_id = ledger.run_now(job_id, actor="a test", args=None, reason="", dedupe=None)
    assert [claimed.run.run_id for claimed in ledger.claim(tenure, "thread", 10, 60)] == [run_id]
    return run_id


def remove_row(ledger: Ledger, job_id: str) -> None:
    """As somebody does it who has a shell of the database."""
    with ledger.writing() as connection:
        connection.execute(delete(job).where(job.c.job_id == job_id))


def test_the_run_of_a_job_that_was_deleted_is_swept(ledger: Ledger) -> None:
    tenure = lead(ledger)
    record = JobRecord.of(declared("added", on_crash="rerun"), timezone="UTC", now=ledger.now(), origin="api")
    ledger.add_job(record, "a test", replace_existing=False)
    run_id = begun(ledger, tenure, "added")
    ledger.delete("added", "a test")
    end_run_leases(ledger)
    assert ledger.sweep(tenure) == [(run_id, RunState.LOST)]
    assert ledger.sweep(tenure) == []
    assert ledger.run(run_id).reason == "lost: its runner me stopped reporting"


def test_the_run_of_a_job_whose_row_was_removed_by_hand_is_swept(ledger: Ledger) -> None:
    bring_in(ledger, declared("by_hand", on_crash="rerun"))
    tenure = lead(ledger)
    run_id = begun(ledger, tenure, "by_hand")
    remove_row(ledger, "by_hand")
    assert ledger.sweep(tenure) == [], "its lease lives"
    assert ledger.sweep(tenure, is_dead=lambda holder: holder == "me") == [(run_id, RunState.LOST)]


def test_a_stop_ends_the_run_of_a_job_that_was_deleted(ledger: Ledger) -> None:
    bring_in(ledger, declared("by_hand", on_crash="rerun"))
    tenure = lead(ledger)
    run_id = begun(ledger, tenure, "by_hand")
    remove_row(ledger, "by_hand")
    assert ledger.cut_off("me", [run_id], "the stop could not wait") == [(run_id, RunState.LOST)]


@pytest.mark.parametrize(("on_crash", "then"), [("mark", RunState.LOST), ("rerun", RunState.QUEUED)])
def test_the_run_of_a_job_that_is_gone_from_the_code_ends_as_it_had_declared(
    ledger: Ledger, on_crash: str, then: RunState
) -> None:
    bring_in(ledger, declared("stays"), declared("goes", on_crash=on_crash))
    tenure = lead(ledger)
    run_id = begun(ledger, tenure, "goes")
    bring_in(ledger, declared("stays"))
    end_run_leases(ledger)
    assert ledger.sweep(tenure) == [(run_id, then)]
