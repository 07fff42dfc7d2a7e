"""The watchman: looks at the ledger from a process that is not the scheduler, and says what is wrong.

The web's workers are always up and read the same ledger; so they notice what a dead, hung or cut-off scheduler cannot
say itself. Pure reading: whoever asks decides what to do with an alarm (page, log, metric, webhook).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from whalefall.scheduler.core.runs import UNHAPPY, RunState
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.records import JobRecord, LeaseRecord, RunRecord

Kind = Literal["no_leader", "hung", "overdue", "waiting", "failing", "slow", "broken", "missed"]

OVERDUE = timedelta(seconds=30)  # a due instant unrecorded, or a run unstarted, for longer
TICK_OLD = timedelta(seconds=20)  # the leader tells its loop's last turn every few seconds
MISSED_WITHIN = timedelta(hours=24)  # older misses are history, not alarms
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
    lease, now, jobs = ledger.lease(), ledger.now(), ledger.jobs()
    last = ledger.last_runs([record.job_id for record in jobs])
    alarms = list(_of_the_scheduler(lease, now))
    alarms += _of_jobs(jobs, last, now)
    alarms += _of_running(ledger, now)
    alarms += _missed(ledger.page(Wanted(state=RunState.SKIPPED_LATE, limit=100)), now)
    return alarms


def _of_the_scheduler(lease: LeaseRecord | None, now: datetime) -> Iterator[Alarm]:
    if lease is None:
        yield Alarm("no_leader", "", now, "No scheduler has ever run on this ledger.")
    elif not lease.alive:
        yield Alarm("no_leader", "", lease.expires_at, f"No scheduler leads; the last was {lease.holder}.")
    elif now - lease.ticked_at > TICK_OLD:
        yield Alarm("hung", "", lease.ticked_at, f"{lease.holder} leads, but its loop does not turn.")


def _of_jobs(jobs: Sequence[JobRecord], last: Mapping[str, RunRecord], now: datetime) -> Iterator[Alarm]:
    for record in jobs:
        if record.broken_reason:
            why = record.broken_reason.strip().splitlines()[-1]
            yield Alarm("broken", record.job_id, record.updated_at, f"Its function cannot be imported: {why}")
        if record.next_fire_at is not None and now - record.next_fire_at > OVERDUE:
            yield Alarm("overdue", record.job_id, record.next_fire_at, "It is due, and no scheduler has looked.")
        run = last.get(record.job_id)
        if run is not None and record.fires and run.state in UNHAPPY:
            why = (run.error.strip().splitlines() or [run.reason])[-1]
            yield Alarm(
                "failing", record.job_id, run.scheduled_at, f"Its last run ended as {run.state}: {why}", run.run_id
            )


def _of_running(ledger: Ledger, now: datetime) -> Iterator[Alarm]:
    for run in ledger.alive_runs():
        if run.state is RunState.QUEUED and now - run.not_before > OVERDUE:
            yield Alarm("waiting", run.job_id, run.not_before, f"Run {run.run_id} waits for a free runner.", run.run_id)
        if run.state is RunState.RUNNING and run.started_at is not None:
            usual = usual_duration(ledger.durations_s(run.job_id))
            took = now - run.started_at
            if usual is not None and took > max(usual * _SLOW_FACTOR, _SLOW_AT_LEAST):
                text = (
                    f"Run {run.run_id} has taken {took.total_seconds():.0f} s; usual are {usual.total_seconds():.0f} s."
                )
                yield Alarm("slow", run.job_id, run.started_at, text, run.run_id)


def _missed(runs: Sequence[RunRecord], now: datetime) -> Iterator[Alarm]:
    for run in runs:
        if now - run.created_at <= MISSED_WITHIN:
            count = f"{run.span_count} instants" if run.span_count > 1 else "An instant"
            yield Alarm("missed", run.job_id, run.scheduled_at, f"{count} did not run: {run.reason}.", run.run_id)


def usual_duration(durations_s: Sequence[float]) -> timedelta | None:
    """The 95th percentile of the good runs, once there are enough of them."""
    if len(durations_s) < _USUAL_FROM:
        return None
    ordered = sorted(durations_s)
    return timedelta(seconds=ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)])
