"""An application whose jobs leave a record outside the ledger, and end when a test says so."""

import os
import subprocess
import sys
import time
from pathlib import Path

from flask import Flask

from tests.support.flaskapp import QUICK
from whalefall import Scheduler, current_run

PLACE = Path(os.environ.get("HANDOVER_PLACE", "."))  # where the record is, and the files that tell a job to go on

app = Flask("handover")
app.config.update(QUICK)
# Longer than a new generation takes to start here: what is lost in these tests is lost for a better reason.
app.config["SCHEDULER_RUN_LEASE_S"] = 60.0
scheduler = Scheduler(app)


def job(**options: object):
    return scheduler.task("cron", month=1, day=1, executor="process", **options)


def record(what: str) -> None:
    with (PLACE / "record").open("a") as file:
        file.write(f"{what} {current_run.run_id} {current_run.attempt} {os.getpid()}\n")


@job(id="steps")
def steps() -> str:
    """Says each step that it is told, and ends with the word `end`."""
    record("start")
    said = 0
    while True:
        told = (PLACE / "told").read_text().split() if (PLACE / "told").exists() else []
        for word in told[said:]:
            print(f"step {word}", flush=True)  # noqa: T201 - what a job prints is kept
            said += 1
            current_run.progress(said / 10, word)
        if "end" in told:
            record("end")
            return f"{said} steps"
        time.sleep(0.02)


@job(id="stubborn")
def stubborn() -> None:
    """Ends when it is asked, with its `finally`."""
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    record("start")
    try:
        time.sleep(600)
    finally:
        record("finally")


@job(id="limited", timeout_s=12.0)
def limited() -> None:
    """Longer than it may."""
    record("start")
    time.sleep(600)


@scheduler.task("cron", month=1, day=1, id="thread")
def in_a_thread() -> None:
    """As long as the test wishes."""
    record("start")
    while not (PLACE / "free").exists():
        time.sleep(0.02)
    record("end")
