"""What the next changes of the clocks would do to a job, told before they come; and it is what happens then."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whalefall.scheduler.core.nights import YEAR, odd_nights
from whalefall.scheduler.core.triggers import Trigger, build_trigger, cron_spec, spec_from_arguments
from whalefall.scheduler.core.zones import DstPolicy, changes

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def cron(expression: str, zone: str = "Europe/Berlin", **policy: str) -> Trigger:
    return build_trigger(cron_spec(expression), timezone=zone, anchor=NEW_YEAR, dst=DstPolicy(**policy))


def told(expression: str, zone: str = "Europe/Berlin", **policy: str) -> list[str]:
    return odd_nights(cron(expression, zone, **policy), NEW_YEAR, NEW_YEAR + YEAR)


SPRING, AUTUMN = "2026-03-29: it would ", "2026-10-25: it would "


def test_by_default_it_moves_in_spring_and_runs_once_in_autumn() -> None:
    assert told("30 2 * * *") == [
        f"{SPRING}run at 03:00. There is no 02:30 in that night (dst_gap='run').",
        f"{AUTUMN}run once, at the first 02:30 of two (dst_fold='first').",
    ]


def test_never_and_twice() -> None:
    assert told("30 2 * * *", gap="skip", fold="both") == [
        f"{SPRING}not run. There is no 02:30 in that night (dst_gap='skip').",
        f"{AUTUMN}run twice. There are two 02:30 in that night (dst_fold='both').",
    ]


def test_the_second_time() -> None:
    assert told("30 2 * * *", fold="second")[1] == (
        f"{AUTUMN}run once, at the second 02:30 of two (dst_fold='second')."
    )


@pytest.mark.parametrize(
    ("zone", "expression", "days"),
    [
        ("America/New_York", "15 2 * * *", ["2026-03-08"]),
        ("America/New_York", "15 1 * * *", ["2026-11-01"]),
        ("Australia/Lord_Howe", "10 2 * * *", ["2026-10-04"]),
        ("Australia/Lord_Howe", "40 1 * * *", ["2026-04-05"]),
        ("America/Havana", "0 0 * * *", ["2026-03-08", "2026-11-01"]),
    ],
)
def test_elsewhere(zone: str, expression: str, days: list[str]) -> None:
    assert [night[:10] for night in told(expression, zone)] == days


@pytest.mark.parametrize("expression", ["30 12 * * *", "*/10 * * * *", "5 * * * *", "30 2 1 6 *", "30 2 * * mon"])
def test_a_job_that_notices_nothing_is_told_nothing(expression: str) -> None:
    assert told(expression) == []


def test_nor_where_no_clock_changes_nor_for_other_triggers() -> None:
    assert told("30 2 * * *", "UTC") == told("30 2 * * *", "Asia/Tokyo") == []
    every_day = build_trigger(
        {"type": "interval", "seconds": 86_400.0}, timezone="Europe/Berlin", anchor=NEW_YEAR, dst=DstPolicy()
    )
    assert odd_nights(every_day, NEW_YEAR, NEW_YEAR + YEAR) == []


def test_nor_of_a_night_in_which_the_job_has_ended() -> None:
    spec = spec_from_arguments(
        "cron", {"hour": 2, "minute": 30, "end_date": "2026-06-01"}, timezone="Europe/Berlin", now=NEW_YEAR
    )
    trigger = build_trigger(spec, timezone="Europe/Berlin", anchor=NEW_YEAR, dst=DstPolicy())
    assert [night[:10] for night in odd_nights(trigger, NEW_YEAR, NEW_YEAR + YEAR)] == ["2026-03-29"]


@given(
    minute=st.integers(0, 59),
    hour=st.integers(0, 4),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Havana"]),
    gap=st.sampled_from(["run", "skip"]),
    fold=st.sampled_from(["first", "second", "both"]),
)
@settings(max_examples=200, deadline=None)
def test_what_is_told_is_what_happens(minute: int, hour: int, zone: str, gap: str, fold: str) -> None:
    """On each night of the year that changes the clocks the fires are counted, and compared with the sentence."""
    trigger = cron(f"{minute} {hour} * * *", zone, gap=gap, fold=fold)
    sentences = {night[:10]: night[12:] for night in told(f"{minute} {hour} * * *", zone, gap=gap, fold=fold)}
    for change in changes(ZoneInfo(zone), NEW_YEAR, NEW_YEAR + YEAR):
        day = change.astimezone(ZoneInfo(zone)).date()
        start = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)
        fires, instant = [], trigger.next_after(start - timedelta(seconds=1))
        while instant is not None and instant.astimezone(ZoneInfo(zone)).date() == day:
            fires.append(instant.astimezone(ZoneInfo(zone)))
            instant = trigger.next_after(instant)
        sentence = sentences.pop(day.isoformat(), "")
        if sentence.startswith("it would not run"):
            assert fires == []
        elif sentence.startswith("it would run twice"):
            assert [f"{fire:%H:%M}" for fire in fires] == [f"{hour:02}:{minute:02}"] * 2
        elif sentence.startswith("it would run at "):
            assert [f"{fire:%H:%M}" for fire in fires] == [sentence[16:21]]
        elif sentence.startswith("it would run once"):
            assert [(f"{fire:%H:%M}", fire.fold) for fire in fires] == [
                (f"{hour:02}:{minute:02}", int(fold == "second"))
            ]
        else:
            assert [f"{fire:%H:%M}" for fire in fires] == [f"{hour:02}:{minute:02}"]
    assert sentences == {}, "of no other day"
