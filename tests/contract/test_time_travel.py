"""Years in a second, on both databases: the leader looks, sleeps, sleeps too long, and its clock goes wrong.

`record_fires` takes the time as an argument, so a test may live through any night there has been. Afterwards the ledger
is asked: one row for each instant, and `verify`, which computes the instants anew, agrees.
"""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import update

from tests.support.ledgers import bring_in, declared, lead, opened, rows
from whalefall.scheduler.core.triggers import TriggerSpec, cron_spec
from whalefall.scheduler.ledger import Ledger, jobs
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.records import RunRecord
from whalefall.scheduler.ledger.schema import event, job
from whalefall.scheduler.verify import verify

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


def born(ledger: Ledger, at: str, job_id: str, trigger: str = "cron", **options: Any) -> None:
    """The ledger's one job, declared at another time than now."""
    bring_in(ledger, declared(job_id, trigger, **options))
    moment = datetime.fromisoformat(at).astimezone(UTC)
    with ledger.writing() as connection:
        connection.execute(update(job).where(job.c.job_id == job_id).values(anchor=moment, created_at=moment))
        connection.execute(event.delete().where(event.c.job_id == job_id))
        record = jobs.find(connection, job_id)
        assert record is not None
        cursor = record.trigger().next_after(moment)
        connection.execute(update(job).where(job.c.job_id == job_id).values(next_fire_at=cursor))
        jobs.note_schedule(connection, record, since=moment, actor="a test", why="born")


def live(ledger: Ledger, start: str, end: str, step: timedelta) -> None:
    """A leader that looks every `step`, from one moment to another."""
    tenure = lead(ledger)
    now, last = (datetime.fromisoformat(text).astimezone(UTC) for text in (start, end))
    while now <= last:
        look(ledger, tenure, now)
        now += step


def look(ledger: Ledger, tenure: Any, now: datetime) -> None:
    while ledger.record_fires(tenure, now, 500).jobs:
        pass


def wall(ledger: Ledger, job_id: str, zone: str, form: str = "%d.%m. %H:%M%z") -> list[str]:
    """Nominal times of the rows as the zone's clocks showed them, the oldest first."""
    found = ledger.page(Wanted(job_id=job_id, limit=10_000))
    return [run.scheduled_at.astimezone(ZoneInfo(zone)).strftime(form) for run in sorted(found, key=_nominal)]


def _nominal(run: RunRecord) -> datetime:
    return run.scheduled_at


def proved(ledger: Ledger, start: str, end: str) -> int:
    """How many instants were expected; each is on record once."""
    report = verify(ledger, *(datetime.fromisoformat(text).astimezone(UTC) for text in (start, end)))
    assert report.problems == ()
    assert report.expected == report.recorded
    return report.expected


def test_a_year_of_month_ends(ledger: Ledger) -> None:
    """2028 has a 29 February; the leader looks every ten hours, and is never on time."""
    born(ledger, "2028-01-01T00:00+01:00", "close", day="last", hour=23, minute=30, timezone="Europe/Berlin")
    live(ledger, "2028-01-01T00:00+01:00", "2029-01-01T06:00+01:00", 10 * HOUR)
    ends = [date(2028, month % 12 + 1, 1) - timedelta(days=1) for month in range(1, 12)] + [date(2028, 12, 31)]
    assert wall(ledger, "close", "Europe/Berlin", "%Y-%m-%d %H:%M") == [f"{day} 23:30" for day in ends]
    assert proved(ledger, "2028-01-01T00:00+01:00", "2029-01-01T00:00+01:00") == 12


# zone, the job's time of day, a night in which it is missing or comes twice, and the one fire of that night
NIGHTS = [
    ("Europe/Berlin", "02:30", "2026-03-29", "29.03. 03:00+0200"),
    ("Europe/Berlin", "02:30", "2026-10-25", "25.10. 02:30+0200"),
    ("America/New_York", "02:15", "2026-03-08", "08.03. 03:00-0400"),
    ("America/New_York", "01:15", "2026-11-01", "01.11. 01:15-0400"),
    ("Australia/Lord_Howe", "02:10", "2026-10-04", "04.10. 02:30+1100"),
    ("Australia/Lord_Howe", "01:40", "2026-04-05", "05.04. 01:40+1100"),
]


@pytest.mark.parametrize("night", NIGHTS, ids=lambda night: f"{night[0]} {night[2]}")
def test_a_night_in_which_the_clocks_change(night: tuple[str, str, str, str], ledger: Ledger) -> None:
    """A leader that looks every five minutes, for three days around it."""
    zone, time_of_day, day, expected = night
    hour, minute = time_of_day.split(":")
    start, end = (f"{date.fromisoformat(day) + timedelta(days=days)}T12:00+00:00" for days in (-2, 1))
    born(ledger, start, "nightly", hour=hour, minute=minute, timezone=zone)
    live(ledger, start, end, 5 * MINUTE)
    found = wall(ledger, "nightly", zone)
    assert len(found) == 3, "one a night, also in the odd one"
    assert [each for each in found if each.startswith(expected[:6])] == [expected]
    assert proved(ledger, start, end) == 3


@pytest.mark.parametrize(
    ("policy", "ran", "skipped_because"),
    [
        ({"catch_up": "last"}, ["06:00"], {"catch_up='last': a newer instant was due as well": 47}),
        ({"catch_up": "skip"}, ["06:00"], {"the grace is 60 s": 47}),
        ({"catch_up": "all", "overlap": "allow"}, 48, {}),
        ({"catch_up": "all", "overlap": "allow", "catch_up_limit": 3}, 4, {"more than 3 instants were missed": 44}),
        ({"catch_up": "all", "overlap": "allow", "misfire_grace_s": 3600}, 7, {"the grace is 3600 s": 41}),
    ],
)
def test_a_host_that_slept_for_eight_hours(
    policy: dict[str, Any], ran: list[str] | int, skipped_because: dict[str, int], ledger: Ledger
) -> None:
    """Every ten minutes, asleep from 22:05 until 06:00: each of 48 instants is on record, with what became of it."""
    born(ledger, "2026-05-01T22:00+00:00", "tidy", minute="*/10", **policy)
    tenure = lead(ledger)
    look(ledger, tenure, datetime(2026, 5, 1, 22, 5, tzinfo=UTC))
    look(ledger, tenure, datetime(2026, 5, 2, 6, 0, tzinfo=UTC))
    found = ledger.page(Wanted(job_id="tidy", limit=1000))
    queued = sorted(run.scheduled_at.strftime("%H:%M") for run in found if run.state == "queued")
    assert (queued if isinstance(ran, list) else len(queued)) == ran
    for reason, count in skipped_because.items():
        assert sum(run.span_count for run in found if reason in run.reason) == count
    assert proved(ledger, "2026-05-01T22:01+00:00", "2026-05-02T06:00+00:00") == 48


def test_a_night_of_seconds_asleep_is_few_rows(ledger: Ledger) -> None:
    born(ledger, "2026-05-01T22:00+00:00", "tick", "interval", seconds=1)
    look(ledger, lead(ledger), datetime(2026, 5, 2, 6, 0, tzinfo=UTC))
    [(count,)] = rows(ledger, "SELECT count(*) FROM wf_run")
    assert count < 1000, "of 28,800: the newest of each turn singly, the others folded"
    assert proved(ledger, "2026-05-01T22:00:01+00:00", "2026-05-02T06:00+00:00") == 8 * 3600


def test_a_clock_that_is_stepped_back_fires_nothing_twice(ledger: Ledger) -> None:
    """Forward, back by an hour, by a day, and on: an instant that has fired is not fired again when it comes again."""
    born(ledger, "2026-05-01T12:00+00:00", "tidy", minute="*/10", catch_up="all", overlap="allow")
    tenure = lead(ledger)
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    for hours in (1, 2, 1, -22, 0, 2, 3):
        look(ledger, tenure, noon + hours * HOUR)
    counted = Counter(run.scheduled_at for run in ledger.page(Wanted(job_id="tidy", limit=1000)))
    assert counted == {noon + number * 10 * MINUTE: 1 for number in range(1, 19)}
    assert proved(ledger, "2026-05-01T12:01+00:00", "2026-05-01T15:00+00:00") == 18


class TestAnchor:
    """An interval's instants are counted from a stored origin: not from a process's start, and not from its clock."""

    EVERY = timedelta(seconds=420)

    def spec(self, ledger: Ledger) -> tuple[datetime, TriggerSpec]:
        record = ledger.job("tidy")
        return record.anchor, record.effective_trigger

    def test_a_restart_moves_nothing(self, ledger: Ledger) -> None:
        born(ledger, "2026-05-01T12:00:11+00:00", "tidy", "interval", minutes=7)
        before = ledger.job("tidy")
        for _ in range(3):  # each a process that starts, at some other moment
            bring_in(ledger, declared("tidy", minutes=7))
            assert ledger.job("tidy") == before
        live(ledger, "2026-05-01T12:01+00:00", "2026-05-01T13:00+00:00", MINUTE)
        starts = wall(ledger, "tidy", "UTC", "%H:%M:%S")
        assert starts[:3] == ["12:07:11", "12:14:11", "12:21:11"]
        assert proved(ledger, "2026-05-01T12:00+00:00", "2026-05-01T13:00+00:00") == 8

    def test_replicas_compute_the_same_instants(self, ledger: Ledger, database_url: str) -> None:
        """Three processes that declare the job at three moments, and take turns as the leader."""
        born(ledger, "2026-05-01T12:00:11+00:00", "tidy", "interval", minutes=7)
        seen: list[list[datetime]] = []
        moment = datetime(2026, 5, 1, 12, tzinfo=UTC)
        for number in range(3):
            with opened(database_url) as replica:
                bring_in(replica, declared("tidy", minutes=7))
                tenure = replica.seize_lease(f"replica {number}", 60)
                moment += timedelta(minutes=30, seconds=13)
                look(replica, tenure, moment)
                trigger, instants, instant = replica.job("tidy").trigger(), [], moment
                for _ in range(5):
                    following = trigger.next_after(instant)
                    assert following is not None
                    instants.append(following)
                    instant = following
                seen.append(instants)
        anchor = datetime(2026, 5, 1, 12, 0, 11, tzinfo=UTC)
        for instants in seen:
            assert all((instant - anchor) % self.EVERY == timedelta() for instant in instants)
        recorded = [run.scheduled_at for run in ledger.page(Wanted(job_id="tidy", limit=1000))]
        assert sorted(recorded) == [anchor + number * self.EVERY for number in range(1, len(recorded) + 1)]
        assert {term for (term,) in rows(ledger, "SELECT fired_term FROM wf_run")} == {1, 2, 3}

    def test_neither_an_edit_and_back_nor_a_pause_nor_a_retirement_moves_it(self, ledger: Ledger) -> None:
        born(ledger, "2026-05-01T12:00:11+00:00", "tidy", "interval", minutes=7)
        before = self.spec(ledger)
        ledger.edit_trigger("tidy", cron_spec("0 1 * * *"), "ada")
        ledger.edit_trigger("tidy", None, "ada")
        ledger.pause("tidy", "ada", "", None)
        ledger.resume("tidy", "ada")
        bring_in(ledger)
        bring_in(ledger, broken={"tidy": "ImportError: gone"})
        bring_in(ledger, declared("tidy", minutes=7))
        assert self.spec(ledger) == before
        cursor = ledger.job("tidy").next_fire_at
        assert cursor is not None
        assert (cursor - before[0]) % self.EVERY == timedelta()
