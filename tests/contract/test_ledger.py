"""One contract, two databases: what the ledger promises, SQLite and PostgreSQL must both keep."""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.event import listen, remove

from tests.support.ledgers import (
    age,
    bring_in,
    declared,
    end_lease,
    end_run_leases,
    lead,
    opened,
    rewind,
    rows,
)
from tests.support.waiting import wait_until
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.core.triggers import cron_spec
from whalefall.scheduler.errors import Deposed, JobConflict, JobNotFound, RunNotFound
from whalefall.scheduler.ledger import Ledger, runs
from whalefall.scheduler.ledger.history import Retention, Wanted
from whalefall.scheduler.ledger.records import ClaimedRun, Ending, Sign, Tenure
from whalefall.scheduler.verify import verify


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


def fire(ledger: Ledger, tenure: Tenure) -> int:
    """Records everything due; answers the number of runs that are to start."""
    queued = 0
    while (fired := ledger.record_fires(tenure, ledger.now(), 500)).jobs:
        queued += fired.queued
    return queued


def claim(ledger: Ledger, tenure: Tenure, limit: int = 100) -> list[ClaimedRun]:
    return ledger.claim(tenure, "thread", limit, 30)


def states(ledger: Ledger, job_id: str | None = None) -> Counter[str]:
    return Counter(str(run.state) for run in ledger.page(Wanted(job_id=job_id, limit=10_000)))


class TestLease:
    def test_the_first_one_leads_and_the_second_stands_by(self, ledger: Ledger) -> None:
        assert ledger.take_lease("a", 60) == Tenure("a", 1)
        assert ledger.take_lease("b", 60) is None

    def test_taking_again_keeps_the_term(self, ledger: Ledger) -> None:
        lead(ledger, "a")
        assert ledger.take_lease("a", 60) == Tenure("a", 1)

    def test_each_change_of_holder_moves_the_term_on(self, ledger: Ledger) -> None:
        lead(ledger, "a")
        end_lease(ledger)
        assert ledger.take_lease("b", 60) == Tenure("b", 2)
        end_lease(ledger)
        assert ledger.take_lease("a", 60) == Tenure("a", 3)

    def test_its_own_lease_run_out_gives_the_same_holder_a_new_term(self, ledger: Ledger) -> None:
        lead(ledger, "a")
        end_lease(ledger)
        assert ledger.take_lease("a", 60) == Tenure("a", 2)

    def test_renewing_fails_once_another_leads(self, ledger: Ledger) -> None:
        old = lead(ledger, "a")
        assert ledger.renew_lease(old, 60, 0.0)
        end_lease(ledger)
        lead(ledger, "b")
        assert not ledger.renew_lease(old, 60, 0.0)

    def test_given_back_it_is_free_at_once(self, ledger: Ledger) -> None:
        ledger.give_lease_back(lead(ledger, "a"))
        assert ledger.take_lease("b", 60) == Tenure("b", 2)

    def test_a_former_leader_cannot_give_back_what_is_not_his(self, ledger: Ledger) -> None:
        old = lead(ledger, "a")
        end_lease(ledger)
        lead(ledger, "b")
        ledger.give_lease_back(old)
        assert ledger.take_lease("c", 60) is None

    def test_a_holder_that_is_certainly_dead_need_not_run_out(self, ledger: Ledger) -> None:
        old = lead(ledger, "a")
        assert ledger.take_lease("b", 60, lambda holder: holder == "someone else") is None
        assert ledger.take_lease("b", 60, lambda holder: holder == "a") == Tenure("b", 2)
        assert not ledger.renew_lease(old, 60, 0.0)

    def test_seizing_fences_the_old_term_off(self, ledger: Ledger) -> None:
        old = lead(ledger, "a")
        assert ledger.seize_lease("b", 60) == Tenure("b", 2)
        with pytest.raises(Deposed, match="no longer leads with term 1"):
            ledger.record_fires(old, ledger.now(), 10)

    def test_of_many_who_try_at_once_one_leads(self, ledger: Ledger) -> None:
        ledger.prepare()
        won: list[Tenure] = []
        barrier = threading.Barrier(8)

        def candidate(name: str) -> None:
            barrier.wait()
            tenure = ledger.take_lease(name, 60)
            if tenure is not None:
                won.append(tenure)

        threads = [threading.Thread(target=candidate, args=(f"n{number}",)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1


class TestStandbys:
    def names(self, ledger: Ledger) -> list[str]:
        return [record.holder for record in ledger.standbys()]

    def test_those_who_wait_are_shown_and_the_leader_is_not(self, ledger: Ledger) -> None:
        for name in ("a", "b"):
            ledger.stand_by(name, 60)
        lead(ledger, "c")
        assert self.names(ledger) == ["a", "b"]
        end_lease(ledger)
        lead(ledger, "a")
        assert self.names(ledger) == ["b"]

    def test_one_that_goes_on_waiting_keeps_its_since(self, ledger: Ledger) -> None:
        ledger.stand_by("a", 60)
        [before] = ledger.standbys()
        ledger.stand_by("a", 60)
        [after] = ledger.standbys()
        assert after.since == before.since
        assert after.seen_at > before.seen_at

    def test_one_that_leaves_and_one_that_is_silent_vanish(self, ledger: Ledger) -> None:
        ledger.stand_by("silent", -1)
        ledger.stand_by("leaving", 60)
        assert self.names(ledger) == ["leaving"]
        assert rows(ledger, "SELECT count(*) FROM wf_standby") == [(1,)], "the silent one's row is gone, too"
        ledger.leave_standby("leaving")
        assert self.names(ledger) == []


class TestFires:
    def test_nothing_due_records_nothing(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        assert fire(ledger, lead(ledger)) == 0

    def test_a_due_instant_becomes_one_run_and_moves_the_cursor(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        before = ledger.job("tidy").next_fire_at
        rewind(ledger, "tidy", timedelta(minutes=1))
        assert fire(ledger, lead(ledger)) == 1
        [run] = ledger.page(Wanted(job_id="tidy"))
        assert run.state is RunState.QUEUED
        assert before is not None
        assert run.scheduled_at == before - timedelta(minutes=1)
        assert ledger.job("tidy").next_fire_at == before
        assert (run.fired_by, run.fired_term) == ("me", 1)

    def test_an_instant_that_is_on_record_already_stays_single(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        tenure = lead(ledger)
        rewind(ledger, "tidy", timedelta(minutes=1))
        fire(ledger, tenure)
        cursor = ledger.job("tidy").next_fire_at
        assert cursor is not None
        with ledger.writing() as connection:  # as if a restored backup had brought the old cursor back
            from whalefall.scheduler.ledger.schema import job

            connection.execute(job.update().values(next_fire_at=cursor - timedelta(minutes=1)))
        fire(ledger, tenure)
        assert len(ledger.page(Wanted(job_id="tidy"))) == 1
        assert ledger.job("tidy").next_fire_at == cursor

    def test_a_deposed_leader_records_nothing(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        rewind(ledger, "tidy", timedelta(minutes=1))
        old = lead(ledger, "a")
        end_lease(ledger)
        new = lead(ledger, "b")
        with pytest.raises(Deposed):
            fire(ledger, old)
        assert fire(ledger, new) == 1

    def test_a_leader_whose_lease_ran_out_records_nothing(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        rewind(ledger, "tidy", timedelta(minutes=1))
        tenure = lead(ledger)
        end_lease(ledger)
        with pytest.raises(Deposed):
            fire(ledger, tenure)

    def test_two_leaders_at_once_record_each_instant_once(self, ledger: Ledger) -> None:
        """Not even a broken lock doubles: here both hold the same term."""
        bring_in(ledger, *[declared(f"job{number}", catch_up="all", overlap="allow") for number in range(50)])
        for number in range(50):
            rewind(ledger, f"job{number}", timedelta(minutes=3))
        tenure = lead(ledger)
        failures: list[BaseException] = []

        def record() -> None:
            try:
                while ledger.record_fires(tenure, ledger.now(), 7).jobs:
                    pass
            except BaseException as error:  # noqa: BLE001 - shown by the main thread
                failures.append(error)

        threads = [threading.Thread(target=record) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert rows(ledger, "SELECT count(*), count(DISTINCT job_id) FROM wf_run") == [(150, 50)]

    def test_a_batch_is_no_larger_than_asked(self, ledger: Ledger) -> None:
        bring_in(ledger, *[declared(f"job{number}") for number in range(5)])
        for number in range(5):
            rewind(ledger, f"job{number}", timedelta(minutes=1))
        tenure = lead(ledger)
        assert ledger.record_fires(tenure, ledger.now(), 3).jobs == 3
        assert ledger.record_fires(tenure, ledger.now(), 3).jobs == 2

    def test_a_paused_job_leaves_a_row_with_the_reason(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        ledger.pause("tidy", "ada", "moving house", None)
        rewind(ledger, "tidy", timedelta(minutes=1))
        assert fire(ledger, lead(ledger)) == 0
        [run] = ledger.page(Wanted(job_id="tidy"))
        assert (run.state, run.reason) == (RunState.SKIPPED_PAUSED, "paused by ada: moving house")

    def test_the_end_of_a_pause_ends_it(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        ledger.pause("tidy", "ada", "", datetime.now(UTC) - timedelta(seconds=1))
        rewind(ledger, "tidy", timedelta(minutes=3))
        fire(ledger, lead(ledger))
        assert ledger.job("tidy").paused_at is None
        assert [event.kind for event in ledger.events_of("tidy")][-1] == "resumed"

    def test_a_broken_job_leaves_a_row_with_the_error(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        bring_in(ledger, broken={"tidy": "Traceback …\nModuleNotFoundError: No module named 'gone'"})
        rewind(ledger, "tidy", timedelta(minutes=1))
        fire(ledger, lead(ledger))
        [run] = ledger.page(Wanted(job_id="tidy"))
        assert run.state is RunState.SKIPPED_BROKEN
        assert "No module named 'gone'" in run.reason

    def test_an_alive_run_makes_the_next_instant_skip_and_says_which(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        tenure = lead(ledger)
        rewind(ledger, "tidy", timedelta(minutes=1))
        fire(ledger, tenure)
        [first] = claim(ledger, tenure)
        rewind(ledger, "tidy", timedelta(minutes=1, seconds=1))
        fire(ledger, tenure)
        newest = ledger.page(Wanted(job_id="tidy"))[0]
        assert newest.state is RunState.SKIPPED_OVERLAP
        assert first.run.run_id in newest.reason


class TestClaims:
    @pytest.fixture
    def tenure(self, ledger: Ledger) -> Tenure:
        return lead(ledger)

    def queued(self, ledger: Ledger, tenure: Tenure, job_id: str = "tidy", **options: object) -> None:
        bring_in(ledger, declared(job_id, **options))
        rewind(ledger, job_id, timedelta(minutes=1))
        fire(ledger, tenure)

    def test_a_run_is_claimed_once(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        assert (claimed.run.state, claimed.run.attempt, claimed.run.claimed_by) == (RunState.RUNNING, 1, "me")
        assert claim(ledger, tenure) == []
        assert ledger.claim_one(claimed.run.run_id, "other", 30) is None

    def test_of_many_workers_told_of_one_run_one_gets_it(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [run] = ledger.page(Wanted())
        got: list[ClaimedRun] = []
        barrier = threading.Barrier(6)

        def worker(name: str) -> None:
            barrier.wait()
            claimed = ledger.claim_one(run.run_id, name, 30)
            if claimed is not None:
                got.append(claimed)

        threads = [threading.Thread(target=worker, args=(f"w{number}",)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1

    def test_a_run_that_may_not_start_yet_is_not_claimed(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure, jitter_s=100_000)
        [run] = ledger.page(Wanted())
        assert run.not_before > run.scheduled_at
        assert claim(ledger, tenure) == []

    def test_no_more_runs_of_a_job_than_its_slots(self, ledger: Ledger, tenure: Tenure) -> None:
        bring_in(ledger, declared("tidy", catch_up="all", max_instances=2))
        rewind(ledger, "tidy", timedelta(minutes=5))
        assert fire(ledger, tenure) == 5
        assert len(claim(ledger, tenure)) == 2
        assert claim(ledger, tenure) == []
        ledger.finish(
            "me", [Ending(run.run_id, 1, RunState.SUCCEEDED) for run in ledger.alive_runs() if run.attempt][:1]
        )
        assert len(claim(ledger, tenure)) == 1

    def test_workers_elsewhere_keep_to_the_slots_too(self, ledger: Ledger, tenure: Tenure) -> None:
        """Told of three runs of one job at the same moment, as by a broker, they begin one."""
        bring_in(ledger, declared("tidy", catch_up="all"))
        rewind(ledger, "tidy", timedelta(minutes=3))
        fire(ledger, tenure)
        run_ids = [run.run_id for run in ledger.page(Wanted(job_id="tidy"))]
        assert len(run_ids) == 3
        got: list[ClaimedRun] = []
        barrier = threading.Barrier(3)

        def worker(run_id: str) -> None:
            barrier.wait()
            claimed = ledger.claim_one(run_id, f"worker of {run_id}", 30)
            if claimed is not None:
                got.append(claimed)

        threads = [threading.Thread(target=worker, args=(run_id,)) for run_id in run_ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        [first] = got
        [other, _] = [run_id for run_id in run_ids if run_id != first.run.run_id]
        assert ledger.claim_one(other, "another", 30) is None
        ledger.finish(first.run.claimed_by, [Ending(first.run.run_id, 1, RunState.SUCCEEDED)])
        assert ledger.claim_one(other, "another", 30) is not None

    def test_an_ending_by_the_owner_counts(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        run_id = claimed.run.run_id
        assert ledger.finish("me", [Ending(run_id, 1, RunState.SUCCEEDED, output="done")]) == [run_id]
        run = ledger.run(run_id)
        assert (run.state, run.output, run.progress) == (RunState.SUCCEEDED, "done", 1.0)
        assert run.finished_at is not None

    def test_an_ending_by_anyone_else_is_dropped(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        run_id = claimed.run.run_id
        assert ledger.finish("other", [Ending(run_id, 1, RunState.SUCCEEDED)]) == []
        assert ledger.finish("me", [Ending(run_id, 2, RunState.SUCCEEDED)]) == []
        assert ledger.run(run_id).state is RunState.RUNNING

    def test_a_run_ends_once(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        ending = Ending(claimed.run.run_id, 1, RunState.FAILED, error="first")
        assert ledger.finish("me", [ending]) == [ending.run_id]
        assert ledger.finish("me", [Ending(ending.run_id, 1, RunState.SUCCEEDED)]) == []
        assert ledger.run(ending.run_id).error == "first"

    def test_a_retry_goes_back_to_the_queue_and_keeps_the_attempt(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        run_id = claimed.run.run_id
        ledger.finish("me", [Ending(run_id, 1, RunState.FAILED, error="boom", retry_in_s=0.0)])
        assert ledger.run(run_id).state is RunState.QUEUED
        [again] = claim(ledger, tenure)
        assert again.run.attempt == 2
        assert rows(ledger, "SELECT attempt, state, error FROM wf_attempt") == [(1, "failed", "boom")]

    def test_signs_of_life_are_the_owners_alone(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        run_id = claimed.run.run_id
        ledger.tell("other", [Sign(run_id, 1, 0.9, "no", "no")])
        assert ledger.run(run_id).progress is None
        ledger.tell("me", [Sign(run_id, 1, 0.4, "almost", "line\n")])
        run = ledger.run(run_id)
        assert (run.progress, run.progress_text, run.output) == (0.4, "almost", "line\n")

    def test_keeping_alive_tells_what_is_still_ours(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        run_id = claimed.run.run_id
        assert ledger.keep_alive("me", [run_id, "unknown"], 30) == {run_id: False}
        assert ledger.keep_alive("other", [run_id], 30) == {}
        ledger.cancel(run_id, "ada")
        assert ledger.keep_alive("me", [run_id], 30) == {run_id: True}

    def test_what_never_began_goes_back_as_if_nobody_had_touched_it(self, ledger: Ledger, tenure: Tenure) -> None:
        self.queued(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        ledger.return_unstarted("other", [claimed.run.run_id])
        assert ledger.run(claimed.run.run_id).state is RunState.RUNNING
        ledger.return_unstarted("me", [claimed.run.run_id])
        [again] = claim(ledger, tenure)
        assert again.run.attempt == 1


class TestSweeper:
    @pytest.fixture
    def tenure(self, ledger: Ledger) -> Tenure:
        return lead(ledger)

    def running(self, ledger: Ledger, tenure: Tenure, **options: object) -> ClaimedRun:
        bring_in(ledger, declared("tidy", **options))
        rewind(ledger, "tidy", timedelta(minutes=1))
        fire(ledger, tenure)
        [claimed] = claim(ledger, tenure)
        return claimed

    def test_what_is_alive_is_left_alone(self, ledger: Ledger, tenure: Tenure) -> None:
        self.running(ledger, tenure)
        assert ledger.sweep(tenure) == []

    def test_a_silent_run_is_lost(self, ledger: Ledger, tenure: Tenure) -> None:
        run_id = self.running(ledger, tenure).run.run_id
        end_run_leases(ledger)
        assert ledger.sweep(tenure) == [(run_id, RunState.LOST)]
        run = ledger.run(run_id)
        assert run.state is RunState.LOST
        assert "stopped reporting" in run.reason
        assert ledger.sweep(tenure) == []

    def test_the_run_of_a_dead_runner_is_lost_at_once(self, ledger: Ledger, tenure: Tenure) -> None:
        run_id = self.running(ledger, tenure).run.run_id
        assert ledger.sweep(tenure, lambda holder: holder == "other") == []
        assert ledger.sweep(tenure, lambda holder: holder == "me") == [(run_id, RunState.LOST)]

    def test_to_one_that_could_not_hear_nobodys_silence_counts(self, ledger: Ledger, tenure: Tenure) -> None:
        """As after an outage: the others had nobody to tell that they live. Who is certainly dead is so anyway."""
        run_id = self.running(ledger, tenure).run.run_id
        end_run_leases(ledger)
        assert ledger.sweep(tenure, silence_counts=False) == []
        assert ledger.sweep(tenure, lambda holder: holder == "other", silence_counts=False) == []
        assert ledger.sweep(tenure, lambda holder: holder == "me", silence_counts=False) == [(run_id, RunState.LOST)]

    def test_an_idempotent_jobs_run_runs_again(self, ledger: Ledger, tenure: Tenure) -> None:
        run_id = self.running(ledger, tenure, on_crash="rerun").run.run_id
        end_run_leases(ledger)
        assert ledger.sweep(tenure) == [(run_id, RunState.QUEUED)]
        [again] = claim(ledger, tenure)
        assert (again.run.run_id, again.run.attempt) == (run_id, 2)

    def test_the_late_result_of_a_swept_run_is_dropped(self, ledger: Ledger, tenure: Tenure) -> None:
        run_id = self.running(ledger, tenure, on_crash="rerun").run.run_id
        end_run_leases(ledger)
        ledger.sweep(tenure)
        claim(ledger, tenure)
        assert ledger.finish("me", [Ending(run_id, 1, RunState.SUCCEEDED)]) == []
        assert ledger.finish("me", [Ending(run_id, 2, RunState.SUCCEEDED)]) == [run_id]

    def test_a_run_that_always_takes_its_runner_down_is_given_up(self, ledger: Ledger, tenure: Tenure) -> None:
        run_id = self.running(ledger, tenure, on_crash="rerun").run.run_id
        for _ in range(20):
            end_run_leases(ledger)
            ledger.sweep(tenure)
            if ledger.run(run_id).state is RunState.LOST:
                break
            claim(ledger, tenure)
        assert ledger.run(run_id).state is RunState.LOST

    def test_a_run_that_somebody_cancelled_is_not_run_again(self, ledger: Ledger, tenure: Tenure) -> None:
        run_id = self.running(ledger, tenure, on_crash="rerun").run.run_id
        ledger.cancel(run_id, "bob")
        end_run_leases(ledger)
        [(swept, state)] = ledger.sweep(tenure)
        assert (swept, state) == (run_id, ledger.run(run_id).state)
        assert state is not RunState.QUEUED
        assert claim(ledger, tenure) == []

    def test_only_the_leader_sweeps(self, ledger: Ledger, tenure: Tenure) -> None:
        self.running(ledger, tenure)
        end_lease(ledger)
        with pytest.raises(Deposed):
            ledger.sweep(tenure)

    def test_a_stop_hands_back_by_the_same_policy(self, ledger: Ledger, tenure: Tenure) -> None:
        run_id = self.running(ledger, tenure, on_crash="rerun").run.run_id
        assert ledger.hand_back("me", [run_id], "stopping") == [(run_id, RunState.QUEUED)]


class TestPeople:
    @pytest.fixture(autouse=True)
    def _a_job(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))

    def test_an_edit_survives_the_next_start_and_can_be_undone(self, ledger: Ledger) -> None:
        ledger.edit_trigger("tidy", cron_spec("0 1 * * *"), "ada")
        bring_in(ledger, declared("tidy"))
        record = ledger.job("tidy")
        assert record.effective_trigger == cron_spec("0 1 * * *")
        assert record.next_fire_at is not None
        assert record.next_fire_at.hour == 1
        ledger.edit_trigger("tidy", None, "ada")
        assert ledger.job("tidy").effective_trigger["type"] == "interval"

    def test_an_edit_made_from_an_old_version_is_refused(self, ledger: Ledger) -> None:
        version = ledger.job("tidy").version
        ledger.edit_trigger("tidy", cron_spec("0 1 * * *"), "ada", version)
        with pytest.raises(JobConflict, match="changed by somebody else"):
            ledger.edit_trigger("tidy", cron_spec("0 2 * * *"), "bob", version)

    def test_an_edit_records_what_had_not_fired_yet(self, ledger: Ledger) -> None:
        rewind(ledger, "tidy", timedelta(minutes=2))
        ledger.edit_trigger("tidy", cron_spec("0 1 * * *"), "ada")
        assert states(ledger) == {"skipped_edited": 2}

    def test_a_new_trigger_in_code_takes_effect_and_an_unchanged_one_keeps_the_cursor(self, ledger: Ledger) -> None:
        before = ledger.job("tidy")
        bring_in(ledger, declared("tidy"))
        assert ledger.job("tidy") == before
        bring_in(ledger, declared("tidy", minutes=7))
        assert ledger.job("tidy").effective_trigger["seconds"] == 420

    def test_a_pause_survives_the_next_start(self, ledger: Ledger) -> None:
        until = (ledger.now() + timedelta(days=1)).replace(microsecond=0)
        ledger.pause("tidy", "ada", "why", until)
        before = ledger.job("tidy")
        for minutes in (1, 3):  # unchanged, and with another trigger
            bring_in(ledger, declared("tidy", minutes=minutes))
            record = ledger.job("tidy")
            assert (record.pause, record.paused_at) == (before.pause, before.paused_at)
            assert str(record.pause) == "paused by ada: why"
        rewind(ledger, "tidy", timedelta(minutes=3))
        assert fire(ledger, lead(ledger)) == 0
        assert states(ledger) == {"skipped_paused": 1}

    def test_gone_from_code_means_retired_and_back_means_alive(self, ledger: Ledger) -> None:
        assert bring_in(ledger).retired == ("tidy",)
        assert ledger.job("tidy").next_fire_at is None
        assert bring_in(ledger).retired == ()
        bring_in(ledger, declared("tidy"))
        assert ledger.job("tidy").next_fire_at is not None

    def test_broken_heals_with_the_next_good_release(self, ledger: Ledger) -> None:
        bring_in(ledger, broken={"tidy": "ImportError: no"})
        assert ledger.job("tidy").broken_reason == "ImportError: no"
        bring_in(ledger, declared("tidy"))
        assert ledger.job("tidy").broken_reason == ""
        assert [event.kind for event in ledger.events_of("tidy")] == ["schedule", "broken", "healed"]

    def test_deleted_stays_deleted_until_somebody_reloads(self, ledger: Ledger) -> None:
        ledger.delete("tidy", "ada")
        with pytest.raises(JobNotFound):
            ledger.job("tidy")
        bring_in(ledger, declared("tidy"))
        with pytest.raises(JobNotFound):
            ledger.job("tidy")
        bring_in(ledger, declared("tidy"), undelete=True)
        assert ledger.job("tidy").next_fire_at is not None

    def test_deleting_a_job_ends_what_waits_and_asks_what_runs(self, ledger: Ledger) -> None:
        running = ledger.run_now("tidy", actor="ada", args=None, reason="", dedupe=None)
        claim(ledger, lead(ledger))
        waiting = ledger.run_now("tidy", actor="ada", args=None, reason="", dedupe=None)
        ledger.delete("tidy", "bob")
        assert (ledger.run(waiting).state, ledger.run(waiting).cancelled_by) == (RunState.CANCELLED, "bob")
        assert (ledger.run(running).state, ledger.run(running).cancel_requested) == (RunState.RUNNING, True)
        assert ledger.finish("me", [Ending(running, 1, RunState.CANCELLED)]) == [running]

    def test_asking_twice_with_one_key_runs_once(self, ledger: Ledger) -> None:
        first = ledger.run_now("tidy", actor="ada", args=None, reason="", dedupe="order-7")
        assert ledger.run_now("tidy", actor="ada", args=None, reason="", dedupe="order-7") == first
        assert ledger.run_now("tidy", actor="ada", args=None, reason="", dedupe=None) != first
        assert states(ledger) == {"queued": 2}

    def test_a_manual_run_remembers_who_and_why_and_its_arguments(self, ledger: Ledger) -> None:
        run_id = ledger.run_now("tidy", actor="ada", args={"x": 5}, reason="demo", dedupe=None)
        run = ledger.run(run_id)
        assert (run.source, run.created_by, run.note, run.args) == ("manual", "ada", "demo", {"x": 5})
        [claimed] = claim(ledger, lead(ledger))
        assert claimed.kwargs == {"x": 5}

    def test_a_broken_job_cannot_be_run_by_hand(self, ledger: Ledger) -> None:
        bring_in(ledger, broken={"tidy": "ImportError: no"})
        with pytest.raises(JobConflict, match="ImportError: no"):
            ledger.run_now("tidy", actor="ada", args=None, reason="", dedupe=None)

    def test_cancelling_a_waiting_run_ends_it(self, ledger: Ledger) -> None:
        run_id = ledger.run_now("tidy", actor="ada", args=None, reason="", dedupe=None)
        ledger.cancel(run_id, "bob")
        assert ledger.run(run_id).state is RunState.CANCELLED
        with pytest.raises(JobConflict, match="has ended already: cancelled"):
            ledger.cancel(run_id, "bob")
        with pytest.raises(RunNotFound):
            ledger.cancel("nothing", "bob")

    def test_a_past_date_is_due_at_once_and_only_once(self, ledger: Ledger) -> None:
        when = "2020-02-29 12:00:00"
        bring_in(ledger, declared("tidy"), declared("once", "date", run_date=when))
        tenure = lead(ledger)
        assert fire(ledger, tenure) == 1
        bring_in(ledger, declared("tidy"), declared("once", "date", run_date=when))
        assert fire(ledger, tenure) == 0
        assert ledger.job("once").next_fire_at is None

    def test_a_date_without_a_date_fires_at_the_first_start_only(self, ledger: Ledger) -> None:
        tenure = lead(ledger)
        bring_in(ledger, declared("tidy"), declared("hello", "date"))
        assert fire(ledger, tenure) == 1
        bring_in(ledger, declared("tidy"), declared("hello", "date"))
        assert fire(ledger, tenure) == 0


class TestHistory:
    def test_pages_are_newest_first_and_lose_nothing(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy", catch_up="all", overlap="allow"))
        rewind(ledger, "tidy", timedelta(minutes=25))
        fire(ledger, lead(ledger))
        seen, before = [], None
        while page := ledger.page(Wanted(before=before, limit=10)):
            seen += [run.run_id for run in page]
            before = page[-1].run_id
        assert len(seen) == 25
        assert seen == sorted(seen, reverse=True)

    def test_retention_keeps_the_newest_and_everything_young(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy", catch_up="all", overlap="allow"))
        rewind(ledger, "tidy", timedelta(minutes=30))
        tenure = lead(ledger)
        fire(ledger, tenure)
        claimed = claim(ledger, tenure)
        ledger.finish("me", [Ending(item.run.run_id, 1, RunState.SUCCEEDED) for item in claimed])
        now = ledger.now()
        young = Retention(keep_runs=5, ended_before=now, always_since=now - timedelta(days=1))
        assert ledger.prune("tidy", young) == 0
        by_count = Retention(keep_runs=5, ended_before=now - timedelta(days=1), always_since=now)
        assert ledger.prune("tidy", by_count) == 25
        assert len(ledger.page(Wanted())) == 5

    def test_what_is_alive_is_never_forgotten(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"))
        rewind(ledger, "tidy", timedelta(minutes=1))
        fire(ledger, lead(ledger))
        now = ledger.now() + timedelta(minutes=5)
        assert ledger.prune("tidy", Retention(keep_runs=1, ended_before=now, always_since=now)) == 0

    def test_a_run_that_starts_or_goes_back_while_one_looks_is_among_the_living(self, ledger: Ledger) -> None:
        """Two looks, one for those that wait and one for those that run, would miss who changes places in between."""
        bring_in(ledger, declared("first"), declared("second"))
        for job_id in ("first", "second"):
            rewind(ledger, job_id, timedelta(minutes=1))
        tenure = lead(ledger)
        fire(ledger, tenure)
        claim(ledger, tenure, limit=1)
        changed: list[str] = []

        def change_places(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            if "FROM wf_run" in statement and not changed:
                changed.append(statement)
                turn = text("UPDATE wf_run SET state = CASE state WHEN 'queued' THEN 'running' ELSE 'queued' END")
                with ledger.writing() as connection:
                    connection.execute(turn)

        listen(ledger.engine, "after_cursor_execute", change_places)
        alive = ledger.alive_runs()
        remove(ledger.engine, "after_cursor_execute", change_places)
        assert changed
        assert [run.job_id for run in alive] == ["first", "second"]

    def test_the_backlog_counts_late_fires_and_late_starts(self, ledger: Ledger) -> None:
        bring_in(ledger, declared("tidy"), declared("late"))
        assert ledger.backlog(30) == 0
        rewind(ledger, "late", timedelta(minutes=5))
        assert ledger.backlog(30) == 1


class TestVerify:
    def checked(self, ledger: Ledger) -> list[str]:
        now = ledger.now()
        return [problem.kind for problem in verify(ledger, now - timedelta(hours=1), now).problems]

    def aged(self, ledger: Ledger, minutes: int = 10) -> None:
        """A job that has existed for a while, with its history of schedules."""
        bring_in(ledger, declared("tidy"))
        age(ledger, "tidy", timedelta(minutes=minutes))

    def test_a_sound_ledger_has_no_problem(self, ledger: Ledger) -> None:
        self.aged(ledger)
        fire(ledger, lead(ledger))
        now = ledger.now()
        report = verify(ledger, now - timedelta(hours=1), now)
        assert (report.expected, report.recorded, report.problems) == (10, 10, ())

    def test_a_missing_row_is_named(self, ledger: Ledger) -> None:
        self.aged(ledger)
        fire(ledger, lead(ledger))
        oldest = ledger.page(Wanted())[-1]
        with ledger.writing() as connection:
            from whalefall.scheduler.ledger.schema import run

            connection.execute(run.delete().where(run.c.run_id == oldest.run_id))
        now = ledger.now()
        [problem] = verify(ledger, now - timedelta(hours=1), now).problems
        assert (problem.kind, problem.instant) == ("missing", oldest.scheduled_at)

    def test_a_row_for_no_instant_is_named(self, ledger: Ledger) -> None:
        self.aged(ledger)
        fire(ledger, lead(ledger))
        with ledger.writing() as connection:
            from whalefall.scheduler.ledger import fires

            moment = ledger.now() - timedelta(minutes=3, seconds=31)
            row = fires.run_row(ledger.job("tidy"), now=moment, scheduled_at=moment, not_before=moment)
            fires.insert_new(connection, [row])
        assert self.checked(ledger) == ["unexpected"]

    def test_an_edit_and_a_long_stretch_of_skips_are_understood(self, ledger: Ledger) -> None:
        self.aged(ledger, minutes=50)
        ledger.pause("tidy", "ada", "", None)
        fire(ledger, lead(ledger))
        ledger.edit_trigger("tidy", cron_spec("* * * * * *"), "ada")
        assert self.checked(ledger) == []


def test_of_two_claims_for_one_slot_the_second_waits_for_the_first(postgres_url: str) -> None:
    """Neither sees what the other has not committed: without waiting both would find the slot free."""
    with opened(postgres_url) as ledger:
        bring_in(ledger, declared("tidy", catch_up="all"))
        rewind(ledger, "tidy", timedelta(minutes=2))
        fire(ledger, lead(ledger))
        one, two = (run.run_id for run in ledger.page(Wanted(job_id="tidy")))
        second: list[ClaimedRun | None] = []
        worker = threading.Thread(target=lambda: second.append(ledger.claim_one(two, "b", 30)))

        def waits_or_went_ahead() -> bool:
            return bool(second or rows(ledger, "SELECT 1 FROM pg_locks WHERE NOT granted"))

        with ledger.writing() as connection:
            assert runs.claim_one(connection, one, "a", 30) is not None
            worker.start()
            wait_until(waits_or_went_ahead, "the second claim waits")
        worker.join(20)
        assert second == [None]
