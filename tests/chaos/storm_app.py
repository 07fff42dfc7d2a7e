"""The application that the storm blows over. Copied into the deployment's directory, where the storm rewrites it.

It writes down what must not happen: a second scheduler beside the first, an escapee that outlived its generation.
And it writes down each POST that it applies, so that one that was applied twice cannot hide.
"""

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

from flask import Flask, request

from whalefall import Scheduler
from whalefall.app import install

VERSION = 1
HERE = Path(__file__).parent
LIFE = os.environ["WHALEFALL_LIFE"]
SCHEDULES = os.environ["ENABLE_SCHEDULER"] == "true"

# Leaves session, group and parent, and keeps what it inherited: sockets, lock, standard output.
ESCAPEE = """
import os, sys, time
os.setsid()
if os.fork():
    os._exit(0)
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()} {os.environ['WHALEFALL_LIFE']}\\n")
time.sleep(3600)
"""


def note(file: str, line: str) -> None:
    """One write, so that lines of several processes do not mix."""
    descriptor = os.open(HERE / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(descriptor, f"{line}\n".encode())
    os.close(descriptor)


def running(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


if SCHEDULES:
    only_one = (HERE / "scheduler.held").open("a")  # closed by exec, so no escapee holds it
    try:
        fcntl.flock(only_one, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("violations", f"{LIFE} (pid {os.getpid()}) found another scheduler alive")
    for line in (HERE / "escaped").read_text().splitlines() if (HERE / "escaped").exists() else ():
        pid, life = line.split()
        if life.startswith("scheduler") and life != LIFE and running(pid):
            note("violations", f"{LIFE} started while {pid}, an escapee of {life}, was alive")

app = Flask(__name__)
app.secret_key = "storm"
scheduler = Scheduler(app)


@scheduler.task("interval", id="tick", seconds=1)
def tick() -> None:
    """Something to do."""


@app.get("/slow")
def slow() -> str:
    time.sleep(0.15)
    return "slow but sure"


@app.get("/version")
def version() -> str:
    return f"{VERSION} {os.environ.get('STORM_MARK', '')}"


@app.post("/count")
@app.post("/api/v1/scheduler/count")
def count() -> str:
    note("applied", request.get_data(as_text=True))
    time.sleep(0.02)
    return "counted"


@app.get("/escape")
@app.get("/api/v1/scheduler/escape")
def escape() -> str:
    subprocess.run([sys.executable, "-c", ESCAPEE, str(HERE / "escaped")], close_fds=False, check=True)
    return "gone"


install(app)
note("booted", str(os.getpid()))  # a worker that is there, but has not got so far, serves nobody
