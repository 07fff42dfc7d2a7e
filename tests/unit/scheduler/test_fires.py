"""What becomes of due instants, in virtual time: on time, after a sleep, in a pause, beside a run that will not end."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whalefall.scheduler.core.fires import (
    DUE_MAX,
    SINGLE_ROWS_MAX,
    Alive,
    Due,
    FirePlan,
    OnRecord,
    Pause,
    PlannedRun,
    not_before,
    plan_fires,
)
from whalefall.scheduler.core.policies import Policies
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.core.triggers import DateTrigger, IntervalTrigger

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
EVERY_MINUTE = IntervalTrigger(MINUTE, NOON, None)


def due(**changes: object) -> Due:
    """Every minute from noon on."""
    policies = Policies(**{name: changes.pop(name) for name in list(changes) if name in Policies.__dataclass_fields__})
    return replace(Due("tidy", NOON, EVERY_MINUTE, policies), **changes)


def told(plan: FirePlan) -> list[tuple[int, str]]:
    """(minutes after noon, state)"""
    return [((row.scheduled_at - NOON) // MINUTE, str(row.state)) for row in plan.rows]


def minutes(rows: Sequence[PlannedRun], state: RunState = RunState.QUEUED) -> list[int]:
    return [(row.scheduled_at - NOON) // MINUTE for row in rows if row.state is state]


def test_nothing_is_due_before_its_time() -> None:
    assert plan_fires(due(), NOON - MINUTE / 60) == FirePlan((), NOON)


def test_on_time() -> None:
    plan = plan_fires(due(), NOON)
    assert told(plan) == [(0, "queued")]
    assert plan.next_fire_at == NOON + MINUTE


class TestAfterASleep:
    """The host was away from 12:00 to 12:08:30."""

    now = NOON + MINUTE * 8.5

    def test_last_runs_the_newest_and_names_the_others(self) -> None:
        plan = plan_fires(due(catch_up="last"), self.now)
        assert minutes(plan.rows) == [8]
        assert minutes(plan.rows, RunState.SKIPPED_LATE) == list(range(8))
        assert "a newer instant" in plan.rows[0].reason
        assert plan.next_fire_at == NOON + 9 * MINUTE

    def test_all_runs_each(self) -> None:
        assert minutes(plan_fires(due(catch_up="all"), self.now).rows) == list(range(9))

    def test_all_has_a_limit(self) -> None:
        plan = plan_fires(due(catch_up="all", catch_up_limit=2), self.now)
        assert minutes(plan.rows) == [6, 7, 8]
        assert "more than 2 instants were missed" in plan.rows[0].reason

    def test_all_has_an_age(self) -> None:
        plan = plan_fires(due(catch_up="all", misfire_grace_s=180), self.now)
        assert minutes(plan.rows) == [6, 7, 8]
        assert plan.rows[5].reason == "late by 210.0 s, the grace is 180 s"

    def test_all_has_a_rate(self) -> None:
        plan = plan_fires(due(catch_up="all", catch_up_per_minute=6), self.now)
        starts = [row.not_before - self.now for row in plan.rows]
        assert starts == [timedelta(seconds=10 * number) for number in range(9)]

    def test_skip_runs_only_what_is_on_time(self) -> None:
        plan = plan_fires(due(catch_up="skip"), self.now)
        assert minutes(plan.rows) == [8]
        plan = plan_fires(due(catch_up="skip", misfire_grace_s=10), self.now)
        assert minutes(plan.rows) == []

    def test_last_with_a_grace_runs_nothing_that_is_too_old(self) -> None:
        assert minutes(plan_fires(due(catch_up="last", misfire_grace_s=10), self.now).rows) == []


def test_eight_hours_of_sleep_are_one_run_and_few_rows() -> None:
    trigger = IntervalTrigger(timedelta(seconds=10), NOON, None)
    now = NOON + timedelta(hours=8)
    plan = plan_fires(due(trigger=trigger), now)
    assert minutes(plan.rows) == [8 * 60]
    assert len(plan.rows) == SINGLE_ROWS_MAX + 1 + 1
    assert sum(row.span_count for row in plan.rows) == 8 * 360 + 1
    assert plan.rows[0].span_end == plan.rows[1].scheduled_at - timedelta(seconds=10)


def test_a_month_of_seconds_is_caught_up_in_turns_that_end() -> None:
    trigger = IntervalTrigger(timedelta(seconds=1), NOON, None)
    now, cursor, counted, runs = NOON + timedelta(days=1), NOON, 0, 0
    for turn in range(100):
        plan = plan_fires(due(trigger=trigger, cursor=cursor), now)
        counted += sum(row.span_count for row in plan.rows)
        runs += len(minutes(plan.rows))
        assert plan.next_fire_at is not None
        cursor = plan.next_fire_at
        if cursor > now:
            assert turn == 86_400 // DUE_MAX
            break
    assert (counted, runs) == (86_401, 1)


class TestPaused:
    def test_every_instant_leaves_a_row_with_who_and_why(self) -> None:
        plan = plan_fires(due(pause=Pause(None, "ada", "moving house")), NOON + 2 * MINUTE)
        assert told(plan) == [(0, "skipped_paused"), (1, "skipped_paused"), (2, "skipped_paused")]
        assert plan.rows[0].reason == "paused by ada: moving house"
        assert not plan.pause_ended

    def test_the_end_of_the_pause_is_exact(self) -> None:
        plan = plan_fires(due(pause=Pause(NOON + 2 * MINUTE, "ada", ""), catch_up="all"), NOON + 3 * MINUTE)
        assert told(plan) == [(0, "skipped_paused"), (1, "skipped_paused"), (2, "queued"), (3, "queued")]
        assert plan.pause_ended


def test_a_broken_job_says_the_last_line_of_its_error() -> None:
    plan = plan_fires(due(broken="Traceback …\n  File …\nImportError: no module\n"), NOON)
    assert told(plan) == [(0, "skipped_broken")]
    assert plan.rows[0].reason == "broken: ImportError: no module"


class TestOverlap:
    alive = Alive(count=1, waiting=0, example="run-7")

    def test_skip_names_the_run_that_is_in_the_way(self) -> None:
        plan = plan_fires(due(alive=self.alive), NOON)
        assert told(plan) == [(0, "skipped_overlap")]
        assert "run-7" in plan.rows[0].reason

    def test_queue_waits(self) -> None:
        assert told(plan_fires(due(alive=self.alive, overlap="queue"), NOON)) == [(0, "queued")]

    def test_the_queue_has_an_end(self) -> None:
        full = Alive(count=4, waiting=3, example="run-7")
        plan = plan_fires(due(alive=full, overlap="queue", queue_limit=3), NOON)
        assert told(plan) == [(0, "skipped_overlap")]
        assert "3 runs were waiting already" in plan.rows[0].reason

    def test_allow_minds_nobody(self) -> None:
        assert told(plan_fires(due(alive=self.alive, overlap="allow"), NOON)) == [(0, "queued")]

    def test_more_instances_leave_more_room(self) -> None:
        assert told(plan_fires(due(alive=self.alive, max_instances=2), NOON)) == [(0, "queued")]

    def test_instants_that_are_due_together_wait_for_each_other(self) -> None:
        plan = plan_fires(due(catch_up="all", overlap="skip"), NOON + 2 * MINUTE)
        assert told(plan) == [(0, "queued"), (1, "queued"), (2, "queued")]


class TestJitter:
    def test_it_is_the_same_for_everyone(self) -> None:
        policies = Policies(jitter_s=60)
        assert not_before("tidy", NOON, policies) == not_before("tidy", NOON, policies)

    def test_it_moves_the_start_and_not_the_instant(self) -> None:
        [row] = plan_fires(due(jitter_s=60), NOON).rows
        assert row.scheduled_at == NOON
        assert NOON <= row.not_before < NOON + MINUTE

    def test_it_spreads_evenly(self) -> None:
        policies = Policies(jitter_s=100)
        starts = [(not_before(f"job{number}", NOON, policies) - NOON).total_seconds() for number in range(1000)]
        for edge in range(0, 100, 10):
            assert 60 < sum(edge <= start < edge + 10 for start in starts) < 140


def test_a_date_fires_once_and_has_no_next() -> None:
    plan = plan_fires(due(trigger=DateTrigger(NOON)), NOON + timedelta(days=3))
    assert told(plan) == [(0, "queued")]
    assert plan.next_fire_at is None


_POLICIES = st.builds(
    Policies,
    catch_up=st.sampled_from(["skip", "last", "all"]),
    overlap=st.sampled_from(["skip", "queue", "allow"]),
    misfire_grace_s=st.none() | st.integers(0, 600).map(float),
    catch_up_limit=st.integers(0, 20),
    max_instances=st.integers(1, 3),
    jitter_s=st.sampled_from([0.0, 30.0]),
)


@given(
    policies=_POLICIES,
    count=st.integers(1, 400),
    singles=st.sets(st.integers(0, 400)),
    stretches=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 200)), max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_a_cursor_that_was_put_back_leaves_what_is_on_record_alone(
    policies: Policies, count: int, singles: set[int], stretches: list[tuple[int, int]]
) -> None:
    """Wherever rows are already, and however long the stretches they stand for: each other instant gets its row."""
    spans = tuple((NOON + since * MINUTE, NOON + (since + length) * MINUTE) for since, length in stretches)
    on_record = OnRecord(frozenset(NOON + minute * MINUTE for minute in singles), spans)
    due_now = Due("tidy", NOON, EVERY_MINUTE, policies, on_record=on_record)
    planned = [
        row.scheduled_at + number * MINUTE
        for row in plan_fires(due_now, NOON + (count - 1) * MINUTE).rows
        for number in range(row.span_count)
    ]
    instants = [NOON + minute * MINUTE for minute in range(count)]
    assert planned == [instant for instant in instants if not on_record.has(instant)]


@given(
    policies=_POLICIES,
    steps=st.lists(st.tuples(st.integers(1, 9_000), st.integers(0, 3)), min_size=1, max_size=12),
    pause=st.none() | st.tuples(st.integers(0, 100_000), st.booleans()),
    period=st.sampled_from([1, 7, 60, 3600]),
)
@settings(max_examples=100, deadline=None)
def test_every_instant_is_on_record_exactly_once(
    policies: Policies, steps: list[tuple[int, int]], pause: tuple[int, bool] | None, period: int
) -> None:
    """A life in virtual time: the loop looks after random sleeps, runs end or do not, a pause comes and goes."""
    trigger = IntervalTrigger(timedelta(seconds=period), NOON, None)
    now, cursor, alive = NOON, NOON, 0
    recorded: dict[datetime, int] = {}
    for sleep_s, ended in steps:
        now += timedelta(seconds=sleep_s)
        alive = max(alive - ended, 0)
        stop = None if pause is None else Pause(NOON + timedelta(seconds=pause[0]) if pause[1] else None, "ada", "")
        while cursor <= now:
            plan = plan_fires(
                Due("tidy", cursor, trigger, policies, stop, alive=Alive(alive, alive, "run-1" if alive else "")), now
            )
            assert plan.next_fire_at is not None
            assert plan.next_fire_at > cursor, "the cursor only ever moves forward"
            for row in plan.rows:
                assert row.not_before >= row.scheduled_at
                assert row.state is RunState.QUEUED or row.reason, "every non-run says why"
                instant = row.scheduled_at
                for _ in range(row.span_count):
                    recorded[instant] = recorded.get(instant, 0) + 1
                    instant += timedelta(seconds=period)
                assert row.span_end is None or instant == row.span_end + timedelta(seconds=period)
            alive += sum(row.state is RunState.QUEUED for row in plan.rows)
            cursor = plan.next_fire_at
    expected = (now - NOON) // timedelta(seconds=period) + 1
    assert len(recorded) == expected
    assert set(recorded.values()) == {1}


@pytest.mark.parametrize("catch_up", ["skip", "last", "all"])
def test_looking_often_or_seldom_runs_the_same_instants_on_time(catch_up: str) -> None:
    """As long as nothing is late, the policy makes no difference."""
    cursor, ran = NOON, []
    for second in range(0, 600, 5):
        plan = plan_fires(due(cursor=cursor, catch_up=catch_up), NOON + timedelta(seconds=second))
        ran += minutes(plan.rows)
        cursor = plan.next_fire_at or cursor
    assert ran == list(range(10))


def test_a_clock_that_is_stepped_back_fires_nothing_again() -> None:
    plan = plan_fires(due(), NOON)
    assert plan.next_fire_at is not None
    for back in (timedelta(seconds=1), timedelta(hours=1), timedelta(days=400)):
        again = plan_fires(due(cursor=plan.next_fire_at), NOON - back)
        assert again == FirePlan((), plan.next_fire_at)


def test_a_clock_that_jumps_forward_fires_early_and_once() -> None:
    jumped = plan_fires(due(catch_up="all"), NOON + 2 * MINUTE)
    assert jumped.next_fire_at == NOON + 3 * MINUTE
    assert plan_fires(due(catch_up="all", cursor=jumped.next_fire_at), NOON + MINUTE).rows == ()
