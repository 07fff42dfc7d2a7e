"""A job of the built-in application that keeps a promise: it compares what should have fired with what is on record.

Old runs are forgotten by the leader itself (`janitor.py`), in every application.
"""

from datetime import timedelta

from flask import current_app

from whalefall.scheduler.extension import Scheduler
from whalefall.scheduler.state import of
from whalefall.scheduler.verify import verify

STRETCH = timedelta(days=1)
_SETTLED = timedelta(minutes=2)  # younger instants may still be on their way to the ledger
_SHOWN = 50


def register(scheduler: Scheduler) -> None:
    """Declares it on the built-in application's scheduler."""
    scheduler.task("cron", minute=7, id="check_ledger", name="Check the ledger", catch_up="skip")(check_ledger)


def check_ledger() -> str:
    """Verifies that every instant of the last day is on record exactly once; fails with the list if not."""
    ledger = of(current_app).ledger
    now = ledger.now()
    report = verify(ledger, now - STRETCH, now - _SETTLED)
    if report.problems:
        raise RuntimeError("\n".join(str(problem) for problem in report.problems[:_SHOWN]))
    return f"{report.expected} instants of {report.jobs} jobs, each on record once"
