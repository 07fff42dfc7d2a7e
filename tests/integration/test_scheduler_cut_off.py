"""A scheduler that the ledger does not hear for longer than its runs' leases, while they go on: whose silence is it?

Two schedulers on one PostgreSQL, each with a way to it of its own that breaks.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import text

from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import ended, make_app
from tests.support.ledgers import rows
from tests.support.postgres import PostgresServer
from tests.support.proxies import Proxy
from tests.support.waiting import wait_until
from whalefall import Scheduler, current_run
from whalefall import scheduler as scheduling
from whalefall.scheduler.runtime import Runtime

RUN_LEASE_S = 6.0


@dataclass
class Site:
    """One scheduler, and its way to the ledger."""

    proxy: Proxy
    state: scheduling.SchedulerState

    @property
    def runtime(self) -> Runtime:
        assert self.state.runtime is not None
        return self.state.runtime

    @property
    def leads(self) -> bool:
        return self.runtime.keeper.tenure() is not None

    def break_off(self) -> None:
        """Nothing goes through until it is mended, and nobody is told."""
        self.proxy.swallow(600)
        self.proxy.cut()

    def mend(self) -> None:
        self.proxy.swallow(0)


@contextlib.contextmanager
def site(server: PostgresServer, url: str, function: Callable[..., object], **policies: Any) -> Iterator[Site]:
    scheduler = Scheduler()
    scheduler.task("cron", id="long", month=1, day=1, **policies)(function)
    with Proxy(server.port) as proxy:
        behind = url.replace(f":{server.port}/", f":{proxy.port}/")
        one = Site(proxy, scheduling.of(make_app(behind, scheduler, SCHEDULER_RUN_LEASE_S=RUN_LEASE_S)))
        assert one.state.start()
        try:
            yield one
        finally:
            one.mend()
            one.state.stop(3.0)
            one.state.ledger.engine.dispose()


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    with jobs.fresh():
        yield


def wait_in_attempt_one() -> None:
    """Only the first attempt takes long."""
    jobs.seen.append(current_run.attempt)
    if current_run.attempt == 1:
        jobs.gate.wait(60)
        jobs.seen.append(f"cancelled: {current_run.cancelled}")


@pytest.fixture
def people(postgres_url: str) -> scheduling.SchedulerState:
    """Who looks at the ledger, and has no part in this."""
    return scheduling.of(make_app(postgres_url, Scheduler()))


def run_lease_is_over(people: scheduling.SchedulerState) -> bool:
    return bool(rows(people.ledger, "SELECT 1 FROM wf_run WHERE lease_until < clock_timestamp()"))


def begin(one: Site) -> str:
    wait_until(lambda: one.leads, "the first leads")
    run_id = one.state.admin.run_now("long", actor="ada")
    wait_until(lambda: jobs.seen == [1], "its first attempt has begun")
    return run_id


def test_after_an_outage_a_new_leader_gives_those_who_live_the_time_to_say_so(
    postgres: PostgresServer, postgres_url: str, people: scheduling.SchedulerState
) -> None:
    """Nobody could be heard, so nobody was silent: the run that goes on is neither lost nor started again."""
    with (
        site(postgres, postgres_url, wait_in_attempt_one, on_crash="rerun") as first,
        site(postgres, postgres_url, wait_in_attempt_one, on_crash="rerun") as second,
    ):
        run_id = begin(first)
        first.break_off()
        second.break_off()
        wait_until(lambda: run_lease_is_over(people), "its lease has run out in the outage", 20)
        sweeps: list[object] = []
        sweep = second.state.ledger.sweep

        def watched(*arguments: Any, **options: Any) -> Any:
            sweeps.append(sweep(*arguments, **options))
            return sweeps[-1]

        second.state.ledger.sweep = watched  # type: ignore[method-assign]
        second.mend()
        wait_until(lambda: second.leads, "the other replica leads now", 20)
        wait_until(lambda: len(sweeps) >= 2, "and has swept")
        first.mend()
        wait_until(lambda: not run_lease_is_over(people), "the first has said that its run goes on", 20)
        jobs.gate.set()
        run = ended(people, run_id)
        assert (run.state, run.attempt) == ("succeeded", 1)
        assert jobs.seen == [1, "cancelled: False"]


def cut_off_until_it_is_swept(first: Site, people: scheduling.SchedulerState, run_id: str) -> None:
    """And back again: it learns what has happened."""
    first.break_off()
    wait_until(lambda: people.admin.get_run(run_id).state != "running" or jobs.seen != [1], "the other has swept", 30)
    first.mend()


def test_a_run_that_was_started_again_elsewhere_is_told_and_its_late_result_kept_apart(
    postgres: PostgresServer, postgres_url: str, people: scheduling.SchedulerState, caplog: pytest.LogCaptureFixture
) -> None:
    """Only one of the two was out of reach, and could not be asked: both run for a while, and nobody keeps it quiet."""
    with (
        site(postgres, postgres_url, wait_in_attempt_one, on_crash="rerun") as first,
        site(postgres, postgres_url, wait_in_attempt_one, on_crash="rerun"),
        caplog.at_level(logging.WARNING, "whalefall"),
    ):
        run_id = begin(first)
        cut_off_until_it_is_swept(first, people, run_id)
        assert ended(people, run_id).attempt == 2
        told = f"run {run_id} of job long (attempt 1) was taken from this scheduler: it goes on here"
        wait_until(lambda: told in caplog.text, "the first notices that its run was taken", 20)
        jobs.gate.set()
        wait_until(lambda: not first.runtime.roster.run_ids(), "its job has ended, too")
        wait_until(lambda: "does not count" in error_of_attempt_one(people, run_id), "which is on record")
    assert jobs.seen == [1, 2, "cancelled: True"]
    assert f"the result of run {run_id} (attempt 1) was dropped" in caplog.text
    assert error_of_attempt_one(people, run_id) == (
        "it went on: its runner had only been out of reach\nit ended there as succeeded, which does not count\n"
    )
    run = people.admin.get_run(run_id)
    assert (run.state, run.attempt) == ("succeeded", 2)


def error_of_attempt_one(people: scheduling.SchedulerState, run_id: str) -> str:
    [attempt] = people.ledger.attempts(run_id)
    assert (attempt["attempt"], attempt["state"]) == (1, "lost")
    return str(attempt["error"])


def test_a_run_that_counts_as_lost_stays_lost_and_says_that_it_went_on(
    postgres: PostgresServer, postgres_url: str, people: scheduling.SchedulerState
) -> None:
    with (
        site(postgres, postgres_url, wait_in_attempt_one) as first,
        site(postgres, postgres_url, wait_in_attempt_one),
    ):
        run_id = begin(first)
        cut_off_until_it_is_swept(first, people, run_id)
        lost = people.admin.get_run(run_id)
        assert lost.state == "lost"
        wait_until(lambda: "it went on" in people.admin.get_run(run_id).reason, "it says that it went on", 20)
        jobs.gate.set()
        wait_until(lambda: "it ended there" in people.admin.get_run(run_id).reason, "and how it ended", 20)
    run = people.admin.get_run(run_id)
    assert (run.state, run.attempt, run.finished_at) == ("lost", 1, lost.finished_at)
    assert run.reason.endswith(
        "stopped reporting; it went on: its runner had only been out of reach; "
        "it ended there as succeeded, which does not count"
    )
    assert jobs.seen == [1, "cancelled: True"]


def test_a_run_that_comes_back_to_where_it_still_goes_on_waits_for_its_end(
    postgres: PostgresServer, postgres_url: str, people: scheduling.SchedulerState, caplog: pytest.LogCaptureFixture
) -> None:
    """Who took it gave it back to the queue and died; we lead again. Here we know that one attempt is going on."""
    with (
        site(postgres, postgres_url, wait_in_attempt_one, on_crash="rerun") as first,
        caplog.at_level(logging.WARNING, "whalefall"),
    ):
        run_id = begin(first)
        with people.ledger.writing() as connection:
            connection.execute(text("UPDATE wf_run SET state = 'queued', claimed_by = '', lease_until = NULL"))
        waits = f"run {run_id} waits: an earlier attempt of it still goes on in this scheduler"
        wait_until(lambda: waits in caplog.text, "it is put off")
        wait_until(lambda: "(attempt 1) was taken from" in caplog.text, "and the job of the first attempt is told")
        view = people.admin.get_run(run_id)
        assert (view.attempt, jobs.seen) in ((1, [1]), (2, [1])), "2 between claim and return"
        jobs.gate.set()
        run = ended(people, run_id)
    assert (run.state, run.attempt) == ("succeeded", 2)
    assert jobs.seen == [1, "cancelled: True", 2]
