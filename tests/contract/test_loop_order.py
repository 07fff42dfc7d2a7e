"""The order within a turn of the loop: what is due is on record, then it looks, then it starts, then it has turned.

The loop is the real one, on a real ledger that notes what it was asked; who leads is settled.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.support.ledgers import bring_in, declared, lead, opened, rewind
from tests.support.waiting import wait_until
from whalefall.scheduler.clocks import elapsed_s
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.executors import Executor
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.dialects import clock_after
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.records import ClaimedRun, Tenure
from whalefall.scheduler.ledger.schema import job
from whalefall.scheduler.loop import Loop
from whalefall.scheduler.tuning import Tuning

A_MINUTE = timedelta(minutes=1)


class Noted:
    """A ledger, and the verbs that the loop has called, in order."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda verb: None

    def __getattr__(self, verb: str) -> Any:
        called = getattr(self._ledger, verb)

        def noted(*arguments: Any, **options: Any) -> Any:
            self.before(verb)
            self.calls.append(verb)
            return called(*arguments, **options)

        return noted


class Starts:
    """An executor that notes what it is given."""

    name = "thread"

    def __init__(self, started: Callable[[ClaimedRun], None]) -> None:
        self.start = started

    def free(self) -> int:
        return 10

    def cancel(self, run_id: str) -> None: ...

    def wait_for_ended(self, timeout_s: float) -> None: ...

    def close(self) -> None: ...


class Leads:
    """All of the keeper that the loop asks for."""

    def __init__(self, tenure: Tenure) -> None:
        self._tenure = tenure

    def tenure(self) -> Tenure:
        return self._tenure

    def look_now(self) -> None: ...


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


@contextmanager
def turning(
    ledger: Ledger, noted: Noted, *, started: Callable[[ClaimedRun], None] = lambda claimed: None, **numbers: Any
) -> Iterator[Loop]:
    """Sweeps once, at the start of its term, and else turns only when something is due."""
    tuning = Tuning(**{"poll_s": 60.0, "sweep_every_s": 600.0, **numbers})
    executor: Executor = Starts(started)
    loop = Loop(
        noted,  # type: ignore[arg-type]  # it answers to every verb of a Ledger
        {"thread": executor},
        tuning,
        holder="me",
        reconcile=lambda: None,
        settle=lambda silence_counts: frozenset(),
        goes_on=lambda run_id: False,
    )
    loop.start(Leads(lead(ledger)))  # type: ignore[arg-type]
    try:
        yield loop
    finally:
        loop.stop(5)


def due_in(ledger: Ledger, job_id: str, seconds: float) -> None:
    with ledger.writing() as connection:
        connection.execute(update(job).where(job.c.job_id == job_id).values(next_fire_at=clock_after(seconds)))


def test_when_the_time_comes_it_records_before_it_looks(ledger: Ledger) -> None:
    """A look costs a round trip, by which each fire would be late; what it tells is old when the fire is recorded."""
    bring_in(ledger, declared("tidy"))
    due_in(ledger, "tidy", 3600)
    noted = Noted(ledger)
    with turning(ledger, noted) as loop:
        wait_until(lambda: noted.calls == ["peek", "sweep", "peek"], "it sleeps", explain=lambda: str(noted.calls))
        due_in(ledger, "tidy", 1.0)
        loop.wake()
        wait_until(lambda: noted.calls[5:], "it has fired, and looked again", explain=lambda: str(noted.calls))
        assert noted.calls[3:6] == ["peek", "fire", "peek"], "between the look that told of it and the fire it slept"


def test_what_is_due_is_on_record_before_a_run_that_waits_is_started(ledger: Ledger) -> None:
    """Or starting the many that wait would keep the instants of the others off the record."""
    bring_in(ledger, declared("tidy"), declared("waits", "cron", month=1, day=1))
    ledger.run_now("waits", actor="ada", args=None, reason="", dedupe=None)
    rewind(ledger, "tidy", A_MINUTE)
    noted = Noted(ledger)
    with turning(ledger, noted):
        wait_until(lambda: "claim" in noted.calls, "what waited is claimed")
    assert noted.calls[: noted.calls.index("claim") + 1] == ["peek", "fire", "claim"]


def test_all_that_is_due_is_on_record_before_the_first_of_it_starts(ledger: Ledger) -> None:
    """Also if it takes several transactions."""
    names = [f"job{number}" for number in range(5)]
    bring_in(ledger, *map(declared, names))
    for name in names:
        rewind(ledger, name, A_MINUTE)
    on_record: list[int] = []
    noted = Noted(ledger)
    with turning(ledger, noted, started=lambda claimed: on_record.append(len(ledger.page(Wanted()))), batch=2):
        wait_until(lambda: len(on_record) == len(names), "all have started")
    assert on_record == [len(names)] * len(names)


def test_it_has_not_turned_before_what_is_due_is_on_record(ledger: Ledger) -> None:
    """Health is the age of the last turn: one that cannot record must look old, however often it tries."""
    bring_in(ledger, declared("tidy"))
    rewind(ledger, "tidy", A_MINUTE)
    noted, tries = Noted(ledger), []

    def refuse(verb: str) -> None:
        if verb == "fire" and len(tries) < 5:
            tries.append(loop.tick_age_s())
            raise LedgerUnavailable("the disk is full")

    noted.before = refuse
    began_s = elapsed_s()
    with turning(ledger, noted, backoff_max_s=0.2) as loop:
        wait_until(lambda: len(tries) == 5 and "fire" in noted.calls, "it could record at last")
        wait_until(lambda: ledger.backlog(0.0) == 0, "it is on record")
        assert elapsed_s() - began_s >= tries[-1] >= tries[0] + 0.5, "four pauses of 0.2 s, and no turn in between"
        wait_until(lambda: loop.tick_age_s() < tries[-1], "and then it has turned")
