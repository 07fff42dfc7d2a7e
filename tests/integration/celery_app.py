"""An application whose jobs run in a Celery worker."""

import os
import time

from flask import Flask, current_app

from tests.support.flaskapp import QUICK
from whalefall import Scheduler, current_run

app = Flask("elsewhere")
app.config.update(
    QUICK,
    SCHEDULER_DATABASE_URL=os.environ.get("TEST_DATABASE_URL", "sqlite://"),
    SCHEDULER_CELERY_BROKER=os.environ.get("TEST_BROKER_URL", "redis://127.0.0.1:1/0"),
    SCHEDULER_SEND_AGAIN_S=1.0,
)
scheduler = Scheduler(app)


@scheduler.task("interval", id="tick", seconds=1, executor="celery", catch_up="all", overlap="queue")
def tick() -> str:
    """Says which process it is in."""
    current_run.progress(0.5, "half")
    return f"in {current_app.name}, process {os.getpid()}"


@scheduler.task("cron", id="fail", month=1, day=1, executor="celery", retries=1, retry_delay_s=0.01)
def fail() -> None:
    raise ValueError(f"no shelf, attempt {current_run.attempt}")


@scheduler.task("cron", id="patient", month=1, day=1, executor="celery")
def patient() -> None:
    while not current_run.cancelled:
        time.sleep(0.02)


@scheduler.task("cron", id="hang", month=1, day=1, executor="celery", timeout_s=1)
def hang() -> None:
    time.sleep(60)
