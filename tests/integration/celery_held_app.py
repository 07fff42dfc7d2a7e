"""An application with one job, which runs in a Celery worker until a file says that it may end."""

import os
import time
from pathlib import Path

from flask import Flask

from tests.support.flaskapp import QUICK
from whalefall import Scheduler, current_run

app = Flask("held")
app.config.update(
    QUICK,
    SCHEDULER_DATABASE_URL=os.environ.get("TEST_DATABASE_URL", "sqlite://"),
    SCHEDULER_CELERY_BROKER=os.environ.get("TEST_BROKER_URL", "redis://127.0.0.1:1/0"),
    SCHEDULER_SEND_AGAIN_S=1.0,
    SCHEDULER_RUN_LEASE_S=float(os.environ.get("TEST_RUN_LEASE_S", "2")),
)
scheduler = Scheduler(app)


@scheduler.task("cron", id="held", month=1, day=1, executor="celery", overlap="allow", max_instances=9)
def held(place: str = ".") -> str:
    """Notes each start and each end outside the ledger."""
    note(place, f"start {current_run.attempt}")
    while not (Path(place) / "free").exists():
        current_run.raise_if_cancelled()
        time.sleep(0.02)
    note(place, f"end {current_run.attempt}")
    return "done"


def note(place: str, line: str) -> None:
    with (Path(place) / "record").open("a") as file:
        file.write(f"{line}\n")
