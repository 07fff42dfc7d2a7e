"""`python -m whalefall serve` as a user starts it: real Nginx, real Gunicorns, free ports, a directory of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil
import requests

from tests.support.supervised import ROOT, alive, free_port
from tests.support.waiting import wait_until
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError

_READY_WITHIN_S = 60.0
_STOPPED_WITHIN_S = 40.0


class Deployment:
    """One whalefall; `output()` is all that it printed."""

    def __init__(self, directory: Path, *words: str, **environ: str) -> None:
        self.directory, self.words = directory, words
        self.port, self.web_port, self.scheduler_port = free_port(), free_port(), free_port()
        self.run_dir = directory / "run"
        self.log = directory / "serve.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{directory}",
            "HOME": str(directory),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "WEB_LISTEN": f"127.0.0.1:{self.web_port}",
            "SCHEDULER_LISTEN": f"127.0.0.1:{self.scheduler_port}",
            "RUN_DIR": str(self.run_dir),
            "DATA_DIR": str(directory / "var"),
            **environ,
        }

    # Life.

    def start(self, output: int | None = None) -> Self:
        """`output` is a descriptor for what it prints, instead of the file that `output()` reads."""
        command = [sys.executable, "-m", "whalefall", "serve", *self.words]
        with self.log.open("ab") as log:
            out = log if output is None else output
            self.process = subprocess.Popen(
                command, cwd=self.directory, env=self.environ, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )
        return self

    def __enter__(self) -> Self:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            tree = self.tree()
            self.process.terminate()
            try:
                self.process.wait(_STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                for process in tree:
                    process.kill()
        self.process.wait(10)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def tree(self) -> list[psutil.Process]:
        """Everything below PID 1 of this deployment."""
        try:
            return psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals it and answers with its exit code; fails when something of it is left."""
        assert self.process is not None
        tree = self.tree()
        self.process.send_signal(number)
        code = self.wait()
        left = [process for process in tree if alive(process.pid)]
        assert not left, f"left behind: {left}\n{self.story()}"
        return code

    def wait(self) -> int:
        assert self.process is not None
        try:
            return self.process.wait(_STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not exit within {_STOPPED_WITHIN_S:g} s\n{self.story()}") from None

    # What it says.

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def story(self) -> str:
        """The end of it without what says nothing of an error: access log, and a service that only makes noise."""
        lines = self.output().splitlines()
        return "\n".join([line for line in lines if '"request_id"' not in line and " | line 0" not in line][-150:])

    def rows(self) -> dict[str, dict[str, Any]]:
        """The status row of each instance; {} while nobody answers."""
        try:
            return {row["name"]: row for row in ask(self.run_dir, Request("status"))["instances"]}
        except ControlError:
            return {}

    def master(self, service: str) -> int:
        return int(self.rows()[f"{service}.1"]["pid"])

    def until(self, condition: Callable[[dict[str, dict[str, Any]]], Any], what: str) -> Any:
        def look() -> Any:
            assert self.process is not None
            assert self.process.poll() is None, f"it has exited with {self.process.poll()}\n{self.story()}"
            return condition(self.rows())

        return wait_until(look, what, _READY_WITHIN_S, lambda: f"{self.rows()}\n{self.story()}")

    def until_ready(self) -> Self:
        self.until(lambda rows: rows and all(row["state"] == "ready" for row in rows.values()), "everything is ready")
        return self

    def until_replaced(self, service: str, pid: int) -> None:
        self.until(
            lambda rows: rows[f"{service}.1"]["state"] == "ready" and rows[f"{service}.1"]["pid"] != pid,
            f"{service} has a new master and is ready",
        )

    # Asking it.

    def url(self, path: str) -> str:
        return f"http://localhost:{self.port}{path}"

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url(path), timeout=30, **options)

    def whalefall(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another `whalefall …` in the same directory."""
        command = [sys.executable, "-m", "whalefall", *words]
        return subprocess.run(
            command, cwd=self.directory, env=self.environ, capture_output=True, text=True, timeout=60, check=False
        )

    def processes_that_schedule(self) -> list[int]:
        """Pids with a scheduler's thread, seen from outside: the kernel's name of the thread."""
        return [process.pid for process in self.tree() if "wf-scheduler" in thread_names(process.pid)]


def thread_names(pid: int) -> set[str]:
    names = set()
    for file in Path(f"/proc/{pid}/task").glob("*/comm"):
        try:
            names.add(file.read_text().strip())
        except OSError:  # the thread has ended meanwhile
            continue
    return names


def body(response: requests.Response) -> Any:
    return json.loads(response.text)
