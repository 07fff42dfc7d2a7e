"""`whalefall jobs why JOB TIME`: each reason for a run or for none, as the sentence that a person reads."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from tests.support.ledgers import age, bring_in, declared, end_lease, end_run_leases, lead, rewind
from whalefall.scheduler import SchedulerState, commands
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.errors import JobNotFound
from whalefall.scheduler.ledger.records import Ending
from whalefall.scheduler.ledger.schema import lease
from whalefall.settings import Settings

MINUTE = timedelta(minutes=1)


@pytest.fixture
def state(database_url: str) -> Iterator[SchedulerState]:
    state = commands.office(Settings.load({"DATABASE_URL": database_url}))
    yield state
    state.ledger.engine.dispose()


def aged(state: SchedulerState, minutes: int = 5, **options: object) -> datetime:
    """A job that fires every minute and that nobody looked at for `minutes`. Answers the oldest instant due."""
    bring_in(state.ledger, declared("tidy", **options))
    age(state.ledger, "tidy", minutes * MINUTE)
    cursor = state.ledger.job("tidy").next_fire_at
    assert cursor is not None
    return cursor


def fire(state: SchedulerState, holder: str = "me") -> None:
    tenure = lead(state.ledger, holder)
    while state.ledger.record_fires(tenure, state.ledger.now(), 100).jobs:
        pass


def why(state: SchedulerState, moment: datetime) -> list[str]:
    return commands.jobs_why(state, "tidy", moment.isoformat()).text.splitlines()


def test_paused_by_whom_and_for_what(state: SchedulerState) -> None:
    instant = aged(state)
    state.admin.pause("tidy", actor="ada", reason="moving house")
    fire(state)
    said = why(state, instant)
    assert said[0] == f"{at(instant)}: skipped paused: paused by ada: moving house."
    assert said[1].startswith("Recorded ")
    assert said[1].endswith("by me, term 1.")


def test_skipped_because_an_earlier_run_is_still_running(state: SchedulerState) -> None:
    aged(state, minutes=1)
    fire(state)
    [claimed] = state.ledger.claim(lead(state.ledger), "thread", 10, 30)
    rewind(state.ledger, "tidy", timedelta(minutes=1, seconds=7))
    instant = state.ledger.job("tidy").next_fire_at
    assert instant is not None
    fire(state)
    assert why(state, instant)[0] == (
        f"{at(instant)}: skipped overlap: run {claimed.run.run_id} was still alive (1 of 1 allowed)."
    )


def test_nobody_led_from_when_to_when(state: SchedulerState) -> None:
    instant = aged(state, catch_up="all", overlap="allow")
    lead(state.ledger, "old")
    gone = state.ledger.now() - timedelta(minutes=4, seconds=30)
    with state.ledger.writing() as connection:
        connection.execute(update(lease).values(expires_at=gone))
    fire(state, "new")
    [led] = [each for each in state.ledger.events_of("", ["led"]) if each.actor == "new"]
    gap = f"No scheduler led from {at(gone)} to {at(led.at)}; then new did."
    said = why(state, instant + MINUTE)
    assert said[0] == f"{at(instant + MINUTE)}: queued: waiting for a free runner."
    assert said[-1] == gap
    state.ledger.give_lease_back(lead(state.ledger, "new"))
    cursor = state.ledger.job("tidy").next_fire_at
    assert cursor is not None
    assert gap not in why(state, cursor), "it has nothing to do with what comes later"


def test_too_late_for_its_grace(state: SchedulerState) -> None:
    instant = aged(state, misfire_grace_s=30)
    fire(state)
    sentence = why(state, instant)[0]
    assert sentence.startswith(f"{at(instant)}: skipped late: late by ")
    assert sentence.endswith(", the grace is 30 s.")


def test_too_late_and_a_newer_one_ran(state: SchedulerState) -> None:
    instant = aged(state)
    fire(state)
    assert why(state, instant)[0] == (f"{at(instant)}: skipped late: catch_up='last': a newer instant was due as well.")


def test_one_row_for_many(state: SchedulerState) -> None:
    instant = aged(state, minutes=300)
    fire(state)
    said = why(state, instant + 10 * MINUTE)
    assert said[0].startswith(f"{at(instant)}: skipped late: ")
    assert said[1].startswith("The row stands for ")


def test_in_quarantine(state: SchedulerState) -> None:
    instant = aged(state)
    bring_in(state.ledger, broken={"tidy": "Traceback …\nModuleNotFoundError: No module named 'gone'"})
    fire(state)
    assert why(state, instant)[0] == (
        f"{at(instant)}: skipped broken: broken: ModuleNotFoundError: No module named 'gone'."
    )


def test_retired(state: SchedulerState) -> None:
    aged(state)
    fire(state)
    bring_in(state.ledger)
    retired_at = state.ledger.job("tidy").retired_at
    assert retired_at is not None
    [said] = why(state, retired_at + 2 * MINUTE)
    assert said == f"The job is retired: it is gone from the code since {at(retired_at)}, and fires no more."


def test_due_when_it_was_retired(state: SchedulerState) -> None:
    instant = aged(state)
    bring_in(state.ledger)
    assert why(state, instant)[0] == f"{at(instant)}: skipped edited: the job is gone from the code."


def test_deleted(state: SchedulerState) -> None:
    instant = aged(state)
    state.admin.delete("tidy", actor="ada")
    [said] = why(state, state.ledger.now() + MINUTE)
    assert said.startswith("The job was deleted 20")
    assert said.endswith(" by ada.")
    assert why(state, instant)[0] == f"{at(instant)}: skipped edited: the job was deleted by ada."
    with pytest.raises(JobNotFound):
        commands.jobs_why(state, "nothing", instant.isoformat())


def test_edited_before_it_fired(state: SchedulerState) -> None:
    instant = aged(state)
    state.admin.edit_trigger("tidy", "0 1 * * *", actor="ada")
    assert why(state, instant)[0] == f"{at(instant)}: skipped edited: its trigger was edited by ada before it fired."
    said = why(state, state.ledger.now() + timedelta(days=1, seconds=90))
    assert said[0].endswith("the trigger is at 01:00 (UTC).")
    assert said[-1].endswith(": edited by ada: at 01:00.")


def test_lost_with_its_runner(state: SchedulerState) -> None:
    instant = aged(state, minutes=1)
    fire(state)
    tenure = lead(state.ledger)
    state.ledger.claim(tenure, "thread", 10, 30)
    end_run_leases(state.ledger)
    state.ledger.sweep(tenure)
    said = why(state, instant)
    assert ": lost, run " in said[0]
    assert [line for line in said if line.startswith("Because: lost: its runner me stopped reporting")]


def test_cut_off_by_a_stop(state: SchedulerState) -> None:
    instant = aged(state, minutes=1)
    fire(state)
    [claimed] = state.ledger.claim(lead(state.ledger), "thread", 10, 30)
    state.ledger.cut_off(
        "me", [claimed.run.run_id], "its scheduler me stopped and could not wait longer than 5 s for it"
    )
    assert [line for line in why(state, instant) if "could not wait longer than 5 s" in line]


def test_cancelled_by_whom(state: SchedulerState) -> None:
    instant = aged(state, minutes=1)
    fire(state)
    [run] = state.admin.list_runs().runs
    state.admin.cancel_run(run.run_id, actor="bob")
    assert why(state, instant)[0] == f"{at(instant)}: cancelled: cancelled by bob before it started."


def test_failed_with_what(state: SchedulerState) -> None:
    instant = aged(state, minutes=1)
    fire(state)
    [claimed] = state.ledger.claim(lead(state.ledger), "thread", 10, 30)
    state.ledger.finish("me", [Ending(claimed.run.run_id, 1, RunState.FAILED, error="Traceback …\nValueError: no")])
    said = why(state, instant)
    assert said[said.index("Error: ValueError: no") + 1] == f"Its traceback: whalefall jobs show {claimed.run.run_id}"


@pytest.mark.parametrize("how", ["paused", "broken"])
def test_still_to_come_and_what_will_be_in_the_way(how: str, state: SchedulerState) -> None:
    aged(state)
    fire(state)
    cursor = state.ledger.job("tidy").next_fire_at
    assert cursor is not None
    assert why(state, cursor) == [f"It is due at {at(cursor)}, which is still to come."]
    if how == "paused":
        state.admin.pause("tidy", actor="ada", reason="holidays")
        expected = "It will be skipped: paused by ada: holidays."
    else:
        bring_in(state.ledger, broken={"tidy": "ImportError: gone"})
        expected = "It will be skipped: broken: ImportError: gone"
    assert why(state, cursor)[1] == expected


def at(moment: datetime) -> str:
    text = f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{text}.{moment.microsecond // 1000:03} UTC" if moment.microsecond else f"{text} UTC"


def lately(state: SchedulerState) -> list[str]:
    return commands.jobs_why(state, "tidy").text.splitlines()


class TestWithoutATime:
    def test_the_newest_run_and_what_comes_next(self, state: SchedulerState) -> None:
        aged(state)
        fire(state)
        rewind(state.ledger, "tidy", -60 * MINUTE)  # whatever the clock does meanwhile
        newest = state.admin.list_runs(job_id="tidy", limit=1).runs[0]
        coming = state.ledger.job("tidy").next_fire_at
        assert coming is not None
        assert lately(state)[:-1] == why(state, newest.scheduled_at)
        assert lately(state)[-1] == f"The next instant: {at(coming)}."

    def test_an_instant_that_nobody_has_looked_at_is_newer_than_the_last_run(self, state: SchedulerState) -> None:
        instant = aged(state)
        commands.jobs_run(state, "tidy")
        assert lately(state) == why(state, instant)
        assert (
            lately(state)[0] == f"It was due at {at(instant)}, and no scheduler has looked since; it will be caught up."
        )

    def test_what_has_never_run(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy", "cron", month=1, day=1))
        state.admin.pause("tidy", actor="ada", reason="moving house")
        first, following, in_the_way = lately(state)
        assert first == "It has not run yet, and no instant is on record."
        assert following.startswith("The next instant: 2")
        assert in_the_way == "It will be skipped: paused by ada: moving house."

    def test_what_fires_no_more(self, state: SchedulerState) -> None:
        aged(state)
        bring_in(state.ledger)
        assert lately(state)[-1].startswith("The job is retired: it is gone from the code since ")

    def test_what_was_deleted(self, state: SchedulerState) -> None:
        aged(state)
        fire(state)
        state.admin.delete("tidy", actor="ada")
        assert lately(state)[-1].startswith("The job was deleted 20")
        with pytest.raises(JobNotFound):
            commands.jobs_why(state, "nothing")


def test_a_run_waits_because_nobody_leads(state: SchedulerState) -> None:
    bring_in(state.ledger, declared("tidy", "cron", month=1, day=1))
    lead(state.ledger)
    end_lease(state.ledger)
    commands.jobs_run(state, "tidy")
    waiting, nobody, _ = lately(state)
    assert waiting.endswith(": queued: waiting for a free runner.")
    assert nobody.startswith("No scheduler leads since 20")


def test_a_run_by_hand_is_found_by_its_time_too(state: SchedulerState) -> None:
    bring_in(state.ledger, declared("tidy", "cron", month=1, day=1))
    commands.jobs_run(state, "tidy")
    pasted = commands.jobs_history(state, "tidy").text.splitlines()[1].partition("  ")[0]
    [said] = commands.jobs_why(state, "tidy", pasted).text.splitlines()
    assert said.startswith(pasted)
    assert said.endswith(": queued: waiting for a free runner.")
