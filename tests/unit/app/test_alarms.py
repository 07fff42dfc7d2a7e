"""What the watchman sees is told by API, metric and log, from a process that runs no scheduler and sends nothing.

Missed, overdue, failing, slower than usual, nobody who leads: each is made in a real ledger and found in each place.
"""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import update

from tests.support.ledgers import declared, end_lease, lead, rewind
from tests.support.waiting import wait_until
from tests.unit.app.conftest import Visitor
from whalefall.app.notify.crew import Crew, Pace
from whalefall.app.notify.worker import crew_of
from whalefall.app.store.tables import notices
from whalefall.scheduler import SchedulerState, of
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger.records import Ending, Tenure
from whalefall.scheduler.ledger.schema import run as run_table

EACH = {("overdue", "late"), ("failing", "fails"), ("slow", "crawls"), ("missed", "misses")}
TOLD = {"missed: late", "failed: fails", "slow: crawls", "missed: misses"}


@pytest.fixture
def state(app: Flask) -> SchedulerState:
    state = of(app)
    state.declarations.clear()  # the built-in jobs are due at full minutes, and nobody fires them here
    for one in (declared("late"), declared("fails"), declared("crawls"), declared("misses", catch_up="skip")):
        state.declarations[one.job_id] = one
    state.reconcile()
    return state


@pytest.fixture
def tenure(state: SchedulerState) -> Tenure:
    """Whoever leads has seen all of it but what is late."""
    tenure = lead(state.ledger, ttl_s=600)
    _run(state, tenure, "fails", RunState.FAILED)
    for _ in range(5):
        _run(state, tenure, "crawls", RunState.SUCCEEDED)
    run_id = _begin(state, tenure, "crawls")
    with state.ledger.writing() as connection:
        began = state.ledger.now() - timedelta(seconds=90)
        connection.execute(update(run_table).where(run_table.c.run_id == run_id).values(started_at=began))
    rewind(state.ledger, "misses", timedelta(minutes=30))
    state.ledger.record_fires(tenure, state.ledger.now(), 100)
    rewind(state.ledger, "late", timedelta(minutes=3))
    return tenure


@pytest.fixture
def crew(state: SchedulerState, tenure: Tenure) -> Iterator[Crew]:
    """As each worker has it, where the settings name no receiver; it looks when all of it is there."""
    crew = crew_of(state, Pace(look_every_s=0.1))
    crew.start()
    yield crew
    crew.stop(10.0)


def _begin(state: SchedulerState, tenure: Tenure, job_id: str) -> str:
    run_id = state.ledger.run_now(job_id, actor="a test", args=None, reason="", dedupe=None)
    assert [each.run.run_id for each in state.ledger.claim(tenure, "thread", 10, 60)] == [run_id]
    return run_id


def _run(state: SchedulerState, tenure: Tenure, job_id: str, ending: RunState) -> None:
    run_id = _begin(state, tenure, job_id)
    assert state.ledger.finish(tenure.holder, [Ending(run_id, 1, ending, error="ValueError: no shelf")])


def shown(visitor: Visitor) -> set[tuple[str, str]]:
    answer = visitor.get("/api/v1/health").json
    found = (answer.get("data") or answer["extra"])["alarms"]
    assert all(alarm["text"].endswith((".", "no shelf")) and datetime.fromisoformat(alarm["since"]) for alarm in found)
    return {(alarm["kind"], alarm["job_id"]) for alarm in found}


def test_a_scrape_counts_each_of_them(state: SchedulerState, tenure: Tenure, viewer: Visitor) -> None:
    def counted() -> dict[str, float]:
        lines = [line for line in viewer.get("/metrics").text.splitlines() if line.startswith("whalefall_alarms{")]
        return {line.split('"')[1]: float(line.split()[-1]) for line in lines}

    nobody_sees = {"no_leader", "hung", "clock", "waiting", "broken"}
    found = counted()
    assert {kind for kind, number in found.items() if number} == {kind for kind, _ in EACH}
    assert {kind for kind, number in found.items() if not number} == nobody_sees
    end_lease(state.ledger)
    assert counted()["no_leader"] == 1


def test_the_api_shows_each_of_them(state: SchedulerState, tenure: Tenure, viewer: Visitor) -> None:
    assert shown(viewer) == EACH
    end_lease(state.ledger)
    assert shown(viewer) == EACH | {("no_leader", "")}


@pytest.mark.usefixtures("crew")
def test_the_log_tells_each_of_them_once_without_a_receiver(
    state: SchedulerState, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        lines = [record.getMessage() for record in caplog.records if record.name == "whalefall.notify"]
        return [": ".join(line.split(": ")[:2]) for line in lines]

    caplog.set_level(logging.INFO, "whalefall.notify")
    wait_until(lambda: len(told()) >= 3, "what is no moment's noise is told at once", explain=lambda: caplog.text)
    wait_until(lambda: _is_seen(state, "overdue"), "somebody sees what is late")
    _as_if_seen_a_minute_ago(state)
    wait_until(lambda: set(told()) == TOLD, "what is late has been late for long enough", explain=lambda: caplog.text)
    end_lease(state.ledger)
    wait_until(lambda: _is_seen(state, "no_leader"), "somebody sees that nobody leads")
    _as_if_seen_a_minute_ago(state)
    wait_until(lambda: "missed: the scheduler" in told(), "nobody has led for long enough", explain=lambda: caplog.text)
    assert sorted(set(told())) == sorted(told()), "each once"


def _as_if_seen_a_minute_ago(state: SchedulerState) -> None:
    """What may be a moment's noise is told when it is seen again a while later."""
    with state.ledger.writing() as connection:
        connection.execute(update(notices).values(seen_at=datetime.now(UTC) - timedelta(minutes=1)))


def _is_seen(state: SchedulerState, kind: str) -> bool:
    with state.ledger.reading() as connection:
        return connection.execute(notices.select().where(notices.c.kind == kind)).first() is not None
