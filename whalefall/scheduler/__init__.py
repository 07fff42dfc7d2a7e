"""THE FLASK EXTENSION: what a user's app imports. Each job fires exactly once, and it can be proved.

    core/         DECIDES: cron, triggers, fires, runs, retries; pure
    ledger/       REMEMBERS: the only place with SQL
    leadership/   WHO MAY FIRE
    executors/    RUNS IT
    loop, keeper, scribe, runtime      the threads of a running scheduler
    extension, state, admin, views     what an app touches

This room knows no pages, no planner and no supervisor.
"""

from whalefall.scheduler.admin import JobAdmin
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.extension import Scheduler
from whalefall.scheduler.running import RunCancelled, current_run
from whalefall.scheduler.state import SchedulerState, of
from whalefall.scheduler.views import JobView, ReloadReport, RunPage, RunView, SchedulerHealth
from whalefall.scheduler.worker import start_worker, stop_worker

__all__ = [
    "JobAdmin",
    "JobView",
    "LedgerUnavailable",
    "ReloadReport",
    "RunCancelled",
    "RunPage",
    "RunView",
    "Scheduler",
    "SchedulerHealth",
    "SchedulerState",
    "current_run",
    "of",
    "start_worker",
    "stop_worker",
]
