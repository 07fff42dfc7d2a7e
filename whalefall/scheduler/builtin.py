"""The ledger's own housekeeping, as jobs of the built-in app: they show life, and they keep promises.

`prune_history` forgets old runs; `ledger_checkup` compares what should have fired with what is on record.
"""

from datetime import timedelta

from flask import current_app

from whalefall.scheduler.extension import Scheduler
from whalefall.scheduler.ledger.history import Retention
from whalefall.scheduler.running import current_run
from whalefall.scheduler.state import of
from whalefall.scheduler.verify import verify

CATCH_UP_WINDOW = timedelta(days=1)  # the fire key of younger instants is kept in any case
_SETTLED = timedelta(minutes=2)  # younger instants may still be on their way to the ledger


def register(scheduler: Scheduler) -> None:
    """Declares the housekeeping on the built-in app's scheduler."""
    scheduler.task("cron", hour=3, minute=41, id="prune_history", name="Prune the history")(prune_history)
    scheduler.task("cron", minute=7, id="ledger_checkup", name="Check the ledger")(ledger_checkup)


def prune_history() -> str:
    """Forgets ended runs beyond what each job keeps, never younger than the catch-up window."""
    ledger = of(current_app).ledger
    now, count = ledger.now(), 0
    records = ledger.jobs()
    for index, record in enumerate(records):
        current_run.progress(index / len(records), record.job_id)
        cursor = record.next_fire_at or now
        retention = Retention(
            keep_runs=record.policies.keep_runs,
            ended_before=now - timedelta(days=record.policies.keep_days),
            always_since=min(cursor, now) - CATCH_UP_WINDOW,
        )
        count += ledger.prune(record.job_id, retention)
    return f"{count} runs forgotten"


def ledger_checkup() -> str:
    """Verifies that every instant of the last day is on record exactly once; fails with the list if not."""
    ledger = of(current_app).ledger
    now = ledger.now()
    report = verify(ledger, now - CATCH_UP_WINDOW, now - _SETTLED)
    if report.problems:
        raise RuntimeError("\n".join(str(problem) for problem in report.problems[:50]))
    return f"{report.expected} instants of {report.jobs} jobs, each on record once"
