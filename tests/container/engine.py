"""Containers for the tests, by `engine.sh`: whichever engine is there, started and always removed."""

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from tests.support.supervised import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
ENGINE = Path(__file__).with_name("engine.sh")
NOT_HERE = 77  # engine.sh: no engine can be had on this machine
IMAGE = "whalefall-test"
READY_WITHIN_S = 60.0


def engine(*words: str, timeout_s: float = 120.0, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs `engine.sh`; a failure shows what the engine said."""
    command = ["bash", str(ENGINE), *words]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
    assert not check or done.returncode == 0, f"{words} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@dataclass(frozen=True, slots=True)
class Ports:
    """With the host's network the container's addresses are the host's, so each container gets its own."""

    http: int
    web: int
    scheduler: int

    @classmethod
    def free(cls) -> "Ports":
        return cls(free_port(), free_port(), free_port())

    def options(self) -> list[str]:
        values = {
            "PORT": str(self.http),
            "WEB_LISTEN": f"127.0.0.1:{self.web}",
            "SCHEDULER_LISTEN": f"127.0.0.1:{self.scheduler}",
        }
        return [word for name, value in values.items() for word in ("--env", f"{name}={value}")]


class Container:
    """One running container. `with` removes it, whatever became of it."""

    def __init__(self, *options: str, command: tuple[str, ...] = (), image: str = IMAGE) -> None:
        self.ports = Ports.free()
        words = ["--detach", "--network", "host", *self.ports.options(), *options, image, *command]
        self.id = engine("run", *words).stdout.split()[-1]
        self.processes: list[psutil.Process] = []

    @classmethod
    def that_runs(cls, container_id: str, http: int) -> Self:
        """One that somebody else has started, with its port `http` published."""
        container = cls.__new__(cls)
        container.ports = Ports(http, 0, 0)
        container.id = container_id
        container.processes = []
        return container

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        engine("rm", "--force", self.id)

    # What it says

    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(engine("inspect", self.id).stdout)[0]["State"]
        return state

    def logs(self) -> str:
        done = engine("logs", self.id, check=False)
        return done.stdout + done.stderr

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """A command inside."""
        return engine("exec", self.id, *words, check=check)

    def rows(self) -> dict[str, dict[str, Any]]:
        """`whalefall status` inside; {} while nobody answers."""
        done = self.run("whalefall", "status", "--json", check=False)
        return {row["name"]: row for row in json.loads(done.stdout)["instances"]} if done.returncode == 0 else {}

    def until_ready(self, timeout_s: float = READY_WITHIN_S) -> Self:
        def ready() -> bool:
            rows = self.rows()
            assert rows or self.state()["Status"] != "exited", f"the container has exited\n{self.logs()}"
            return bool(rows) and all(row["state"] == "ready" for row in rows.values())

        wait_until(ready, "all instances are ready", timeout_s, self.logs)
        self.processes = list(self.tree())
        return self

    def get(self, path: str, port: int | None = None) -> int:
        """The status of GET through Nginx, or at another port."""
        url = f"http://127.0.0.1:{port or self.ports.http}{path}"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(url, timeout=10) as answer:
                answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            error.close()
            return error.code

    # What the host sees of it

    def leader(self) -> psutil.Process:
        """The container's PID 1, by its pid on the host."""
        return psutil.Process(self.state()["Pid"])

    def tree(self) -> Iterator[psutil.Process]:
        leader = self.leader()
        yield leader
        yield from leader.children(recursive=True)

    def host_pid(self, pid: int) -> psutil.Process:
        """The process that is `pid` inside."""
        for process in self.tree():
            status = Path(f"/proc/{process.pid}/status").read_text()
            if [line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:")] == [str(pid)]:
                return process
        raise AssertionError(f"nothing in the container has the pid {pid}")

    def kill(self, pid: int) -> None:
        """SIGKILL from outside: from inside, nobody can send one to PID 1."""
        self.host_pid(pid).send_signal(signal.SIGKILL)

    def stop(self, within_s: int) -> int:
        """The engine's stop: SIGTERM, and SIGKILL when the seconds are over. Its exit code."""
        engine("stop", "--time", str(within_s), self.id)
        return self.until_exited()

    def until_exited(self, timeout_s: float = 30.0) -> int:
        """Its exit code."""
        wait_until(lambda: self.state()["Status"] == "exited", "the container has exited", timeout_s, self.logs)
        return int(self.state()["ExitCode"])

    def left(self) -> list[psutil.Process]:
        """What still runs of the processes that ran when it became ready."""
        return [each for each in self.processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the container's control group, as the kernel counts it against the limit; in bytes."""

    usage: int
    processes: int
    oom_kills: int

    @classmethod
    def of(cls, container: Container) -> Self:
        processes = list(container.tree())
        group, is_v2 = _memory_group(processes[0].pid)
        usage = int((group / ("memory.current" if is_v2 else "memory.usage_in_bytes")).read_text())
        events = (group / ("memory.events" if is_v2 else "memory.oom_control")).read_text()
        kills = dict(line.split() for line in events.splitlines())["oom_kill"]
        return cls(usage, len(processes), int(kills))


def _memory_group(pid: int) -> tuple[Path, bool]:
    """The control group that limits the memory of `pid`, and whether it is of version 2."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        group = Path(f"/sys/fs/cgroup{path}") if number == "0" else Path(f"/sys/fs/cgroup/memory{path}")
        if (number == "0" and (group / "memory.events").exists()) or "memory" in controllers.split(","):
            return group, number == "0"
    raise AssertionError(f"the memory group of {pid} is not to be found")
