"""Two applications on one ledger: the second is refused, instead of both retiring each other's jobs for ever."""

import contextlib
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest

from tests.integration import scheduled_jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import make_app
from tests.support.ledgers import bring_in, declared, opened
from tests.support.waiting import wait_until
from whalefall import Scheduler
from whalefall import scheduler as scheduling
from whalefall.scheduler.errors import ForeignLedger
from whalefall.scheduler.leadership.choose import choose
from whalefall.scheduler.ledger import Ledger

SHOP = [declared(name) for name in ("orders", "stock", "mail")]


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        bring_in(ledger, *SHOP, application="shop")
        yield ledger


def firing(ledger: Ledger) -> set[str]:
    return {record.job_id for record in ledger.jobs() if record.fires}


def test_another_application_changes_nothing_and_is_told_whose_it_is(ledger: Ledger) -> None:
    with pytest.raises(
        ForeignLedger, match="belongs to the application 'shop' \\(jobs mail, orders, stock\\)"
    ) as refused:
        bring_in(ledger, declared("posts"), application="blog")
    assert "set SCHEDULER_APPLICATION = 'shop'" in str(refused.value)
    assert firing(ledger) == {"mail", "orders", "stock"}


def test_the_same_application_may_drop_all_its_jobs(ledger: Ledger) -> None:
    assert set(bring_in(ledger, declared("new"), application="shop").retired) == {"mail", "orders", "stock"}


def test_a_renamed_application_takes_its_jobs_along(ledger: Ledger) -> None:
    assert bring_in(ledger, *SHOP[:2], application="store").retired == ("mail",)
    assert {record.application for record in ledger.jobs() if record.fires} == {"store"}
    with pytest.raises(ForeignLedger, match="'store'"):
        bring_in(ledger, declared("posts"), application="blog")


def test_the_builtin_application_s_ledger_is_anybody_s(database_url: str) -> None:
    with opened(database_url) as ledger:
        bring_in(ledger, declared("check"), application="whalefall.app")
        assert bring_in(ledger, *SHOP, application="shop").retired == ("check",)
        with pytest.raises(ForeignLedger):
            bring_in(ledger, declared("check"), application="whalefall.app")


def test_jobs_added_at_run_time_are_nobody_s(ledger: Ledger) -> None:
    bring_in(ledger, application="shop")
    assert bring_in(ledger, declared("posts"), application="blog").added == ("posts",)


def shop_and_blog(url: str) -> list[scheduling.SchedulerState]:
    states = []
    for name in ("shop", "blog"):
        scheduler = Scheduler()
        scheduler.task("interval", seconds=1, id=f"{name}-job")(scheduled_jobs.note)
        states.append(scheduling.of(make_app(url, scheduler, SCHEDULER_APPLICATION=name)))
    return states


def test_the_second_scheduler_does_not_start(database_url: str) -> None:
    shop, blog = shop_and_blog(database_url)
    assert shop.start()
    try:
        with pytest.raises(ForeignLedger):
            blog.start()
        assert shop.admin.get_job("shop-job").source == "code"
    finally:
        shop.stop(2)
        for state in (shop, blog):
            state.ledger.engine.dispose()


def test_one_that_learns_it_late_gives_the_lead_away(sqlite_url: str) -> None:
    """Both started on an empty ledger: the standby finds out when it leads."""
    shop, blog = shop_and_blog(sqlite_url)
    blog.refuse_foreign = lambda: None  # type: ignore[method-assign]  # as if the other had declared its jobs a moment later
    shop.reconcile()
    assert blog.start()
    try:
        wait_until(lambda: blog.ledger.lease() and blog.admin.health().leader is None, "it has given the lead away")
        assert shop.start()
        assert shop.runtime is not None
        wait_until(lambda: shop.admin.health().leader == shop.runtime.holder, "the owner leads")
        assert {view.id for view in shop.admin.list_jobs()} == {"shop-job"}
    finally:
        for state in (shop, blog):
            state.stop(2)
            state.ledger.engine.dispose()


@pytest.mark.parametrize("lock", ["sql", "postgres-advisory"])
def test_two_schemas_of_one_database_are_two_ledgers(postgres_url: str, lock: str) -> None:
    with contextlib.ExitStack() as stack:
        for schema in ("shop", "blog"):
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(f"CREATE SCHEMA {schema}")
            ledger = stack.enter_context(opened(f"{postgres_url}?options={quote(f'-csearch_path={schema}')}"))
            candidate = choose(lock, ledger, schema, 60)
            tenure = candidate.take()
            assert tenure is not None, f"{schema} leads beside the other"
            stack.callback(candidate.give_back, tenure)
            bring_in(ledger, declared("tidy"), application=schema)
            assert [record.application for record in ledger.jobs()] == [schema]
