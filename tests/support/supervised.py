"""A real supervisor in a process of its own, with a Plan that the test wrote."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import psutil

from tests.support.waiting import wait_until
from whalefall.control.client import ask
from whalefall.control.protocol import SOCKET_NAME, Request
from whalefall.errors import ControlError
from whalefall.plan import Command, Instance, Listener, Plan, plan_to_json
from whalefall.planner.python import supervisor

ROOT = Path(__file__).parents[2]


_ANY = random.SystemRandom()  # not the one that a seed makes the same in two processes
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that is free and that this process was never given before.

    Below the range that the kernel gives to outgoing connections (ip_local_port_range): one of those could take it.
    """
    while True:
        port = _ANY.randrange(10_240, 32_768)
        with socket.socket() as probe, contextlib.suppress(OSError):
            if port not in _given:
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port


def python(code: str, *arguments: str) -> tuple[str, ...]:
    """argv of a child that runs `code`."""
    return (sys.executable, "-u", "-c", code, *arguments)


def orphans(done: Path) -> tuple[str, ...]:
    """argv of a child that leaves 200 others without a parent, every second one in a session of its own."""
    return python(
        f"""
import os, time
for number in range(200):
    pid = os.fork()
    if pid == 0:
        if number % 2:
            os.setsid()
        if os.fork() == 0:
            time.sleep(0.2)
        os._exit(0)
    os.waitpid(pid, 0)
open({str(done)!r}, "w").write("done\\n")
time.sleep(3600)
"""
    )


def instance(name: str, argv: tuple[str, ...], cwd: Path, **options: Any) -> Instance:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    return Instance(name, 1, Command(argv, str(cwd), environment), **options)


class Supervised:
    """The supervisor with a Plan; everything that it printed is in `output()`."""

    def __init__(
        self, directory: Path, *instances: Instance, listeners: tuple[Listener, ...] = (), **plan: Any
    ) -> None:
        self.directory = directory
        self.run_dir = directory / "run"
        self.plan = Plan(instances, listeners, run_dir=str(self.run_dir), **plan)
        self.log = directory / "supervisor.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environ: dict[str, str] = {}

    def start(
        self, stdout: int | None = None, python_options: tuple[str, ...] = (), within: tuple[str, ...] = ()
    ) -> "Supervised":
        """`within` is a command in front of it, as `unshare …`; `pid` is then that command's."""
        file = self.directory / "plan.json"
        file.write_text(plan_to_json(self.plan))
        command = [*within, sys.executable, *python_options, *supervisor()[1:], "--plan", str(file)]
        environment = {**os.environ, **self.environ}
        with self.log.open("ab") as log:
            out = log if stdout is None else stdout
            self.process = subprocess.Popen(command, stdout=out, stderr=log, env=environment, cwd=self.directory)
        return self

    def __enter__(self) -> Self:
        return self if self.process else self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            tree = psutil.Process(self.process.pid).children(recursive=True)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                for child in tree:
                    child.kill()
                self.process.kill()
                self.process.wait(10)
                raise
        self.process.wait(10)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def output(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def ask(self, command: str, target: str = "", **options: Any) -> Any:
        return ask(self.run_dir, Request(command, target, **options))

    def rows(self) -> dict[str, dict[str, Any]]:
        """The status row of each instance; {} while nobody answers yet."""
        try:
            return {row["name"]: row for row in self.ask("status")["instances"]}
        except ControlError:
            return {}

    def until(self, condition: Callable[[dict[str, dict[str, Any]]], Any], what: str, timeout_s: float = 30.0) -> Any:
        return wait_until(lambda: condition(self.rows()), what, timeout_s, lambda: f"{self.rows()}\n{self.output()}")

    def until_ready(self, *names: str) -> dict[str, dict[str, Any]]:
        wanted = names or tuple(item.name for item in self.plan.instances)
        self.until(lambda rows: rows and all(rows[name]["state"] == "ready" for name in wanted), f"{wanted} are ready")
        return self.rows()

    def until_said(self, text: str, timeout_s: float = 30.0) -> str:
        return wait_until(lambda: text in self.output() and self.output(), f"it said {text!r}", timeout_s, self.output)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals it and answers with its exit code; fails when something of its tree is left."""
        assert self.process is not None
        tree = psutil.Process(self.pid).children(recursive=True)
        self.process.send_signal(number)
        code = self.wait()
        left = [process for process in tree if process.is_running() and alive(process.pid)]
        assert not left, f"left behind: {left}\n{self.output()}"
        return code

    def wait(self, timeout_s: float = 30.0) -> int:
        assert self.process is not None
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not exit within {timeout_s:g} s\n{self.output()}") from None

    def control_path(self) -> Path:
        return self.run_dir / SOCKET_NAME


def alive(pid: int) -> bool:
    """The process exists and is no zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def read_when_written(path: Path, timeout_s: float = 20.0) -> str:
    """The file's text as soon as it holds a whole line."""
    text = wait_until(
        lambda: path.exists() and path.read_text().endswith("\n") and path.read_text(), f"{path} is written", timeout_s
    )
    return str(text)
