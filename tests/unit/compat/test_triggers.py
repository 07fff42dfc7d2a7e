"""APScheduler's triggers as ours: the same instants, by comparison with APScheduler itself."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.combining import AndTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from whalefall.compat.flask_apscheduler.utils import (
    apscheduler_trigger,
    extract_timedelta,
    fix_job_def,
    our_trigger,
    pop_trigger,
    trigger_to_dict,
)
from whalefall.scheduler.core.triggers import build_trigger, spec_from_arguments
from whalefall.scheduler.core.zones import DstPolicy
from whalefall.scheduler.errors import JobDeclarationError

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def instants(trigger: Any, arguments: dict[str, Any], count: int = 5, start: datetime = NOW) -> list[datetime]:
    kind, ours = our_trigger(trigger, arguments)
    timezone = str(ours.pop("timezone", "UTC"))
    ours.pop("jitter", None)
    built = build_trigger(
        spec_from_arguments(kind, ours, timezone=timezone, now=start), timezone=timezone, anchor=start, dst=DstPolicy()
    )
    found, instant = [], start
    while len(found) < count and (following := built.next_after(instant)) is not None:
        found.append(following)
        instant = following
    return found


def theirs(trigger: Any, count: int = 5, start: datetime = NOW) -> list[datetime]:
    found: list[datetime] = []
    previous, now = None, start + timedelta(microseconds=1)
    while len(found) < count:
        following = trigger.get_next_fire_time(previous, now)
        if following is None:
            break
        found.append(following.astimezone(UTC))
        previous, now = following, following + timedelta(microseconds=1)
    return found


@pytest.mark.parametrize(
    "fields",
    [
        {"day_of_week": 0, "hour": 9},
        {"day_of_week": "0-4", "hour": 9},
        {"day_of_week": "*/2", "hour": 9},
        {"day_of_week": "mon,6", "hour": 9},
        {"day": 13, "day_of_week": "fri", "hour": 0},
        {"day": "last", "hour": 3},
        {"day": "2nd tue", "hour": 3},
        {"day": "last sun", "hour": 3},
        {"week": "10-12", "hour": 1},
        {"minute": "*/7"},
        {"second": "5,10"},
        {"year": "2027-2028", "month": 2, "day": 28},
        {"month": "jan-mar", "day": 1},
        {"hour": "0-23/5"},
    ],
)
def test_cron_fields_keep_their_meaning(fields: dict[str, Any]) -> None:
    assert instants("cron", fields) == theirs(CronTrigger(**fields, timezone="UTC"))


_TIMES = {"minute": st.sampled_from(["0", "*/20", "5,50"]), "hour": st.sampled_from(["3", "*/6", "9-17"])}
_WEEKDAYS = {"day_of_week": st.sampled_from(["0", "1-3", "sun", "*/3", "mon-fri"])}
_DATES = {
    "day": st.sampled_from(["1", "*/10", "last", "1st mon", "15-20"]),
    "month": st.sampled_from(["*", "2", "1-6/2"]),
}
_WEEKS = {"week": st.sampled_from(["*", "1-20", "53"])}
# Not all of them at once: that may never come true, which takes APScheduler minutes to find.
_FIELDS = st.fixed_dictionaries({}, optional={**_TIMES, **_WEEKDAYS, **_DATES}) | st.fixed_dictionaries(
    {}, optional={**_TIMES, **_WEEKDAYS, **_WEEKS}
)


@given(fields=_FIELDS, days=st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_any_cron_keeps_its_meaning(fields: dict[str, str], days: int) -> None:
    assume(fields and not (fields.get("day") == "1st mon" and "day_of_week" in fields))  # never, or any Monday
    start = NOW + timedelta(days=days)
    expected = theirs(CronTrigger(**fields, timezone="UTC"), 3, start)
    assert instants("cron", fields, 3, start) == expected
    kind, arguments = our_trigger("cron", fields)
    spec = spec_from_arguments(kind, arguments, timezone="UTC", now=start)
    assert theirs(apscheduler_trigger(spec, "UTC", start), 3, start) == expected, "and back"


@pytest.mark.parametrize(
    "fields",
    [
        {"hour": "6"},
        {"minute": "*/5"},
        {"second": "0"},
        {"hour": "6", "minute": "*"},
        {"day": "1"},
        {"month": "1"},
        {"year": "2030"},
        {"day_of_week": "mon"},
        {"day_of_week": "mon", "hour": "0", "minute": "30"},
        {"week": "53"},
    ],
)
def test_a_trigger_is_shown_as_it_was_said(fields: dict[str, str]) -> None:
    spec = spec_from_arguments("cron", fields, timezone="UTC", now=NOW)
    shown = trigger_to_dict(apscheduler_trigger(spec, "UTC", NOW))
    assert shown == trigger_to_dict(CronTrigger(**fields, timezone="UTC")) or fields == {"hour": "6", "minute": "*"}
    assert theirs(apscheduler_trigger(spec, "UTC", NOW)) == theirs(CronTrigger(**fields, timezone="UTC"))


def test_trigger_objects() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    cron = CronTrigger(day_of_week="0", hour=9, timezone=berlin)
    assert instants(cron, {}) == theirs(cron)
    date = DateTrigger("2026-12-31 18:00:00", timezone=berlin)
    assert instants(date, {}) == [datetime(2026, 12, 31, 17, tzinfo=UTC)]
    interval = IntervalTrigger(minutes=5, start_date="2026-12-01 00:00:00", timezone="UTC")
    assert instants(interval, {})[0] == datetime(2026, 12, 1, tzinfo=UTC)


def test_an_interval_without_a_start_gets_a_stored_one() -> None:
    kind, arguments = our_trigger(IntervalTrigger(minutes=5, timezone="UTC"), {})
    assert (kind, "start_date" in arguments) == ("interval", False)


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(JobDeclarationError, match="cannot be stored as JSON"):
        our_trigger(AndTrigger([CronTrigger(hour=1)]), {})


def test_back_to_apschedulers_objects() -> None:
    spec = spec_from_arguments("cron", {"hour": 3, "day_of_week": "mon"}, timezone="UTC", now=NOW)
    assert trigger_to_dict(apscheduler_trigger(spec, "UTC", NOW)) == {
        "trigger": "cron", "day_of_week": "mon", "hour": "3",
    }  # fmt: skip
    interval = apscheduler_trigger({"type": "interval", "seconds": 694_861.0}, "UTC", NOW)
    found = trigger_to_dict(interval)
    assert {k: v for k, v in found.items() if k != "start_date"} == {
        "trigger": "interval", "weeks": 1, "days": 1, "hours": 1, "minutes": 1, "seconds": 1,
    }  # fmt: skip
    assert trigger_to_dict(apscheduler_trigger({"type": "date", "at": NOW.isoformat()}, "UTC", NOW))["run_date"] == NOW


def test_utils() -> None:
    job = {"trigger": {"type": "cron", "hour": 1}, "id": "a"}
    fix_job_def(job)
    assert pop_trigger(job) == ("cron", {"hour": 1})
    assert job == {"id": "a"}
    with pytest.raises(ValueError, match="Trigger moon is not supported"):
        pop_trigger({"trigger": "moon"})
    assert extract_timedelta(timedelta(days=8, seconds=3661)) == (1, 1, 1, 1, 1)
