"""The ledger's own housekeeping, as jobs of the built-in app: they show life, and they keep promises.

`prune_history` forgets old runs; `ledger_checkup` compares what should have fired with what is on record.
"""

from datetime import timedelta

from flask import current_app

from whalefall.scheduler.extension import Scheduler
from whalefall.scheduler.housekeeping import CATCH_UP_WINDOW, forget_old_runs
from whalefall.scheduler.running import current_run
from whalefall.scheduler.state import of
from whalefall.scheduler.verify import verify

_SETTLED = timedelta(minutes=2)  # younger instants may still be on their way to the ledger


def register(scheduler: Scheduler) -> None:
    """Declares the housekeeping on the built-in app's scheduler."""
    scheduler.task("cron", hour=3, minute=41, id="prune_history", name="Prune the history")(prune_history)
    scheduler.task("cron", minute=7, id="ledger_checkup", name="Check the ledger")(ledger_checkup)


def prune_history() -> str:
    """Forgets ended runs beyond what each job keeps, never younger than the catch-up window."""
    return f"{forget_old_runs(of(current_app).ledger, current_run.progress)} runs forgotten"


def ledger_checkup() -> str:
    """Verifies that every instant of the last day is on record exactly once; fails with the list if not."""
    ledger = of(current_app).ledger
    now = ledger.now()
    report = verify(ledger, now - CATCH_UP_WINDOW, now - _SETTLED)
    if report.problems:
        raise RuntimeError("\n".join(str(problem) for problem in report.problems[:50]))
    return f"{report.expected} instants of {report.jobs} jobs, each on record once"
