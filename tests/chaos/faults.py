"""What the storm can do, and what is promised to come after each. One place, so that the page's rows are the deck's.

A fault is over when its own effect is mended; that everything is ready again is the storm's to wait for.
"""

import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.support.deployment import Deployment
from tests.support.load import Load
from tests.support.supervised import alive
from tests.support.tap import Tap
from tests.support.waiting import wait_until
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.supervisor.edge.sink import STUCK_AFTER_S

APP = Path(__file__).with_name("storm_app.py")
PROCFILE = """\
nginx: python -m whalefall nginx
web: python -m whalefall web
scheduler: python -m whalefall scheduler
chatter: python chatter.py
"""
CHATTER = """\
import itertools, time
for number in itertools.count():
    print(f"line {number:09} {'c' * 200}", flush=True)
    time.sleep(0.002)
"""
LIVE_PERIOD_S = 1.5
# A storm is denser than any crash loop that a budget should end, and a pause between restarts would be all we measured.
OPTIONS = "".join(
    f"[tool.whalefall.services.{service}]\ncrashes = 1000\nearly_crashes = 1000\n"
    f"restart_first = 0.05\nrestart_max = 0.05\n{live}"
    for service, live in [
        *((name, f"live_period = {LIVE_PERIOD_S}\nlive_timeout = {LIVE_PERIOD_S}\n") for name in ("nginx", "web")),
        ("scheduler", f"live_period = {LIVE_PERIOD_S}\nlive_timeout = {LIVE_PERIOD_S}\n"),
        ("chatter", ""),
    ]
)
WORKERS = {"web": 2, "scheduler": 1}
LOGS_BYTES = 67_108_864

# What docs/reference/faults.md promises: seconds from the fault until everything is ready again.
BACK_S = 30.0
CONTINUED_S = 3 * LIVE_PERIOD_S
BUSY_S = 5.0  # what a machine that has other things to do may add to a time of probes
REPLACED_S = 60.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`kills` counts the application's workers that die in it; `cuts` is for what takes clients' own connections."""

    name: str
    play: Callable[[], None]
    within_s: float
    kills: int = 0
    cuts: bool = False


@dataclass
class Faults:
    """All of them, on one deployment. What is drawn is drawn from `rng`."""

    deployment: Deployment
    load: Load
    tap: Tap
    rng: random.Random
    logs: Path | None  # a file system of its own, small enough to be filled
    version: int = 1
    mark: int = 0

    def deck(self) -> list[Fault]:
        """Every kind once."""
        return [
            *(fault for service in ("web", "scheduler", "nginx") for fault in self._on(service)),
            *self._on_workers(),
            *self._escapes(),
            *self._plans(),
            Fault("stdout: its reader is stuck for longer than 2 s, web master killed meanwhile", self._stuck, 60.0),
            *([Fault("full log disk, web worker killed meanwhile", self._full_disk, 60.0, kills=1)] * bool(self.logs)),
        ]

    def workers(self, service: str) -> list[int]:
        """The pids of its workers, as far as they have loaded the application."""
        try:
            found = [child.pid for child in psutil.Process(self.deployment.master(service)).children()]
        except (psutil.Error, KeyError, TypeError):
            return []
        return found if service == "nginx" else [pid for pid in found if pid in self._pids_in("booted")]

    def _on(self, service: str) -> list[Fault]:
        graceful = signal.SIGQUIT if service == "nginx" else signal.SIGTERM
        loses = {"web": 0, "scheduler": 1, "nginx": 0}[service]  # a killed scheduler's workers are killed, not drained
        return [
            Fault(f"SIGKILL {service} master", lambda: self._signal_master(service), BACK_S, loses),
            Fault(
                f"SIGKILL {service} group",
                lambda: self._kill_group(service),
                BACK_S,
                WORKERS.get(service, 0),
                cuts=service == "nginx",
            ),
            Fault(f"{graceful.name} {service} master", lambda: self._signal_master(service, graceful), BACK_S),
            Fault(f"SIGSTOP {service} master", lambda: self._stop([self.deployment.master(service)]), BACK_S),
            Fault(f"SIGSTOP {service} worker", lambda: self._stop([self._one_worker(service)]), BACK_S),
            Fault(f"SIGSTOP {service} group", lambda: self._stop(self._group(service)), BACK_S),
            Fault(f"restart {service}", lambda: self._restart(service), REPLACED_S),
        ]

    def _on_workers(self) -> list[Fault]:
        return [
            Fault("SIGKILL web worker", lambda: self._signal_worker("web"), BACK_S, 1),
            Fault("SIGKILL scheduler worker", lambda: self._signal_worker("scheduler"), BACK_S, 1),
            Fault("SIGKILL nginx worker", lambda: self._signal_worker("nginx"), BACK_S, cuts=True),
            Fault("SIGTERM web worker", lambda: self._signal_worker("web", signal.SIGTERM), BACK_S),
            Fault("SIGTERM scheduler worker", lambda: self._signal_worker("scheduler", signal.SIGTERM), BACK_S),
            Fault("SIGQUIT nginx worker", lambda: self._signal_worker("nginx", signal.SIGQUIT), BACK_S),
        ]

    def _escapes(self) -> list[Fault]:
        return [
            Fault("web has an escapee, SIGKILL web master", lambda: self._escape("web", "/escape"), BACK_S),
            Fault(
                "scheduler has an escapee, SIGKILL scheduler master",
                lambda: self._escape("scheduler", "/api/v1/scheduler/escape"),
                BACK_S,
                kills=1,
            ),
        ]

    def _plans(self) -> list[Fault]:
        return [
            Fault("reload web, new code", self._new_code, REPLACED_S),
            Fault("reload web, code that raises", self._bad_code, REPLACED_S),
            Fault("reload, nothing changed", self._same_plan, REPLACED_S),
            Fault("reload, another .env", self._new_environment, 2 * REPLACED_S),
            Fault("reload, bad Procfile", self._bad_procfile, REPLACED_S),
            Fault("scale web=3 and back", self._scale, REPLACED_S),
        ]

    # Deaths.

    def _signal_master(self, service: str, number: int = signal.SIGKILL) -> None:
        pid = self.deployment.master(service)
        os.kill(pid, number)
        self.deployment.until_replaced(service, pid)

    def _one_worker(self, service: str) -> int:
        return self.rng.choice(self.workers(service))

    def _signal_worker(self, service: str, number: int = signal.SIGKILL) -> None:
        before = self.workers(service)
        victim = self.rng.choice(before)
        os.kill(victim, number)

        def mended() -> bool:
            return not alive(victim) and len(set(self.workers(service)) - {victim}) >= len(before)

        wait_until(mended, f"{service} has a new worker", 60, self.deployment.story)

    def _kill_group(self, service: str) -> None:
        pid = self.deployment.master(service)
        os.killpg(pid, signal.SIGKILL)
        self.deployment.until_replaced(service, pid)

    def _escape(self, service: str, path: str) -> None:
        """A process that left session, group and parent, and holds the socket; then the master dies."""
        before = set(self.escaped())
        answer = self.deployment.get(path)
        assert answer.status_code == 200, answer
        new = wait_until(lambda: set(self.escaped()) - before, "the escapee has said its pid")
        self._signal_master(service)
        wait_until(lambda: not any(map(alive, new)), "the escapee is gone", 60, self.deployment.story)

    def escaped(self) -> list[int]:
        return self._pids_in("escaped")

    def _pids_in(self, name: str) -> list[int]:
        """What the application has written down."""
        file = self.deployment.directory / name
        return [int(line.split()[0]) for line in file.read_text().splitlines()] if file.exists() else []

    # Stops: to continue them is the supervisor's work.

    def _group(self, service: str) -> list[int]:
        return [self.deployment.master(service), *self.workers(service)]

    def _stop(self, pids: list[int]) -> None:
        processes = [psutil.Process(pid) for pid in pids]
        for process in processes:
            process.suspend()

        wait_until(lambda: all(p.status() == psutil.STATUS_STOPPED for p in processes), f"{pids} are stopped")

        def go_on() -> bool:
            return not any(alive(p.pid) and p.status() == psutil.STATUS_STOPPED for p in processes)

        wait_until(go_on, f"{pids} go on", CONTINUED_S + BUSY_S, self.deployment.story)

    # Wishes.

    def _ask(self, command: str, target: str = "", **options: int) -> Any:
        return ask(self.deployment.run_dir, Request(command, target, options=options), timeout_s=60)

    def _restart(self, service: str) -> None:
        pid = self.deployment.master(service)
        self._ask("restart", service)
        self.deployment.until_replaced(service, pid)

    def _scale(self) -> None:
        """Back again means that what is no longer wanted has gone."""
        self._ask("scale", web=3)
        rows = self.deployment.until(
            lambda rows: rows if all(rows.get(f"web.{n}", {}).get("state") == "ready" for n in (1, 2, 3)) else None,
            "three webs are ready",
        )
        gone = [rows[name]["pid"] for name in ("web.2", "web.3")]
        self._ask("scale", web=1)
        wait_until(lambda: not any(map(alive, gone)), "the two are gone", 60, self.deployment.story)

    def _write_app(self, text: str) -> None:
        """At once, as a deploy does it: a worker that starts meanwhile reads the old one or the new one."""
        fresh = self.deployment.directory / "storm.py.new"
        fresh.write_text(text)
        fresh.replace(self.deployment.directory / "storm.py")

    def _good_app(self) -> str:
        return APP.read_text().replace("VERSION = 1\n", f"VERSION = {self.version}\n")

    def _new_code(self) -> None:
        self.version += 1
        self._write_app(self._good_app())
        old = self.deployment.master("web")
        self._restart("web")
        wait_until(lambda: not alive(old), "the old generation has finished", 60, self.deployment.story)
        assert {self._served()[0] for _ in range(10)} == {str(self.version)}

    def _bad_code(self) -> None:
        """The old generation goes on serving, with the code that it has loaded."""
        pid, was, said = self.deployment.master("web"), self._served(), self._said("goes on serving")
        self._write_app(self._good_app() + "\nraise RuntimeError('this release is broken')\n")
        try:
            answer = self.deployment.whalefall("reload", "web")
            assert answer.returncode != 0, answer
            assert "the old one goes on serving" in answer.stderr, answer
            wait_until(lambda: self._said("goes on serving") > said, "it is rolled back", 60, self.deployment.story)
        finally:
            self._write_app(self._good_app())
        assert self.deployment.master("web") == pid
        assert self._served() == was

    def _served(self) -> list[str]:
        return self.deployment.get("/version").text.split(" ")

    def _said(self, text: str) -> int:
        return self.deployment.output().count(text)

    def _reload(self, word: str) -> None:
        said = self._said(word)
        os.kill(self.deployment.pid, signal.SIGHUP)
        wait_until(lambda: self._said(word) > said, f"it said '{word}'", 60, self.deployment.story)

    def _same_plan(self) -> None:
        pids = [self.deployment.master(service) for service in ("nginx", "web", "scheduler")]
        self._reload("reload: the new Plan is applied")
        assert [self.deployment.master(service) for service in ("nginx", "web", "scheduler")] == pids

    def _new_environment(self) -> None:
        """Every service has another environment: all are replaced, one handed over."""
        self.mark += 1
        pids = {service: self.deployment.master(service) for service in ("nginx", "web", "scheduler")}
        (self.deployment.directory / ".env").write_text(f"STORM_MARK={self.mark}\n")
        self._reload("reload: the new Plan is applied")
        for service, pid in pids.items():
            self.deployment.until_replaced(service, pid)
        wait_until(lambda: not any(map(alive, pids.values())), "the old ones have finished", 60, self.deployment.story)
        assert {self._served()[1] for _ in range(10)} == {str(self.mark)}

    def _bad_procfile(self) -> None:
        procfile = self.deployment.directory / "Procfile"
        procfile.write_text(PROCFILE + "what is this line?\n")
        try:
            self._reload("nothing is changed")
        finally:
            procfile.write_text(PROCFILE)

    # Logs.

    def _stuck(self) -> None:
        said = self._said("because the reader of our output was stuck")
        self.tap.hold()
        try:
            looks = [-1]
            wait_until(lambda: looks.append(self.tap.waiting_bytes) or looks[-1] == looks[-2] > 0, "the pipe is full")
            self._signal_master("web")
            threading.Event().wait(STUCK_AFTER_S + 1)  # the fault itself: nobody reads for so long
        finally:
            self.tap.let_go()
        again = lambda: self._said("because the reader of our output was stuck") > said  # noqa: E731 - a name
        wait_until(again, "the reader is told what it missed", 60, self.deployment.story)

    def _full_disk(self) -> None:
        assert self.logs is not None
        said, filler = self._said("No space left on device"), self.logs / "filler"
        log = self.logs / "chatter.1.log"
        lost = log.read_bytes().count(b"lines could not be written")
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(b"f" * 65_536):
                    pass
            except OSError:
                pass  # that is what it is for
            wait_until(lambda: self._said("No space left on device") > said, "it says so", 60, self.deployment.story)
            self._signal_worker("web")
        filler.unlink()
        more = lambda: log.read_bytes().count(b"lines could not be written") > lost  # noqa: E731 - a name
        wait_until(more, "the file says what it has lost", 60, self.deployment.story)


def small_disk(path: Path) -> Path | None:
    """A file system of LOGS_BYTES on `path`; None where we may not mount one."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={LOGS_BYTES},mode=0700", "tmpfs", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=20, check=False)
    except FileNotFoundError:
        return None
    return path if done.returncode == 0 else None
