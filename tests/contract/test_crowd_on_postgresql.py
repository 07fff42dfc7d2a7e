"""A crowd in PostgreSQL: rows are locked in one order by all, and nothing that is due is sorted to take a part."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from tests.support.ledgers import bring_in, declared, lead, opened, rows
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger import Ledger, fires, leases
from whalefall.scheduler.ledger.records import Ending, Tenure
from whalefall.scheduler.ledger.schema import job, run

MANY = 3_000
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def ledger(postgres: PostgresServer) -> Iterator[Ledger]:
    with opened(postgres.new_database()) as ledger:
        yield ledger


def all_due(ledger: Ledger, count: int) -> Tenure:
    bring_in(ledger, *[declared(f"job{number:05}", "cron", hour=1) for number in range(count)])
    with ledger.writing() as connection:
        connection.execute(update(job).values(next_fire_at=datetime.now(UTC) - timedelta(minutes=1)))
    return lead(ledger)


def begun(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_ends_and_prolonged_leases_of_the_same_runs_wait_for_each_other_and_no_more(ledger: Ledger) -> None:
    tenure = all_due(ledger, 9)
    ledger.record_fires(tenure, ledger.now(), 9)
    run_ids = [claimed.run.run_id for claimed in ledger.claim(tenure, "thread", 9, 30)]
    failures: list[BaseException] = []

    def noting(work: Callable[[], object]) -> Callable[[], None]:
        def run_it() -> None:
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)

        return run_it

    backwards = [Ending(run_id, 1, RunState.SUCCEEDED, started_s=0.0) for run_id in sorted(run_ids, reverse=True)]
    with ledger.writing() as connection:
        connection.execute(update(run).where(run.c.run_id == sorted(run_ids)[4]).values(note="held"))
        ends = begun(noting(lambda: ledger.finish("me", backwards)))
        wait_until(lambda: rows(ledger, WAITING) == [(1,)], "the ends wait for the row that is held")
        leases_ = begun(noting(lambda: ledger.keep_alive("me", sorted(run_ids), 30)))
        wait_until(lambda: rows(ledger, WAITING) == [(2,)], "the leases wait as well")
    for thread in (ends, leases_):
        thread.join(20)
        assert not thread.is_alive()
    assert failures == []
    assert rows(ledger, "SELECT state, count(*) FROM wf_run GROUP BY state") == [("succeeded", 9)]


def test_a_part_of_what_is_due_is_taken_from_the_index(ledger: Ledger) -> None:
    """Of a table that was never analysed, as it is on the day of the first deploy."""
    tenure = all_due(ledger, MANY)
    query = fires._DUE.compile(dialect=ledger.engine.dialect)
    with ledger.writing() as connection:
        now = leases.prove(connection, tenure)
        plan = connection.exec_driver_sql(f"EXPLAIN {query}", {**query.params, "now": now, "most": 500}).scalars().all()
    assert not [line for line in plan if "Sort" in line], plan
    assert [line for line in plan if "wf_job_due" in line], plan
