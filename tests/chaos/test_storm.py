"""Random deaths under steady load through Nginx. What clients see is asserted from the outside.

`WHALEFALL_CHAOS_S` sets the seconds (60), `WHALEFALL_CHAOS_SEED` the seed (printed when a run fails).
"""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.deployment import Deployment
from tests.support.load import Load
from tests.support.supervised import alive
from tests.support.waiting import wait_until

SECONDS = float(os.environ.get("WHALEFALL_CHAOS_S", "60"))
SEED = int(os.environ.get("WHALEFALL_CHAOS_SEED", "20261124"))
PATHS = ("/slow", "/api/v1/health/basic", "/api/v1/scheduler/jobs", "/api/v1/health/basic", "/dashboard")

UNAVOIDABLE = ("SIGKILL nginx worker", "SIGKILL nginx group")

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(SECONDS * 4 + 300)]

APP = """
import time
from flask import Flask
from whalefall import Scheduler
from whalefall.app import install

app = Flask(__name__)
app.secret_key = "storm"
scheduler = Scheduler(app)

@scheduler.task("interval", id="tick", seconds=1)
def tick():
    "Something to do."

@app.get("/slow")
def slow():
    time.sleep(0.15)
    return "slow but sure"

install(app)
"""


@dataclass
class Storm:
    """What was done, when, and how long until everything was ready again."""

    deployment: Deployment
    load: Load
    rng: random.Random
    done: list[dict[str, Any]] = field(default_factory=list)

    def strike(self) -> None:
        name, fault = self.rng.choice(self.faults())
        before = len(self.load.failures)
        began = time.monotonic()
        fault()
        self.deployment.until(
            lambda rows: rows and all(row["state"] == "ready" and not row["replacing"] for row in rows.values()),
            f"everything is ready again after {name}",
        )
        failed = [f"{failure.path}: {failure.what}" for failure in self.load.failures[before:]]
        self.done.append({"fault": name, "ready_again_s": round(time.monotonic() - began, 2), "failed": failed})

    def faults(self) -> list[tuple[str, Callable[[], None]]]:
        kinds: list[tuple[str, Callable[[], None]]] = []
        for service in ("web", "scheduler", "nginx"):
            kinds += [
                (f"SIGKILL {service} master", lambda s=service: self._kill_master(s)),
                (f"SIGKILL {service} worker", lambda s=service: self._kill_worker(s)),
                (f"SIGKILL {service} group", lambda s=service: self._kill_group(s)),
                (f"restart {service}", lambda s=service: self._restart(s)),
            ]
        kinds += [
            ("SIGTERM web master", lambda: self._kill_master("web", signal.SIGTERM)),
            ("SIGTERM scheduler master", lambda: self._kill_master("scheduler", signal.SIGTERM)),
            ("SIGQUIT nginx master", lambda: self._kill_master("nginx", signal.SIGQUIT)),
            ("reload, nothing changed", self._reload),
            ("reload, bad Procfile", self._bad_reload),
        ]
        return kinds

    def _kill_master(self, service: str, number: int = signal.SIGKILL) -> None:
        pid = self.deployment.master(service)
        os.kill(pid, number)
        self.deployment.until_replaced(service, pid)

    def _workers(self, service: str) -> list[int]:
        return [child.pid for child in psutil.Process(self.deployment.master(service)).children()]

    def _kill_worker(self, service: str) -> None:
        victim = self.rng.choice(self._workers(service))
        count = len(self._workers(service))
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: not alive(victim) and len(self._workers(service)) >= count, f"{service} has a new worker")

    def _kill_group(self, service: str) -> None:
        pid = self.deployment.master(service)
        os.killpg(pid, signal.SIGKILL)
        self.deployment.until_replaced(service, pid)

    def _restart(self, service: str) -> None:
        pid = self.deployment.master(service)
        answer = self.deployment.whalefall("restart", service)
        assert answer.returncode == 0, answer
        self.deployment.until_replaced(service, pid)

    def _reload(self) -> None:
        said = self.deployment.output().count("reload:")
        os.kill(self.deployment.pid, signal.SIGHUP)
        wait_until(lambda: self.deployment.output().count("reload:") > said, "reload was answered", 60)

    def _bad_reload(self) -> None:
        procfile = self.deployment.directory / "Procfile"
        good = procfile.read_text()
        procfile.write_text(good + "what is this line?\n")
        try:
            said = self.deployment.output().count("nothing is changed")
            os.kill(self.deployment.pid, signal.SIGHUP)
            wait_until(lambda: self.deployment.output().count("nothing is changed") > said, "reload was refused", 60)
        finally:
            procfile.write_text(good)


class Watch:
    """Looks all the time how many processes run a scheduler."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.most = deployment, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self.ended.wait(0.05):
            self.most = max(self.most, len(self.deployment.processes_that_schedule()))


def test_no_client_notices_any_death(tmp_path: Path) -> None:
    (tmp_path / "storm.py").write_text(APP)
    (tmp_path / "Procfile").write_text(
        "nginx: python -m whalefall nginx\nweb: python -m whalefall web\nscheduler: python -m whalefall scheduler\n"
    )
    # The storm is denser than any crash loop that a budget should end.
    (tmp_path / "pyproject.toml").write_text("[tool.whalefall]\n")
    with Deployment(tmp_path, "storm:app") as deployment:
        deployment.until_ready()
        watch = Watch(deployment)
        watch.thread.start()
        try:
            with Load(deployment.port, PATHS) as load:
                storm = Storm(deployment, load, random.Random(SEED))
                wait_until(lambda: load.answered > 50, "the load runs", explain=deployment.output)
                until = time.monotonic() + SECONDS
                while time.monotonic() < until:
                    storm.strike()
        finally:
            watch.ended.set()
            watch.thread.join(20)
        told = f"seed {SEED}\n{json.dumps(storm.done, indent=1)}\n{deployment.output()[-20_000:]}"
        # A client's connection ends with the process that holds it: of a killed Nginx worker, what it had in flight.
        lost = [row for row in storm.done if row["failed"] and row["fault"] not in UNAVOIDABLE]
        assert not lost, f"{lost}\n{told}"
        assert all(len(row["failed"]) <= load.clients for row in storm.done), told
        assert not any("refused" in failure.what for failure in load.failures), told
        assert watch.most == 1, f"{watch.most} processes ran a scheduler at once\n{told}"
        assert deployment.stop() == 0, told
        report = {"answered": load.answered, "faults": storm.done, "slowest_s": load.slowest_s}
        (tmp_path / "storm.json").write_text(json.dumps(report, indent=1))
