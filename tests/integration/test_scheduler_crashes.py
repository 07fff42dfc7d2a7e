"""Killed at every step between "due" and "finished": afterwards everything is on record once, and ran as promised.

Judged by two witnesses: the ledger, and a file outside it in which the jobs wrote a line at each start.
"""

import signal
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.crashing import crash_app, live_until_killed, spawn
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import running
from tests.support.ledgers import age, end_lease, end_run_leases
from tests.support.waiting import wait_until
from whalefall import scheduler as scheduling
from whalefall.scheduler.checkpoints import STEPS
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.verify import verify

MISSED = 3  # instants of each job that are due when the scheduler starts


def starts(record: Path) -> Counter[tuple[str, float]]:
    """How often each (job, nominal time) was started, as the jobs themselves wrote."""
    lines = record.read_text().splitlines() if record.exists() else []
    return Counter((job, float(instant)) for job, instant, *_ in (line.split() for line in lines))


def assert_sound(ledger: Ledger, record: Path, nothing_began: bool = False) -> None:
    now = ledger.now()
    report = verify(ledger, now - timedelta(hours=1), now)
    assert report.problems == ()
    assert report.expected >= 2 * MISSED
    counted = starts(record)
    for run in ledger.page(Wanted(limit=1000)):
        times = counted[run.job_id, run.scheduled_at.timestamp()]
        if run.job_id == "once":
            assert times <= 1, f"a job that may not run twice did: {run}"
            assert run.state in ("succeeded", "lost"), run
            assert times == 1 or run.state == "lost", f"on record as done, and was not: {run}"
            assert times == 1 or not nothing_began, f"it was only claimed, so it goes back to the queue: {run}"
        else:
            assert times >= 1, f"an idempotent job was not run: {run}"
            assert run.state == "succeeded", run


def nothing_is_due(ledger: Ledger) -> bool:
    peek = ledger.peek("")
    return peek.next_fire_at is not None and peek.next_fire_at > peek.now


def test_a_successor_on_the_same_host_waits_for_no_lease(sqlite_url: str, tmp_path: Path) -> None:
    """Leases of an hour: only the knowledge that the process is gone can end them within this test."""
    record = tmp_path / "record"
    hour = {"SCHEDULER_LEASE_TTL_S": 3600.0, "SCHEDULER_RUN_LEASE_S": 3600.0}
    app = crash_app(sqlite_url, str(record), **hour)
    state = scheduling.of(app)
    state.reconcile()
    for job_id in ("once", "idempotent"):
        age(state.ledger, job_id, timedelta(minutes=MISSED))
    process = spawn(live_until_killed, sqlite_url, str(record), "run.started", hour)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    with running(app):
        wait_until(lambda: nothing_is_due(state.ledger) and not state.ledger.alive_runs(), "everything is settled")
    assert_sound(state.ledger, record)
    state.ledger.engine.dispose()


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_loses_nothing_and_doubles_nothing(step: str, database_url: str, tmp_path: Path) -> None:
    record = tmp_path / "record"
    app = crash_app(database_url, str(record))
    state = scheduling.of(app)
    state.reconcile()
    for job_id in ("once", "idempotent"):
        age(state.ledger, job_id, timedelta(minutes=MISSED))

    process = spawn(live_until_killed, database_url, str(record), step)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL, f"the step {step} was never reached"

    end_lease(state.ledger)  # instead of waiting for it to run out
    end_run_leases(state.ledger)
    with running(app):
        wait_until(
            lambda: nothing_is_due(state.ledger) and not state.ledger.alive_runs(),
            "the next scheduler has settled everything",
            explain=lambda: str(state.admin.list_runs()),
        )
    assert_sound(state.ledger, record, nothing_began=STEPS.index(step) <= STEPS.index("claim.committed"))
    state.ledger.engine.dispose()
