"""The watchman: looks at the ledger from a process that is not the scheduler, and says what is wrong.

The web's workers are always up and read the same ledger; so they notice what a dead, hung or cut-off scheduler cannot
say itself. Pure reading: whoever asks decides what to do with an alarm (page, log, metric, webhook).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import LeaseRecord, RunRecord, Trouble

Kind = Literal["clock", "no_leader", "hung", "overdue", "waiting", "failing", "slow", "broken", "missed"]

OVERDUE = timedelta(seconds=30)  # a due instant unrecorded, or a run unstarted, for longer
TICK_OLD = timedelta(seconds=20)  # the leader tells its loop's last turn every few seconds
CLOCK_BACK = timedelta(seconds=2)  # a record from further ahead was written before the clock was set back
MISSED_WITHIN = timedelta(hours=24)  # older misses are history, not alarms
OF_A_KIND_MAX = 100  # alarms; more is one problem, not a thousand
_SLOW_FACTOR = 3.0  # times the usual duration
_SLOW_AT_LEAST = timedelta(seconds=30)  # what is quick may vary
_USUAL_FROM = 5  # good runs that make a usual duration


@dataclass(frozen=True, slots=True)
class Alarm:
    """One thing that a person should know, with the moment since when."""

    kind: Kind
    job_id: str  # empty for what concerns the scheduler itself
    since: datetime
    text: str
    run_id: str = ""  # the run that shows it, where one does


def look(ledger: Ledger) -> list[Alarm]:
    """Everything that is wrong now, the most general first."""
    trouble = ledger.trouble(OVERDUE.total_seconds(), OF_A_KIND_MAX)
    alarms = list(_of_the_scheduler(trouble.lease, trouble.now, trouble.newest))
    alarms += _of_jobs(trouble)
    alarms += _of_runs(ledger, trouble)
    alarms += _missed(trouble.missed, trouble.now)
    return alarms


def _of_the_scheduler(lease: LeaseRecord | None, now: datetime, newest: datetime | None) -> Iterator[Alarm]:
    ahead = clock_set_back(lease, now, newest)
    if ahead > CLOCK_BACK:
        text = (
            f"The ledger has records from {ahead.total_seconds():.0f} s ahead of its database's clock, which was set "
            "back. Jobs that fired already wait until that time has come again."
        )
        yield Alarm("clock", "", now, text)
    if lease is None:
        yield Alarm("no_leader", "", now, "No scheduler has ever run on this ledger.")
    elif not lease.alive:
        yield Alarm("no_leader", "", lease.expires_at, f"No scheduler leads; the last was {lease.holder}.")
    elif now - lease.ticked_at > TICK_OLD:
        yield Alarm("hung", "", lease.ticked_at, f"{lease.holder} leads, but its loop does not turn.")


def clock_set_back(lease: LeaseRecord | None, now: datetime, newest: datetime | None) -> timedelta:
    """How far ahead of the database's clock its own records are. Whatever was written then looks fresh until then."""
    written = [moment for moment in (lease.ticked_at if lease else None, newest) if moment is not None]
    return max((moment - now for moment in written), default=timedelta())


def _of_jobs(trouble: Trouble) -> Iterator[Alarm]:
    for record in trouble.broken:
        why = record.broken_reason.strip().splitlines()[-1]
        yield Alarm("broken", record.job_id, record.updated_at, f"Its function cannot be imported: {why}")
    for job_id, instant in trouble.overdue:
        yield Alarm("overdue", job_id, instant, "It is due, and no scheduler has looked.")
    for run in trouble.failing:
        why = (run.error.strip().splitlines() or [run.reason])[-1]
        yield Alarm("failing", run.job_id, run.scheduled_at, f"Its last run ended as {run.state}: {why}")


def _of_runs(ledger: Ledger, trouble: Trouble) -> Iterator[Alarm]:
    for run in trouble.waiting:
        yield Alarm("waiting", run.job_id, run.not_before, f"Run {run.run_id} waits for a free runner.", run.run_id)
    for run in trouble.running:
        if run.started_at is None or trouble.now - run.started_at <= _SLOW_AT_LEAST:
            continue
        usual = usual_duration(ledger.durations_s(run.job_id))
        took = trouble.now - run.started_at
        if usual is not None and took > usual * _SLOW_FACTOR:
            text = f"Run {run.run_id} has taken {took.total_seconds():.0f} s; usual are {usual.total_seconds():.0f} s."
            yield Alarm("slow", run.job_id, run.started_at, text, run.run_id)


def _missed(runs: Sequence[RunRecord], now: datetime) -> Iterator[Alarm]:
    for run in runs:
        if now - run.created_at <= MISSED_WITHIN:
            count = f"{run.span_count} instants" if run.span_count > 1 else "An instant"
            yield Alarm("missed", run.job_id, run.scheduled_at, f"{count} did not run: {run.reason}.")


def usual_duration(durations_s: Sequence[float]) -> timedelta | None:
    """The 95th percentile of the good runs, once there are enough of them."""
    if len(durations_s) < _USUAL_FROM:
        return None
    ordered = sorted(durations_s)
    return timedelta(seconds=ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)])
