"""A cursor that stands before what is on record, by far: as from a backup, or a primary that was behind.

Old skips share one row, of which the fire key knows only the first instant. So it cannot tell that the others are on
record, nor may it take the whole row for known because its first instant is.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from tests.support.ledgers import age, bring_in, declared, lead, opened, rows
from whalefall.scheduler.core.fires import SINGLE_ROWS_MAX
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.core.triggers import cron_spec
from whalefall.scheduler.ledger import Ledger, fires
from whalefall.scheduler.ledger.schema import job
from whalefall.scheduler.verify import verify

MINUTES = 300
A_MINUTE = timedelta(minutes=1)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


def fire(ledger: Ledger) -> int:
    """How many are to run."""
    tenure, queued = lead(ledger), 0
    while (fired := ledger.record_fires(tenure, ledger.now(), 500)).jobs:
        queued += fired.queued
    return queued


def put_back(ledger: Ledger, cursor: datetime) -> None:
    with ledger.writing() as connection:
        connection.execute(update(job).where(job.c.job_id == "tidy").values(next_fire_at=cursor))


def put_on_record(ledger: Ledger, instants: list[datetime]) -> None:
    record, now = ledger.job("tidy"), ledger.now()
    some = [
        fires.run_row(record, now=now, scheduled_at=instant, not_before=instant, state=RunState.SUCCEEDED)
        for instant in instants
    ]
    with ledger.writing() as connection:
        fires.insert_new(connection, some)


def first_of(ledger: Ledger) -> datetime:
    cursor = ledger.job("tidy").next_fire_at
    assert cursor is not None
    return cursor


def assert_each_once(ledger: Ledger) -> None:
    now = ledger.now()
    report = verify(ledger, now - timedelta(hours=12), now)
    assert report.problems == ()
    assert report.expected >= MINUTES
    assert report.recorded == report.expected


@pytest.mark.parametrize("policies", [{"catch_up": "skip"}, {"catch_up": "last"}, {"catch_up": "all"}])
def test_what_is_on_record_of_a_long_absence_takes_nothing_else_along(
    ledger: Ledger, policies: dict[str, object]
) -> None:
    """The very first of them, and some in the middle: all others get their row, and none gets two."""
    bring_in(ledger, declared("tidy", overlap="allow", **policies))
    age(ledger, "tidy", MINUTES * A_MINUTE)
    first = first_of(ledger)
    put_on_record(ledger, [first + number * A_MINUTE for number in (0, 7, 8, 150, 299)])
    fire(ledger)
    assert_each_once(ledger)


@pytest.mark.parametrize("back_to", [0, 1, 120, MINUTES - SINGLE_ROWS_MAX - 1])
def test_a_cursor_put_back_into_a_stretch_runs_nothing_of_it(ledger: Ledger, back_to: int) -> None:
    """It was skipped in a pause, and is on record as that; the job now catches up with everything."""
    bring_in(ledger, declared("tidy", catch_up="all", catch_up_limit=10_000, overlap="allow"))
    age(ledger, "tidy", MINUTES * A_MINUTE)
    first = first_of(ledger)
    ledger.pause("tidy", "ada", "", None)
    assert fire(ledger) == 0
    assert len(rows(ledger, "SELECT 1 FROM wf_run")) < MINUTES, "many share a row"
    ledger.resume("tidy", "ada")
    put_back(ledger, first + back_to * A_MINUTE)
    assert fire(ledger) == 0
    assert_each_once(ledger)


def test_nor_does_an_edit_after_it_record_anything_twice(ledger: Ledger) -> None:
    bring_in(ledger, declared("tidy", catch_up="skip"))
    age(ledger, "tidy", MINUTES * A_MINUTE)
    first = first_of(ledger)
    fire(ledger)
    put_back(ledger, first + 30 * A_MINUTE)
    ledger.edit_trigger("tidy", cron_spec("0 4 * * *"), "ada")
    assert_each_once(ledger)
