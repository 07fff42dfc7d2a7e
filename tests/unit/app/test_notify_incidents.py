"""What is told, once, and what is not: decided without a clock, a database or a receiver."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest

from whalefall.app.notify.incidents import (
    EVENT_OF,
    FLAPPING,
    FLAPS_MAX,
    HOLD_S,
    HOUR,
    LASTING,
    OLD,
    OVER_RATE,
    RECOVERED,
    SCHEDULER,
    Changes,
    Incident,
    Known,
    Notice,
    Rules,
    Sighting,
    decide,
)
from whalefall.scheduler.watchman import Kind

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
ALL = Rules(frozenset({"failed", "missed", "slow", "recovered"}), 20)


class World:
    """Plays the outbox: keeps what `decide` says, as the database does, and lets time pass."""

    def __init__(self, rules: Rules = ALL) -> None:
        self.rules, self.now = rules, NOON
        self.open: dict[int, Incident] = {}
        self.said: list[tuple[datetime, Notice]] = []  # told
        self.held: list[tuple[datetime, Notice]] = []  # over the rate
        self.last_end: dict[tuple[str, str], datetime] = {}
        self.good: dict[str, str] = {}
        self.gone: frozenset[str] = frozenset()
        self.keys: set[tuple[object, ...]] = set()
        self._number = 0

    def look(self, *seen: Sighting, after_s: float = 10) -> list[str]:
        """What is told at this look, as `event subject`."""
        self.now += timedelta(seconds=after_s)
        changes = decide(list(seen), self._known(), self.rules)
        return [f"{notice.event} {notice.subject}".strip() for notice in self._write(changes)]

    def _known(self) -> Known:
        recent = [notice for at, notice in self.said if at > self.now - HOUR]
        told: dict[tuple[str, str], int] = {}
        for notice in recent:
            if notice.event not in ("recovered", "summary"):
                told[notice.kind, notice.subject] = told.get((notice.kind, notice.subject), 0) + 1
        summaries = [at for at, notice in self.said if notice.event == "summary"]
        held = [item for item in self.held if not summaries or item[0] > summaries[-1]]
        return Known(
            now=self.now,
            first_look_at=NOON,
            open=list(self.open.values()),
            told=told,
            last_end=self.last_end,
            told_last_hour=len([notice for notice in recent if notice.event != "summary"]),
            untold=[notice for _, notice in held],
            untold_since=held[0][0] if held else None,
            last_summary_at=summaries[-1] if summaries else None,
            good_runs=self.good,
            gone=self.gone,
        )

    def _write(self, changes: Changes) -> list[Notice]:
        told = []
        for notice in [*changes.begun, *changes.recovered, *([changes.summary] if changes.summary else [])]:
            key = (notice.event, notice.kind, notice.subject, notice.since)
            if key in self.keys:
                continue
            self.keys.add(key)
            if notice.event not in ("recovered", "summary"):
                self._number += 1
                row = (self._number, notice.kind, notice.subject, notice.since, notice.text, notice.run_id)
                self.open[self._number] = Incident(*row, notice.state, notice.reason, self.now)
            told += self._count(notice)
        for incident, state, reason in changes.promoted:
            self.open[incident.id] = replace(incident, state=state, reason=reason)
            event = EVENT_OF[incident.kind]
            told += self._count(Notice(event, incident.kind, incident.subject, incident.since, "", "", state, reason))
        for incident in changes.dropped:
            del self.open[incident.id]
            self.keys.discard((EVENT_OF[incident.kind], incident.kind, incident.subject, incident.since))
        for incident in changes.ended:
            del self.open[incident.id]
            self.last_end[incident.kind, incident.subject] = self.now
        return told

    def _count(self, notice: Notice) -> list[Notice]:
        if notice.state == "told":
            self.said.append((self.now, notice))
            return [notice]
        if notice.reason == OVER_RATE:
            self.held.append((self.now, notice))
        return []


@pytest.fixture
def world() -> World:
    return World()


def failing(world: World, job: str = "import", run: int = 1) -> Sighting:
    at = world.now + timedelta(seconds=5)
    return Sighting("failing", job, at, "Its run ended as failed: ValueError", at, f"run-{run:03}")


def level(kind: str, subject: str = "import", since: datetime = NOON) -> Sighting:
    return Sighting(kind, subject, since, "Something.", since, "")


def test_a_job_that_keeps_failing_is_told_once_and_its_recovery_once(world) -> None:
    first = failing(world)
    assert world.look(first) == ["failed import"]
    second = failing(world, run=2)
    assert world.look(second, first) == []
    world.good = {"import": "run-003"}
    assert world.look(second, first) == ["recovered import"]
    assert world.look(second, first) == [], "what has ended is not news because the ledger still has it"
    assert world.look(failing(world, run=4), second, first) == ["failed import"]


def test_a_failure_that_a_good_run_followed_before_anybody_looked_is_told_all_the_same(world) -> None:
    world.good = {"import": "run-002"}
    sighting = failing(world)
    assert world.look(sighting) == ["failed import"]
    assert world.look(sighting) == ["recovered import"]
    assert world.look(sighting) == []


def test_a_run_that_is_cancelled_or_skipped_is_no_recovery(world) -> None:
    sighting = failing(world)
    world.look(sighting)
    assert world.look(sighting) == []
    assert world.look() == [], "even when the failure is too old to be seen"
    assert len(world.open) == 1


@pytest.mark.parametrize("kind", HOLD_S)
def test_a_moment_s_noise_is_not_told_and_what_holds_is(kind) -> None:
    world = World()
    subject = SCHEDULER if kind in ("no_leader", "hung", "clock") else "import"
    assert world.look(level(kind, subject)) == []
    assert world.look() == []
    assert not world.open
    seen = level(kind, subject)
    told = [world.look(seen) for _ in range(5)]
    assert sorted(filter(None, told)) == [[f"missed {subject}".strip()]]
    assert world.look() == [f"recovered {subject}".strip()]
    assert world.look() == []


def test_with_no_leader_the_jobs_that_are_overdue_for_it_are_not_told_one_by_one(world) -> None:
    seen = [level("no_leader", SCHEDULER), level("overdue", "a"), level("overdue", "b"), level("waiting", "c")]
    told = [each for _ in range(6) for each in world.look(*seen)]
    assert told == ["missed"]
    assert world.look() == ["recovered"]


def test_a_job_with_two_troubles_recovers_once_when_both_are_over(world) -> None:
    miss = Sighting("missed", "import", NOON, "An instant did not run.", NOON + timedelta(seconds=1), "run-001")
    assert world.look(miss) == ["missed import"]
    sighting = failing(world, run=2)
    assert world.look(miss, sighting, level("slow")) == ["failed import", "slow import"]
    world.good = {"import": "run-003"}
    assert world.look(miss, sighting, level("slow")) == []
    assert world.look(miss, sighting) == ["recovered import"]


def test_a_trouble_that_nobody_was_told_of_delays_no_recovery() -> None:
    world = World(replace(ALL, wanted=frozenset({"failed", "recovered"})))
    sighting = failing(world)
    assert world.look(sighting, level("slow")) == ["failed import"]
    world.good = {"import": "run-002"}
    assert world.look(sighting, level("slow")) == ["recovered import"]
    assert world.look(sighting) == []


def test_what_failed_before_notifications_began_is_no_news_but_its_next_failure_is(world) -> None:
    old = Sighting("failing", "import", NOON - HOUR, "old", NOON - HOUR, "run-000")
    assert world.look(old) == []
    assert [incident.reason for incident in world.open.values()] == [OLD]
    world.good = {"import": "run-001"}
    assert world.look(old) == []
    assert world.look(failing(world, run=2), old) == ["failed import"]


def test_a_scheduler_that_has_been_dead_for_days_is_news_at_the_first_look(world) -> None:
    dead = level("no_leader", SCHEDULER, NOON - timedelta(days=2))
    assert [each for _ in range(4) for each in world.look(dead)] == ["missed"]


def flap(world: World, number: int) -> list[str]:
    sighting = failing(world, run=2 * number)
    told = world.look(sighting)
    world.good = {"import": f"run-{2 * number + 1:03}"}
    return told + world.look(sighting)


def test_what_comes_and_goes_does_not_flood_and_says_so(world) -> None:
    told = [each for number in range(40) for each in flap(world, number)]
    assert told == ["failed import", "recovered import"] * FLAPS_MAX
    assert "comes and goes" in world.said[-2][1].text
    world.now += HOUR
    assert flap(world, 50) == ["failed import", "recovered import"]


def test_flapping_that_turns_into_a_lasting_failure_is_told_in_the_end(world) -> None:
    for number in range(FLAPS_MAX):
        flap(world, number)
    sighting = failing(world, run=90)
    assert world.look(sighting) == []
    assert [incident.reason for incident in world.open.values()] == [FLAPPING]
    assert world.look(sighting, after_s=LASTING.total_seconds()) == ["failed import"]
    world.good = {"import": "run-091"}
    assert world.look(sighting) == ["recovered import"]


def test_beyond_the_rate_one_summary_tells_the_rest_and_an_hour_later_another() -> None:
    world = World(replace(ALL, rate=5))
    many = [failing(world, f"job-{number:03}") for number in range(100)]
    assert len(world.look(*many)) == 5
    assert world.look(*many) == []
    assert world.look(*many, after_s=60) == ["summary"]
    text = world.said[-1][1].text
    assert text.startswith("95 more than NOTIFY_RATE lets through: 95 failed.")
    assert "and 75 more" in text
    more = [*many, failing(world, "another")]
    told = [each for _ in range(300) for each in world.look(*more)]
    assert told == [], "the hour is over for the rate only when the first five are an hour old"
    told = [each for _ in range(100) for each in world.look(*more)]
    assert told == ["summary"]


@pytest.mark.parametrize("seed", range(20))
def test_never_more_than_the_rate_and_one_summary_in_any_hour(seed) -> None:
    chance = random.Random(seed)
    world = World(replace(ALL, rate=7))
    seen: list[Sighting] = []
    for step in range(600):
        if chance.random() < 0.3:
            seen.append(failing(world, f"job-{chance.randrange(30)}", step))
        world.good = {f"job-{chance.randrange(30)}": f"run-{step:03}" for _ in range(5)}
        levels = [level("slow", f"job-{chance.randrange(30)}", world.now) for _ in range(chance.randrange(3))]
        world.look(*seen[-50:], *levels, after_s=chance.choice((10, 10, 40)))
    times = [at for at, notice in world.said if notice.event != "summary"]
    assert len(times) > 14
    assert all(sum(start <= at < start + HOUR for at in times) <= 7 for start in times)
    ends = [notice for _, notice in world.said if notice.event == "recovered"]
    assert len({notice.answers for notice in ends}) == len(ends), "one recovery of each incident at most"


def test_a_job_that_is_gone_or_wants_no_notices_is_left_alone(world) -> None:
    world.gone = frozenset({"quiet"})
    assert world.look(failing(world, "quiet")) == []
    sighting = failing(world)
    assert world.look(sighting) == ["failed import"]
    world.gone = frozenset({"quiet", "import"})
    assert world.look(sighting) == []
    assert not world.open


def test_every_kind_has_its_word_and_its_recovery() -> None:
    assert set(RECOVERED) == set(EVENT_OF)
    assert set(HOLD_S) <= set(EVENT_OF)


def test_every_kind_of_the_watchman_is_told() -> None:
    assert set(get_args(Kind)) <= set(EVENT_OF)
