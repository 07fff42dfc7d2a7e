"""One job's failure never touches another: a stored trigger that cannot be computed stops its own job, and says why."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from tests.support.ledgers import age, bring_in, declared, lead
from whalefall.scheduler import SchedulerState, commands
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.core.triggers import TriggerError, build_trigger
from whalefall.scheduler.core.zones import DstPolicy
from whalefall.scheduler.errors import InvalidTrigger
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.schema import event, job
from whalefall.scheduler.verify import verify
from whalefall.settings import Settings

FIVE_MINUTES = timedelta(minutes=5)
# What a later release may have written, a hand, or a time zone that the host no longer knows.
BAD = {
    "an unknown type": ({"override_trigger": {"type": "moon"}}, "'moon' is not a trigger"),
    "a field out of range": ({"override_trigger": {"type": "cron", "fields": {"minute": "99"}}}, "from 0 to 59"),
    "no length": ({"override_trigger": {"type": "interval"}}, "KeyError: 'seconds'"),
    "a length of nothing": ({"override_trigger": {"type": "interval", "seconds": 0}}, "0 s is no interval"),
    "words for a number": ({"override_trigger": {"type": "interval", "seconds": "x"}}, "TypeError"),
    "no date": ({"override_trigger": {"type": "date", "at": "soon"}}, "Invalid isoformat string: 'soon'"),
    "a list": ({"override_trigger": {"type": "cron", "fields": []}}, "is not a trigger"),
    "a zone that is gone": ({"timezone": "Mars/Olympus"}, "'Mars/Olympus' is not a time zone"),
}


@pytest.fixture
def state(database_url: str) -> Iterator[SchedulerState]:
    state = commands.office(Settings.load({"DATABASE_URL": database_url}))
    yield state
    state.ledger.engine.dispose()


@pytest.fixture
def ledger(state: SchedulerState) -> Ledger:
    """Two jobs, both due for five minutes."""
    bring_in(state.ledger, declared("bad", timezone="Europe/Berlin"), declared("good"))
    for job_id in ("bad", "good"):
        age(state.ledger, job_id, FIVE_MINUTES)
    return state.ledger


def spoil(ledger: Ledger, values: dict[str, Any]) -> None:
    with ledger.writing() as connection:
        connection.execute(update(job).where(job.c.job_id == "bad").values(**values))


def fire(ledger: Ledger) -> None:
    tenure = lead(ledger)
    while ledger.record_fires(tenure, ledger.now(), 100).jobs:
        pass


@pytest.mark.parametrize("what", BAD)
def test_the_others_fire_and_the_bad_one_says_why(what: str, state: SchedulerState, ledger: Ledger) -> None:
    values, sentence = BAD[what]
    spoil(ledger, values)
    fire(ledger)
    assert len(ledger.page(Wanted(job_id="good"))) == 5
    [skipped] = ledger.page(Wanted(job_id="bad"))
    assert skipped.state is RunState.SKIPPED_BROKEN
    assert sentence in skipped.reason
    view = state.admin.get_job("bad")
    assert (view.source, view.next_run_time) == ("broken", None)
    assert sentence in view.broken_reason
    assert sentence in commands.jobs_show(state, "bad").text
    assert [alarm.job_id for alarm in state.admin.alarms() if alarm.kind == "broken"] == ["bad"]
    assert "bad" in commands.jobs_list(state).text
    assert sentence in commands.jobs_why(state, "bad", skipped.scheduled_at.isoformat()).text


@pytest.mark.parametrize("what", [what for what, (values, _) in BAD.items() if "override_trigger" in values])
def test_it_does_not_hold_up_the_next_start(what: str, ledger: Ledger) -> None:
    values, sentence = BAD[what]
    spoil(ledger, values)
    bring_in(ledger, declared("bad", timezone="Asia/Tokyo"), declared("good", minutes=2))
    assert ledger.job("good").effective_trigger["seconds"] == 120
    assert sentence in ledger.job("bad").broken_reason
    assert ledger.job("bad").next_fire_at is None


def test_nor_does_one_that_is_gone_from_the_code_too(ledger: Ledger) -> None:
    spoil(ledger, {"timezone": "Mars/Olympus"})
    assert bring_in(ledger, declared("good", minutes=2)).retired == ("bad",)
    assert ledger.job("good").effective_trigger["seconds"] == 120


def test_a_good_edit_heals_it(state: SchedulerState, ledger: Ledger) -> None:
    spoil(ledger, {"override_trigger": {"type": "moon"}})
    fire(ledger)
    view = state.admin.edit_trigger("bad", "* * * * * *", actor="ada")
    assert (view.source, view.broken_reason) == ("edited", "")
    assert view.next_run_time is not None
    assert [each.kind for each in ledger.events_of("bad", ["broken", "healed"])] == ["broken", "healed"]


def test_so_does_going_back_to_the_code(state: SchedulerState, ledger: Ledger) -> None:
    spoil(ledger, {"override_trigger": {"type": "moon"}})
    fire(ledger)
    view = state.admin.reset_trigger("bad", actor="ada")
    assert (view.source, view.trigger_words) == ("code", "every minute")
    assert view.next_run_time is not None


def test_an_edit_cannot_help_where_the_zone_is_gone_and_says_so(state: SchedulerState, ledger: Ledger) -> None:
    spoil(ledger, {"timezone": "Mars/Olympus"})
    with pytest.raises(InvalidTrigger, match="'Mars/Olympus' is not a time zone"):
        state.admin.edit_trigger("bad", "* * * * *", actor="ada")


def test_a_release_with_a_good_zone_heals_it_and_it_fires_on(state: SchedulerState, ledger: Ledger) -> None:
    spoil(ledger, {"timezone": "Mars/Olympus"})
    fire(ledger)
    assert state.admin.get_job("bad").next_run_time is None
    bring_in(ledger, declared("bad", timezone="Europe/Berlin"), declared("good"))
    record = ledger.job("bad")
    assert record.broken_reason == ""
    assert record.next_fire_at is not None
    assert record.next_fire_at > ledger.now()
    now = ledger.now()
    assert verify(ledger, now - timedelta(hours=1), now).problems == (), "its row and the stretch without it are known"


def test_a_date_that_fired_does_not_come_back_when_its_function_heals(ledger: Ledger) -> None:
    once = declared("once", "date", run_date="2020-02-29 12:00:00")
    bring_in(ledger, declared("bad"), declared("good"), once)
    fire(ledger)
    bring_in(ledger, declared("bad"), declared("good"), broken={"once": "ImportError: gone"})
    bring_in(ledger, declared("bad"), declared("good"), once)
    assert (ledger.job("once").broken_reason, ledger.job("once").next_fire_at) == ("", None)


def test_what_cannot_be_proved_is_said_and_not_passed_over(ledger: Ledger) -> None:
    fire(ledger)
    with ledger.writing() as connection:
        for row in connection.execute(event.select().where(event.c.job_id == "bad", event.c.kind == "schedule")):
            detail = {**row.detail, "timezone": "Mars/Olympus"}
            connection.execute(update(event).where(event.c.event_id == row.event_id).values(detail=detail))
    now = ledger.now()
    [problem] = verify(ledger, now - timedelta(hours=1), now).problems
    assert (problem.job_id, problem.kind) == ("bad", "unknown")
    assert "'Mars/Olympus' is not a time zone" in problem.detail


def test_moving_cursors_to_now_passes_it_by(ledger: Ledger) -> None:
    spoil(ledger, {"override_trigger": {"type": "moon"}})
    assert ledger.fast_forward("ada") == ["good"]


def test_an_interval_longer_than_the_calendar_ends() -> None:
    spec = {"type": "interval", "seconds": timedelta(days=2_000_000).total_seconds()}
    trigger = build_trigger(spec, timezone="UTC", anchor=datetime(2026, 1, 1, tzinfo=UTC), dst=DstPolicy())
    first = trigger.next_after(datetime(2026, 1, 1, tzinfo=UTC))
    assert first is not None
    assert trigger.next_after(first) is None
    with pytest.raises(TriggerError):
        build_trigger({}, timezone="UTC", anchor=datetime(2026, 1, 1, tzinfo=UTC), dst=DstPolicy())
