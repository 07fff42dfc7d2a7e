"""whalefall as a systemd unit with a `.socket`: the manager binds, we adopt, and nobody is refused in between."""

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Self

import psutil
import pytest
import requests

from tests.support.deployment import Deployment
from tests.support.load import Load
from tests.support.supervised import free_port
from tests.support.waiting import wait_until
from whalefall.control.client import ask
from whalefall.control.protocol import Request

HEALTH = "/api/v1/health/basic"

# What systemd does between fork and exec: descriptors from 3 on, LISTEN_PID is the very process that will be whalefall.
_ACTIVATE = """
import os, sys
given = [os.dup(int(number)) for number in sys.argv[1].split(",")]
parked = [os.dup2(each, 100 + at) for at, each in enumerate(given)]
for at, each in enumerate(parked):
    os.dup2(each, 3 + at)
os.closerange(3 + len(parked), 200)
os.environ.setdefault("LISTEN_PID", str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "whalefall", "serve"])
"""


class Activated(Deployment):
    """A deployment whose parent, this test, holds its sockets."""

    def __init__(self, directory: Path, held: dict[str, socket.socket], **environ: str) -> None:
        self.held = held
        numbers = {"LISTEN_FDS": str(len(held)), "LISTEN_FDNAMES": ":".join(held)}
        super().__init__(directory, **{**numbers, **environ})

    def start(self) -> Self:
        numbers = [each.fileno() for each in self.held.values()]
        command = [sys.executable, "-c", _ACTIVATE, ",".join(map(str, numbers))]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=numbers,
            )
        return self


def _bound(address: str = "127.0.0.1") -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((address, 0))
    bound.listen(1_024)
    return bound


def _activated(directory: Path, held: dict[str, socket.socket], **environ: str) -> Activated:
    deployment = Activated(directory, held, **environ)
    deployment.port = held["http"].getsockname()[1] if "http" in held else deployment.port
    return deployment


def test_who_came_before_the_start_waits_and_is_answered(tmp_path: Path) -> None:
    with _bound() as http, socket.create_connection(http.getsockname(), 60) as early:
        early.sendall(f"GET {HEALTH} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        with _activated(tmp_path, {"http": http}) as deployment:
            assert early.recv(12) == b"HTTP/1.1 200", deployment.output()
            deployment.until_ready()
            answer = requests.get(f"http://127.0.0.1:{http.getsockname()[1]}{HEALTH}", timeout=30)
            assert answer.status_code == 200
            assert deployment.stop() == 0


def test_a_restart_of_all_of_it_refuses_nobody(tmp_path: Path) -> None:
    with _bound() as http, _activated(tmp_path, {"http": http}) as deployment:
        deployment.until_ready()
        with Load(deployment.port, (HEALTH,), timeout_s=60) as load:
            wait_until(lambda: load.answered > 20, "there is load")
            assert deployment.stop() == 0
            before = load.answered
            deployment.start().until_ready()
            wait_until(lambda: load.answered > before + 20, "the load is served again", 60, deployment.output)
        assert not load.failures, load.failures


def test_the_sockets_say_where_we_listen_and_the_children_know_nothing_of_them(tmp_path: Path) -> None:
    with _bound() as http, _bound() as other, _activated(tmp_path, {"http": http, "mail": other}) as deployment:
        rows = deployment.until(lambda rows: rows.get("web.1", {}).get("pid") and rows, "web runs")
        deployment.until_ready()
        told = json.loads((deployment.run_dir / "health.json").read_text())["url"]
        assert f":{http.getsockname()[1]}/" in told  # although PORT says otherwise
        stranger = f"descriptor 4 ('mail') on 127.0.0.1:{other.getsockname()[1]} belongs to no listener and is closed"
        assert stranger in deployment.output()
        assert _sockets_of(deployment.pid, other) == 0
        environ = psutil.Process(rows["web.1"]["pid"]).environ()
        assert environ["LISTEN_FDNAMES"] == "web:probe"
        assert "WHALEFALL_SOCKETS" not in environ


def _sockets_of(pid: int, bound: socket.socket) -> int:
    """How many descriptors of the process are this very socket."""
    wanted = Path(f"/proc/self/fd/{bound.fileno()}").readlink()
    return sum(entry.readlink() == wanted for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink())


def test_a_reload_keeps_what_was_adopted(tmp_path: Path) -> None:
    with _bound() as http, _activated(tmp_path, {"http": http}) as deployment:
        deployment.until_ready()
        with Load(deployment.port, (HEALTH,), timeout_s=60) as load:
            (tmp_path / ".env").write_text("WEB_CONCURRENCY=1\n")
            before = deployment.rows()["web.1"]["generation"]
            assert "web.1" in ask(deployment.run_dir, Request("reload"), 60)["accepted"]
            deployment.until(lambda rows: rows["web.1"]["generation"] > before, "the new Plan is running")
            deployment.until_ready()
        assert not load.failures, load.failures


def test_an_adopted_unix_socket_keeps_its_path_after_us(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with socket.socket(socket.AF_UNIX) as web:
        web.bind(str(path))
        web.listen(64)
        with Activated(tmp_path, {"web": web}) as deployment:
            deployment.until_ready()
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(30)
                client.connect(str(path))
                client.sendall(f"GET {HEALTH} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
                assert client.recv(12) == b"HTTP/1.0 200", deployment.output()
            assert deployment.stop() == 0
        with socket.socket(socket.AF_UNIX) as late:
            late.connect(str(path))  # it waits in the manager's queue


def test_what_was_meant_for_another_process_is_left_alone(tmp_path: Path) -> None:
    with _bound() as http, Activated(tmp_path, {"http": http}, LISTEN_PID="1") as deployment:
        deployment.until_ready()
        answer = requests.get(f"http://127.0.0.1:{deployment.port}{HEALTH}", timeout=30)
        assert answer.status_code == 200
        assert deployment.port != http.getsockname()[1]


def test_systemd_s_own_program_hands_over_what_it_has_bound(tmp_path: Path) -> None:
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        pytest.skip("no systemd-socket-activate here (apt-get install systemd)")
    deployment = Deployment(tmp_path)
    port = free_port()
    command = [activate, "-l", f"127.0.0.1:{port}", "--fdname=http"]
    command += [f"-E{name}={value}" for name, value in deployment.environ.items()]
    command += [sys.executable, "-m", "whalefall", "serve"]
    with deployment.log.open("ab") as log:
        deployment.process = subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    with deployment:
        wait_until(lambda: "Listening on" in deployment.output(), "it listens", explain=deployment.output)
        answer = requests.get(f"http://127.0.0.1:{port}{HEALTH}", timeout=60)  # starts it, and waits for it
        assert answer.status_code == 200, deployment.output()
        assert deployment.stop() == 0
