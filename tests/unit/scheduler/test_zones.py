"""The nights in which an hour is missing or double, at real changes of the clocks in three zones."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from whalefall.scheduler.core.triggers import build_trigger, cron_spec
from whalefall.scheduler.core.zones import DstPolicy, missing_or_double


def fires(expression: str, zone: str, start: str, end: str, **policy: str) -> list[str]:
    """Fires in (start, end], both wall-clock times of the zone with offset; as wall-clock time and offset in hours."""
    trigger = build_trigger(
        cron_spec(expression), timezone=zone, anchor=datetime(2020, 1, 1, tzinfo=UTC), dst=DstPolicy(**policy)
    )
    instant, found = datetime.fromisoformat(start).astimezone(UTC), []
    last = datetime.fromisoformat(end).astimezone(UTC)
    while (following := trigger.next_after(instant)) is not None and following <= last:
        found.append(following.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z"))
        instant = following
    return found


class TestBerlin:
    """29 March 2026, 02:00 becomes 03:00; 25 October 2026, 03:00 becomes 02:00."""

    def spring(self, expression: str, **policy: str) -> list[str]:
        return fires(expression, "Europe/Berlin", "2026-03-28T12:00+01:00", "2026-03-29T12:00+02:00", **policy)

    def autumn(self, expression: str, **policy: str) -> list[str]:
        return fires(expression, "Europe/Berlin", "2026-10-24T12:00+02:00", "2026-10-25T12:00+01:00", **policy)

    def test_a_time_that_is_missing_fires_at_the_jump(self) -> None:
        assert self.spring("30 2 * * *") == ["29 03:00+0200"]

    def test_or_not_at_all(self) -> None:
        assert self.spring("30 2 * * *", gap="skip") == []

    def test_several_missing_times_fire_once(self) -> None:
        assert self.spring("0,20,40 2 * * *") == ["29 03:00+0200"]

    def test_a_missing_time_and_the_time_it_moves_to_are_one_fire(self) -> None:
        assert self.spring("0 2,3 * * *") == ["29 03:00+0200"]

    def test_a_double_time_fires_first(self) -> None:
        assert self.autumn("30 2 * * *") == ["25 02:30+0200"]

    def test_or_second(self) -> None:
        assert self.autumn("30 2 * * *", fold="second") == ["25 02:30+0100"]

    def test_or_both_times(self) -> None:
        assert self.autumn("30 2 * * *", fold="both") == ["25 02:30+0200", "25 02:30+0100"]

    def test_a_free_hour_follows_elapsed_time(self) -> None:
        assert len(self.autumn("*/30 * * * *")) == 2 * 25
        assert len(self.spring("*/30 * * * *")) == 2 * 23

    def test_other_times_of_the_night_notice_nothing(self) -> None:
        assert self.spring("30 1 * * *") == ["29 01:30+0100"]
        assert self.autumn("30 3 * * *") == ["25 03:30+0100"]


class TestNewYork:
    """8 March 2026, 02:00 becomes 03:00; 1 November 2026, 02:00 becomes 01:00."""

    def test_spring(self) -> None:
        window = ("America/New_York", "2026-03-07T12:00-05:00", "2026-03-08T12:00-04:00")
        assert fires("15 2 * * *", *window) == ["08 03:00-0400"]
        assert fires("15 2 * * *", *window, gap="skip") == []

    def test_autumn(self) -> None:
        window = ("America/New_York", "2026-10-31T12:00-04:00", "2026-11-01T12:00-05:00")
        assert fires("15 1 * * *", *window) == ["01 01:15-0400"]
        assert fires("15 1 * * *", *window, fold="second") == ["01 01:15-0500"]
        assert fires("15 1 * * *", *window, fold="both") == ["01 01:15-0400", "01 01:15-0500"]


class TestLordHowe:
    """Half an hour: 4 October 2026, 02:00 becomes 02:30; 5 April 2026, 02:00 becomes 01:30."""

    def test_spring(self) -> None:
        window = ("Australia/Lord_Howe", "2026-10-03T12:00+10:30", "2026-10-04T12:00+11:00")
        assert fires("10 2 * * *", *window) == ["04 02:30+1100"]
        assert fires("10 2 * * *", *window, gap="skip") == []
        assert fires("45 2 * * *", *window) == ["04 02:45+1100"]

    def test_autumn(self) -> None:
        window = ("Australia/Lord_Howe", "2026-04-04T12:00+11:00", "2026-04-05T12:00+10:30")
        assert fires("40 1 * * *", *window) == ["05 01:40+1100"]
        assert fires("40 1 * * *", *window, fold="both") == ["05 01:40+1100", "05 01:40+1030"]
        assert fires("10 1 * * *", *window) == ["05 01:10+1100"]


def test_midnight_may_be_missing_too() -> None:
    """Havana, 8 March 2026: 00:00 becomes 01:00."""
    window = ("America/Havana", "2026-03-07T12:00-05:00", "2026-03-08T12:00-04:00")
    assert fires("0 0 * * *", *window) == ["08 01:00-0400"]


@pytest.mark.parametrize(
    ("instant", "odd"),
    [
        ("2026-03-29T01:00+00:00", "missing"),
        ("2026-10-25T00:30+00:00", "double"),
        ("2026-10-25T01:30+00:00", "double"),
        ("2026-06-01T00:00+00:00", ""),
    ],
)
def test_odd_instants_are_marked_for_people(instant: str, odd: str) -> None:
    assert missing_or_double(datetime.fromisoformat(instant), ZoneInfo("Europe/Berlin")) == odd


def test_a_year_of_every_zones_nights_has_one_fire_a_day() -> None:
    for zone in ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"):
        offset = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone)).isoformat()
        end = datetime(2027, 1, 1, tzinfo=ZoneInfo(zone)).isoformat()
        for expression in ("30 1 * * *", "10 2 * * *", "0 3 * * *"):
            assert len(fires(expression, zone, offset, end)) == 365, (zone, expression)
