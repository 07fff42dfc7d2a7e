"""The command line's verbs, why, and the watchman: read from the ledger alone, on both databases."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.ledgers import age, bring_in, declared, end_lease, end_run_leases, lead, rewind
from whalefall.errors import UsageError
from whalefall.scheduler import SchedulerState, commands
from whalefall.scheduler.admin import JobAdmin
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.errors import InvalidArguments, LedgerUnavailable
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.records import Ending
from whalefall.scheduler.ledger.schema import lease as lease_table
from whalefall.scheduler.ledger.schema import run as run_table
from whalefall.scheduler.views import RunView
from whalefall.scheduler.watchman import look, usual_duration
from whalefall.settings import Settings


@pytest.fixture
def state(database_url: str) -> Iterator[SchedulerState]:
    state = commands.office(Settings.load({"DATABASE_URL": database_url}))
    yield state
    state.ledger.engine.dispose()


def fire(state: SchedulerState) -> None:
    tenure = lead(state.ledger)
    while state.ledger.record_fires(tenure, state.ledger.now(), 100).jobs:
        pass


def run_all(state: SchedulerState, ending: RunState = RunState.SUCCEEDED, error: str = "") -> None:
    for claimed in state.ledger.claim(lead(state.ledger), "thread", 100, 30):
        state.ledger.finish("me", [Ending(claimed.run.run_id, claimed.run.attempt, ending, error=error)])


class TestJobs:
    def test_list(self, state: SchedulerState) -> None:
        assert "no jobs yet" in commands.jobs_list(state).text
        bring_in(state.ledger, declared("tidy"), declared("report", "cron", hour=6))
        commands.jobs_pause(state, "tidy", reason="holidays")
        lines = commands.jobs_list(state).text.splitlines()
        assert re.split(" {2,}", lines[0]) == ["ID", "STATE", "TRIGGER", "NEXT (UTC)", "LAST (UTC)", "SOURCE"]
        assert "SOURCE" not in commands.jobs_list(state, width=60).text
        assert lines[1].startswith("report  active")
        assert "at 06:00" in lines[1]
        assert "paused by " in lines[2]
        assert "holidays" in lines[2]
        assert [job["id"] for job in json.loads(commands.jobs_list(state, as_json=True).text)] == ["report", "tidy"]

    def test_list_says_who_leads_and_who_stands_by(self, state: SchedulerState) -> None:
        def said() -> str:
            return commands.jobs_list(state).text.splitlines()[-1]

        assert said() == "nobody leads (no scheduler has ever run); nobody stands by"
        bring_in(state.ledger, declared("tidy"))
        lead(state.ledger, "shop-1/7/a")
        assert said() == "shop-1/7/a leads, term 1; nobody stands by"
        for holder in ("shop-2/8/b", "shop-3/9/c"):
            state.ledger.stand_by(holder, 60)
        assert said() == "shop-1/7/a leads, term 1; standing by: shop-2/8/b, shop-3/9/c"
        end_lease(state.ledger)
        assert said().startswith("nobody leads (no scheduler leads since ")
        assert said().endswith("; standing by: shop-2/8/b, shop-3/9/c")

    def test_show(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("report", "cron", hour=6, retries=2))
        state.admin.edit_trigger("report", "0 7 * * *", actor="ada")
        text = commands.jobs_show(state, "report").text
        for part in ("at 07:00 (UTC)", "in code    0 6 * * *", "retries=2", "tests.support.ledgers:some_work"):
            assert part in text
        assert text.count("07:00:00 UTC") == 5

    def test_run(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        told = commands.jobs_run(state, "tidy", args='{"x": 5}', reason="demo", as_json=True).text
        run_id = json.loads(told)["run_id"]
        run = state.admin.get_run(run_id)
        assert (run.args, run.reason) == ({"x": 5}, "demo")
        assert run.created_by.endswith("command line)")
        for args, sentence in (("{", "are no JSON"), ("[1]", "are no object")):
            with pytest.raises(UsageError, match=sentence):
                commands.jobs_run(state, "tidy", args=args)

    @pytest.mark.parametrize(("patience_s", "ends"), [(60, True), (0, False)])
    def test_waiting_for_a_run_outlives_a_ledger_that_is_away_for_a_moment(
        self, state: SchedulerState, monkeypatch: pytest.MonkeyPatch, patience_s: int, ends: bool
    ) -> None:
        bring_in(state.ledger, declared("tidy"))
        admin, looks = state.admin, iter(["there", "away", "away", "ended"])

        class Shaky(JobAdmin):
            def get_run(self, run_id: str) -> RunView:
                match next(looks):
                    case "away":
                        raise LedgerUnavailable("The ledger's database does not answer.")
                    case "ended":
                        run_all(state)
                return admin.get_run(run_id)

        monkeypatch.setattr(commands, "_WITHOUT_LEDGER_S", patience_s)
        monkeypatch.setattr(state, "admin", Shaky(state))
        told: list[str] = []
        if ends:
            answer = commands.jobs_run(state, "tidy", wait=told.append)
            assert (answer.exit_code, " of tidy succeeded" in answer.text) == (0, True)
        else:
            with pytest.raises(LedgerUnavailable):
                commands.jobs_run(state, "tidy", wait=told.append)
        assert " of tidy is waiting for a scheduler, and none runs" in told[0]

    def test_pause_until_and_resume(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        assert commands.jobs_pause(state, "tidy", until="2099-01-01T12:00+02:00").text == (
            "tidy is paused until 2099-01-01 10:00:00 UTC."
        )
        assert commands.jobs_resume(state, "tidy").text.startswith("tidy goes on; it fires next 20")
        with pytest.raises(UsageError, match="'soon' is not a time"):
            commands.jobs_pause(state, "tidy", until="soon")

    @pytest.mark.parametrize(
        ("until", "sentence"),
        [
            (datetime(2020, 1, 1, tzinfo=UTC), "The end of the pause has passed already"),
            (datetime(2099, 1, 1), "The end of a pause needs a time zone"),  # noqa: DTZ001 - that is the mistake
        ],
    )
    def test_a_pause_that_would_be_none_is_refused(self, until: datetime, sentence: str, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        with pytest.raises(InvalidArguments, match=sentence):
            state.admin.pause("tidy", actor="ada", until=until)
        assert state.ledger.job("tidy").paused_at is None

    def test_history(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        assert commands.jobs_history(state).text == "There are no runs."
        rewind(state.ledger, "tidy", timedelta(minutes=3))
        fire(state)
        run_all(state, RunState.FAILED, "Traceback …\nValueError: no shelf")
        lines = commands.jobs_history(state, "tidy").text.splitlines()
        assert len(lines) == 4
        assert "failed" in lines[1]
        assert lines[1].endswith("ValueError: no shelf")
        wrapped = commands.jobs_history(state, "tidy", width=70).text.splitlines()
        assert len(wrapped) > 4
        assert max(map(len, wrapped)) <= 70
        assert " ".join(" ".join(wrapped).split()) == " ".join(" ".join(lines).split()), "every word is there"
        assert "a newer instant was due as well" in lines[2]


class TestWhy:
    @pytest.fixture(autouse=True)
    def _aged(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        age(state.ledger, "tidy", timedelta(minutes=5))

    def why(self, state: SchedulerState, moment: datetime) -> str:
        return commands.jobs_why(state, "tidy", moment.isoformat()).text

    def instant(self, state: SchedulerState, back: int) -> datetime:
        cursor = state.ledger.job("tidy").next_fire_at
        assert cursor is not None
        return cursor - timedelta(minutes=back)

    def test_it_ran(self, state: SchedulerState) -> None:
        fire(state)
        run_all(state)
        text = self.why(state, self.instant(state, 1))
        assert ": succeeded, run " in text
        assert "by me" in text
        assert "term 1" in text

    def test_it_was_skipped(self, state: SchedulerState) -> None:
        state.ledger.pause("tidy", "ada", "moving house", None)
        fire(state)
        assert "skipped paused: paused by ada: moving house." in self.why(state, self.instant(state, 1))

    def test_a_failure_shows_its_error_and_its_attempts(self, state: SchedulerState) -> None:
        fire(state)
        [claimed] = state.ledger.claim(lead(state.ledger), "thread", 1, 30)
        run_id = claimed.run.run_id
        state.ledger.finish("me", [Ending(run_id, 1, RunState.FAILED, error="E: one", retry_in_s=0.0)])
        run_all(state, RunState.FAILED, "E: two")
        text = self.why(state, self.instant(state, 1))
        assert "Error: E: two" in text
        assert "Attempt 1 by me: failed." in text

    def test_it_was_not_due(self, state: SchedulerState) -> None:
        fire(state)
        text = self.why(state, self.instant(state, 1) + timedelta(seconds=7))
        assert "the trigger is every minute (UTC)" in text
        assert "The instant before it: " in text

    def test_nobody_looked(self, state: SchedulerState) -> None:
        lead(state.ledger)
        end_lease(state.ledger)
        text = self.why(state, self.instant(state, 0))
        assert "no scheduler has looked since; it will be caught up" in text
        assert "No scheduler leads since" in text

    def test_nobody_led_for_a_while(self, state: SchedulerState) -> None:
        lead(state.ledger, "old")
        end_lease(state.ledger)
        fire(state)
        assert "; then me did." in self.why(state, self.instant(state, 1))

    def test_it_is_still_to_come(self, state: SchedulerState) -> None:
        fire(state)
        assert "which is still to come" in self.why(state, self.instant(state, 0))

    def test_it_did_not_exist(self, state: SchedulerState) -> None:
        assert "did not exist yet" in self.why(state, datetime(2020, 1, 1, tzinfo=UTC))


class TestLedger:
    def test_verify_is_0_or_1_with_the_list(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        age(state.ledger, "tidy", timedelta(minutes=5))
        fire(state)
        good = commands.ledger_verify(state)
        assert good.exit_code == 0
        assert good.text.endswith("each is on record exactly once.")
        victim = state.ledger.page(Wanted())[2]
        with state.engine.begin() as connection:
            connection.execute(run_table.delete().where(run_table.c.run_id == victim.run_id))
        bad = commands.ledger_verify(state)
        assert bad.exit_code == 1
        assert f"tidy {victim.scheduled_at:%Y-%m-%d %H:%M:%S} UTC: missing" in bad.text
        assert "1 do not agree" in bad.text

    def test_verify_needs_a_stretch(self, state: SchedulerState) -> None:
        with pytest.raises(UsageError, match="is empty"):
            commands.ledger_verify(state, start="2026-01-02", end="2026-01-01")

    def test_fast_forward_leaves_nothing_to_catch_up_and_says_so(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"), declared("later"))
        age(state.ledger, "tidy", timedelta(minutes=5))
        assert commands.ledger_fast_forward(state).text.splitlines()[0] == "tidy"
        fire(state)
        assert {str(run.state) for run in state.ledger.page(Wanted())} == {"skipped_edited"}
        assert commands.ledger_verify(state).exit_code == 0

    def test_vacuum(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy", catch_up="all", overlap="allow", keep_runs=3))
        rewind(state.ledger, "tidy", timedelta(minutes=10))
        fire(state)
        run_all(state)
        assert commands.ledger_vacuum(state).text.startswith("0 runs forgotten"), "younger than the catch-up window"
        with state.engine.begin() as connection:
            for run in state.ledger.page(Wanted()):
                earlier = run_table.update().where(run_table.c.run_id == run.run_id)
                connection.execute(earlier.values(scheduled_at=run.scheduled_at - timedelta(days=3)))
        assert commands.ledger_vacuum(state).text.startswith("7 runs forgotten")


class TestWatchman:
    def kinds(self, state: SchedulerState) -> list[str]:
        return [alarm.kind for alarm in look(state.ledger)]

    def test_nobody_ever_ran(self, state: SchedulerState) -> None:
        assert self.kinds(state) == ["no_leader"]

    def test_all_is_well(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        lead(state.ledger)
        assert self.kinds(state) == []

    def test_a_dead_scheduler(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        lead(state.ledger)
        end_lease(state.ledger)
        rewind(state.ledger, "tidy", timedelta(minutes=3))
        assert self.kinds(state) == ["no_leader", "overdue"]

    def test_a_hung_scheduler(self, state: SchedulerState) -> None:
        state.ledger.renew_lease(lead(state.ledger), 60, tick_age_s=100)
        [alarm] = look(state.ledger)
        assert (alarm.kind, alarm.text) == ("hung", "me leads, but its loop does not turn.")
        assert state.admin.health().reason.startswith("the loop of me has not turned for 100 s")

    def test_a_clock_that_was_set_back_hides_nothing(self, state: SchedulerState) -> None:
        """A lease and a tick from the future look fresh for an hour, whether or not anybody leads."""
        bring_in(state.ledger, declared("tidy"))
        lead(state.ledger)
        ahead = state.ledger.now() + timedelta(hours=1)
        with state.ledger.writing() as connection:
            connection.execute(lease_table.update().values(expires_at=ahead, ticked_at=ahead))
        [alarm] = look(state.ledger)
        assert alarm.kind == "clock"
        assert "from 3600 s ahead of its database's clock, which was set back" in alarm.text
        health = state.admin.health()
        assert (health.healthy, "it was set back" in health.reason) == (False, True)

    def test_a_run_from_the_future_shows_it_too(self, state: SchedulerState) -> None:
        """Also when a living leader has renewed its lease since: its jobs wait until that time has come again."""
        bring_in(state.ledger, declared("tidy"))
        lead(state.ledger)
        state.ledger.run_now("tidy", actor="ada", args=None, reason="", dedupe=None)
        assert self.kinds(state) == []
        with state.ledger.writing() as connection:
            connection.execute(run_table.update().values(created_at=state.ledger.now() + timedelta(hours=1)))
        assert self.kinds(state) == ["clock"]

    def test_a_run_that_takes_much_longer_than_usual(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy", catch_up="all"))
        rewind(state.ledger, "tidy", timedelta(minutes=6))
        fire(state)
        for _ in range(5):
            run_all(state)
        [claimed] = state.ledger.claim(lead(state.ledger), "thread", 1, 30)
        assert "slow" not in self.kinds(state)
        with state.ledger.writing() as connection:
            mine = run_table.update().where(run_table.c.run_id == claimed.run.run_id)
            connection.execute(mine.values(started_at=state.ledger.now() - timedelta(seconds=90)))
        [alarm] = [alarm for alarm in look(state.ledger) if alarm.kind == "slow"]
        assert alarm.text.endswith("has taken 90 s; usual are 0 s.")

    def test_a_failing_and_a_missing_job(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        rewind(state.ledger, "tidy", timedelta(minutes=2))
        fire(state)
        run_all(state, RunState.FAILED, "ValueError: no shelf")
        assert self.kinds(state) == ["failing", "missed"]

    def test_a_broken_job(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        bring_in(state.ledger, broken={"tidy": "ImportError: gone"})
        lead(state.ledger)
        assert self.kinds(state) == ["broken"]

    def test_a_run_that_nobody_starts(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        rewind(state.ledger, "tidy", timedelta(seconds=100))
        fire(state)
        assert "waiting" in self.kinds(state)

    def test_a_lost_run_is_failing(self, state: SchedulerState) -> None:
        bring_in(state.ledger, declared("tidy"))
        rewind(state.ledger, "tidy", timedelta(minutes=1))
        fire(state)
        tenure = lead(state.ledger)
        state.ledger.claim(tenure, "thread", 1, 30)
        end_run_leases(state.ledger)
        state.ledger.sweep(tenure)
        assert "failing" in self.kinds(state)


def test_what_is_usual_needs_some_history() -> None:
    assert usual_duration([1.0] * 4) is None
    assert usual_duration([1.0] * 19 + [100.0]) == timedelta(seconds=100)
    assert usual_duration([1.0] * 40 + [100.0]) == timedelta(seconds=1)
