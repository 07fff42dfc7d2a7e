"""The proof: every instant that a job's trigger named, in a stretch of time, is on record exactly once.

Expected instants are computed anew from the history of the job's triggers (declared, edited, reset, retired), which
the ledger keeps as events; recorded ones are its rows of the source `schedule`. A row may stand for many skipped
instants in a stretch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from whalefall.scheduler.core.triggers import Trigger, TriggerError, build_trigger
from whalefall.scheduler.core.zones import DstPolicy
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import EventRecord, RunRecord

_TICK = timedelta(microseconds=1)
INSTANTS_MAX = 1_000_000  # of one job in one check: a month of seconds is 2.6 million, ask for less


@dataclass(frozen=True, slots=True)
class Problem:
    job_id: str
    instant: datetime
    kind: Literal["missing", "doubled", "unexpected", "unknown"]
    detail: str

    def __str__(self) -> str:
        return f"{self.job_id} {self.instant:%Y-%m-%d %H:%M:%S} UTC: {self.kind}, {self.detail}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, and what does not agree."""

    jobs: int
    expected: int
    recorded: int
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class Stretch:
    """From `since` (exclusive) until `until` (inclusive) the job's instants were those of `trigger`."""

    since: datetime
    until: datetime
    trigger: Trigger | None  # None: retired or deleted


def verify(ledger: Ledger, start: datetime, end: datetime, job_id: str | None = None) -> Report:
    """Compares [start, end], each job as far as its cursor: a scheduler may record the next instant while we look."""
    expected = recorded = jobs = 0
    problems: list[Problem] = []
    for record in ledger.jobs():
        if job_id is not None and record.job_id != job_id:
            continue
        jobs += 1
        until = min(end, record.next_fire_at - _TICK) if record.next_fire_at is not None else end
        try:
            wanted = expected_instants(ledger.events_of(record.job_id, ["schedule"]), start, until)
        except TriggerError as error:  # no proof is no good proof
            problems.append(
                Problem(record.job_id, start, "unknown", f"a trigger that it had cannot be computed: {error}")
            )
            continue
        rows = ledger.covering(record.job_id, start, until)
        expected += len(wanted)
        recorded += sum(row.span_count for row in rows)
        problems += compare(record.job_id, wanted, rows, start)
    return Report(jobs, expected, recorded, tuple(problems))


def expected_instants(schedules: Sequence[EventRecord], start: datetime, end: datetime) -> list[datetime]:
    """Every instant in [start, end] that one of the triggers named while it was in effect. Raises TriggerError."""
    instants: list[datetime] = []
    for stretch in _stretches(schedules, start, end):
        if stretch.trigger is None:
            continue
        instant = stretch.trigger.next_after(max(stretch.since, start - _TICK))
        while instant is not None and instant <= min(stretch.until, end) and len(instants) < INSTANTS_MAX:
            instants.append(instant)
            instant = stretch.trigger.next_after(instant)
    return instants


def compare(job_id: str, wanted: Sequence[datetime], rows: Sequence[RunRecord], start: datetime) -> Iterator[Problem]:
    """Each wanted instant once, and nothing else."""
    singles = [row for row in rows if row.span_end is None]
    spans = [row for row in rows if row.span_end is not None]
    seen: dict[datetime, int] = {}
    for row in singles:
        seen[row.scheduled_at] = seen.get(row.scheduled_at, 0) + 1
    for instant in wanted:
        count = seen.pop(instant, 0) + sum(row.scheduled_at <= instant <= (row.span_end or instant) for row in spans)
        if count == 0:
            yield Problem(job_id, instant, "missing", "no row in the ledger")
        elif count > 1:
            yield Problem(job_id, instant, "doubled", f"{count} rows in the ledger")
    for instant in sorted(seen):
        if instant >= start:
            yield Problem(job_id, instant, "unexpected", "a row for an instant that no trigger named")


def _stretches(schedules: Sequence[EventRecord], start: datetime, end: datetime) -> Iterator[Stretch]:
    """Those that reach into [start, end]: what an earlier one named is nobody's question."""
    for index, event in enumerate(schedules):
        after = schedules[index + 1] if index + 1 < len(schedules) else None
        until = datetime.fromisoformat(after.detail["since"]) if after is not None else end
        if until < start:
            continue
        yield Stretch(datetime.fromisoformat(event.detail["since"]), until, _trigger(event))


def _trigger(event: EventRecord) -> Trigger | None:
    detail = event.detail
    if detail["trigger"] is None:
        return None
    dst = DstPolicy(detail["dst_gap"], detail["dst_fold"])
    anchor = datetime.fromisoformat(detail["anchor"])
    return build_trigger(detail["trigger"], timezone=detail["timezone"], anchor=anchor, dst=dst)
