"""A small Flask app with a scheduler whose numbers are small, running in this process."""

import contextlib
from collections.abc import Iterator
from typing import Any

from flask import Flask

from tests.support.waiting import wait_until
from whalefall import Scheduler
from whalefall import scheduler as scheduling
from whalefall.scheduler import RunView, SchedulerState
from whalefall.settings import Settings

QUICK = {
    "SCHEDULER_LEASE_TTL_S": 2.0,
    "SCHEDULER_RENEW_EVERY_S": 0.4,
    "SCHEDULER_RUN_LEASE_S": 2.0,
    "SCHEDULER_POLL_S": 0.2,
    "SCHEDULER_SWEEP_EVERY_S": 0.3,
    "SCHEDULER_SIGN_EVERY_S": 0.1,
}


def make_app(database_url: str, scheduler: Scheduler, **config: Any) -> Flask:
    app = Flask("demo")
    app.config.update({**QUICK, "SCHEDULER_DATABASE_URL": database_url, **config})
    scheduler.init_app(app, Settings.load({"ENABLE_SCHEDULER": "true", "GRACE": "5"}))
    return app


@contextlib.contextmanager
def running(app: Flask, wait_s: float = 3.0) -> Iterator[SchedulerState]:
    state = scheduling.of(app)
    assert state.start()
    try:
        yield state
    finally:
        state.stop(wait_s)
        state.ledger.engine.dispose()


def ended(state: SchedulerState, run_id: str, timeout_s: float = 20.0) -> RunView:
    """The run, once it has ended."""
    return wait_until(
        lambda: (run := state.admin.get_run(run_id)).state not in ("queued", "running") and run,
        f"run {run_id} ended",
        timeout_s,
        lambda: str(state.admin.get_run(run_id)),
    )
