"""Today's counters: every run is counted, and an hour that is over is read once."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from flask import Flask

from tests.support.history import fill
from whalefall.app.today import Today
from whalefall.scheduler import of
from whalefall.scheduler.ledger import overview
from whalefall.scheduler.ledger.engine import reading

NOON = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


class Asked:
    """Counts for an hour as the test says, and what was asked."""

    def __init__(self) -> None:
        self.hours: list[int] = []
        self.answers: dict[int, Counter[str]] = {}

    def __call__(self, made_from: datetime, made_before: datetime | None) -> Counter[str]:
        hour = (made_from + timedelta(minutes=5)).hour
        self.hours.append(hour)
        return self.answers.get(hour, Counter(succeeded=1))


def test_an_hour_that_is_over_is_counted_once() -> None:
    today, asked = Today(), Asked()
    assert today.counts("db", NOON, asked) == {"succeeded": 13}
    assert asked.hours == list(range(13))
    asked.hours.clear()
    assert today.counts("db", NOON + timedelta(minutes=29), asked) == {"succeeded": 13}
    assert asked.hours == [12]
    asked.hours.clear()
    assert today.counts("db", NOON + timedelta(minutes=33), asked) == {"succeeded": 14}
    assert asked.hours == [12, 13]  # a clock that is behind may still put something into the hour before
    assert today.counts("another", NOON, asked) == {"succeeded": 13}


def test_an_hour_in_which_a_run_still_works_is_looked_at_again() -> None:
    today, asked = Today(), Asked()
    asked.answers[3] = Counter(running=1)
    assert today.counts("db", NOON, asked) == {"succeeded": 12, "running": 1}
    asked.answers[3] = Counter(failed=1)
    asked.hours.clear()
    assert today.counts("db", NOON, asked) == {"succeeded": 12, "failed": 1}
    assert asked.hours == [3, 12]


def test_yesterday_is_forgotten() -> None:
    today, asked = Today(), Asked()
    today.counts("db", NOON, asked)
    assert today.counts("db", NOON.replace(hour=0, minute=1) + timedelta(days=1), asked) == {"succeeded": 1}
    assert today._closed == {}


def test_the_hours_together_are_the_day_on_a_real_ledger(app: Flask) -> None:
    fill(of(app).ledger, jobs=3, runs_each=1_600)  # from yesterday on
    now = datetime.now(UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    with reading(of(app).engine) as connection:
        whole = overview.counts_since(connection, midnight)
        today = Today()
        for _ in range(2):  # counted, then remembered
            by_hour = today.counts("", now, lambda a, b: overview.counts_since(connection, midnight, a, b))
            assert by_hour == whole
    assert sum(whole.values()) >= 3 * ((now - midnight) // timedelta(minutes=1) - 1)
