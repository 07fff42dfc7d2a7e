"""A Flask app in a module of its own, as a process finds it."""

import os
import subprocess
import sys
import time
from pathlib import Path

from flask import Flask, current_app

from tests.support.flaskapp import QUICK
from whalefall import Scheduler, current_run

app = Flask("shop")
app.config.update(QUICK, SCHEDULER_DATABASE_URL=os.environ.get("TEST_DATABASE_URL", "sqlite://"))
scheduler = Scheduler(app)


def job(**options: object):
    return scheduler.task("cron", month=1, day=1, executor="process", **options)


@job(id="talk")
def talk() -> str:
    """Says where it runs."""
    print(f"in {current_app.name}, attempt {current_run.attempt}")  # noqa: T201 - what a job prints is kept
    current_run.progress(0.5, "half")
    return f"to {os.getpid()}"


@job(id="fail", retries=1, retry_delay_s=0.01)
def fail() -> None:
    raise ValueError(f"no shelf, attempt {current_run.attempt}")


@job(id="hang", timeout_s=1.0)
def hang() -> None:
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    _deep_inside()


def _deep_inside() -> None:
    time.sleep(60)


@job(id="stubborn", timeout_s=60)
def stubborn(path: str = "") -> None:
    try:
        Path(path).write_text(str(os.getpid()))
        time.sleep(60)
    finally:
        Path(path).write_text("finally")


@job(id="greedy", memory_mb=200)
def greedy() -> None:
    blocks = [bytearray(20_000_000) for _ in range(100)]
    assert not blocks


@job(id="die")
def die() -> None:
    os.kill(os.getpid(), 9)


@job(id="leave")
def leave() -> None:
    os._exit(7)
