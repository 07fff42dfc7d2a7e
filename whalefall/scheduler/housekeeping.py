"""Keeping the ledger small and its cursors sane: what the built-in jobs and the command line both do."""

from collections.abc import Callable
from datetime import timedelta

from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.history import Retention

CATCH_UP_WINDOW = timedelta(days=1)  # the fire key of younger instants is kept in any case
_ORPHAN_RUNS_KEPT = 10_000
_ORPHANS_KEPT = timedelta(days=30)
_EVENTS_KEPT = timedelta(days=90)


def _quietly(fraction: float, text: str) -> None:
    """Nobody watches."""


def _never() -> bool:
    return False


def forget_old_runs(
    ledger: Ledger, told: Callable[[float, str], None] = _quietly, stop: Callable[[], bool] = _never
) -> int:
    """Forgets ended runs beyond what each job keeps, never younger than the catch-up window. Answers how many."""
    now, count = ledger.now(), 0
    records = ledger.jobs()
    for index, record in enumerate(records):
        if stop():
            break
        told(index / len(records), record.job_id)
        cursor = record.next_fire_at or now
        retention = Retention(
            keep_runs=record.policies.keep_runs,
            ended_before=now - timedelta(days=record.policies.keep_days),
            always_since=min(cursor, now) - CATCH_UP_WINDOW,
        )
        count += ledger.prune(record.job_id, retention)
    for job_id in ledger.orphaned_job_ids():  # deleted by somebody: only the default age counts
        everything_old = Retention(
            keep_runs=_ORPHAN_RUNS_KEPT, ended_before=now - _ORPHANS_KEPT, always_since=now - CATCH_UP_WINDOW
        )
        count += ledger.prune(job_id, everything_old)
    ledger.prune_events(now - _EVENTS_KEPT)
    return count
