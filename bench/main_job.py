"""THE WHOLE THING: from the command to the first 200 through Nginx, the same three programs under each contestant."""

import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

from bench.peers import ENVIRONMENT, ROOT

PATHS = ("/api/v1/health/basic", "/api/v1/scheduler/jobs")
PATIENCE_S = 60.0
ROLES = ("nginx", "web", "scheduler")


def first_200_s(contestant: str, rounds: int) -> float:
    """Until both addresses answer 200; a warm start: the database is there."""
    with tempfile.TemporaryDirectory(prefix="wfb-") as place:
        directory = Path(place)
        shutil.copy(ROOT / "Procfile", directory / "Procfile")
        times = [_once(contestant, directory) for _ in range(rounds + 1)]
        return statistics.median(times[1:])


def memory_mib(contestant: str) -> float:
    """PSS of all of it, a few seconds after the first answers."""
    with tempfile.TemporaryDirectory(prefix="wfb-") as place:
        directory = Path(place)
        shutil.copy(ROOT / "Procfile", directory / "Procfile")
        return _once(contestant, directory, after=_pss_mib)


def _once(contestant: str, directory: Path, after: Callable[[int], float] | None = None) -> float:
    base = _base_port()
    environ = {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOST": "127.0.0.1",
        "PORT": str(base),
        "WEB_LISTEN": f"127.0.0.1:{base + 100}",  # where honcho puts it
        "SCHEDULER_LISTEN": f"127.0.0.1:{base + 200}",
        "DATA_DIR": str(directory / "var"),
        "RUN_DIR": str(directory / "run"),
    }
    since = time.monotonic()
    process = subprocess.Popen(
        COMMANDS[contestant](directory, environ),
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for path in PATHS:
            _until_200(base, path, since + PATIENCE_S)
        took = time.monotonic() - since
        return after(process.pid) if after else took
    finally:
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        for left in tree:
            if left.is_running():
                left.kill()


def _until_200(port: int, path: str, deadline: float) -> None:
    request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as connection:
                connection.sendall(request)
                if connection.recv(64).split(b" ")[1:2] == [b"200"]:
                    return
        except OSError:
            pass
        time.sleep(0.005)
    raise TimeoutError(f"no 200 from {path}")


def _pss_mib(pid: int) -> float:
    time.sleep(3)
    leader = psutil.Process(pid)
    return sum(each.memory_full_info().pss for each in (leader, *leader.children(recursive=True))) / 2**20


def _whalefall(_directory: Path, _environ: Mapping[str, str]) -> list[str]:
    return [sys.executable, "-m", "whalefall", "serve"]


def _honcho(directory: Path, _environ: Mapping[str, str]) -> list[str]:
    return [str(ENVIRONMENT / "bin" / "honcho"), "start", "-f", str(directory / "Procfile")]


def _supervisord(directory: Path, environ: Mapping[str, str]) -> list[str]:
    """The recipe that people have: each program starts when it starts; whoever asks too early gets an error."""
    ports = {"nginx": environ["PORT"], "web": environ["WEB_LISTEN"].rpartition(":")[2], "scheduler": ""}
    text = f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={directory}/pid\n"
    for role in ROLES:
        port = f'environment=PORT="{ports[role]}"\n' if ports[role] else ""
        text += f"[program:{role}]\ncommand={sys.executable} -m whalefall {role}\n{port}"
    (directory / "supervisord.conf").write_text(text)
    return [str(ENVIRONMENT / "bin" / "supervisord"), "-c", str(directory / "supervisord.conf")]


COMMANDS: Mapping[str, Callable[[Path, Mapping[str, str]], list[str]]] = {
    "whalefall": _whalefall,
    "supervisord": _supervisord,
    "honcho": _honcho,
}


def _base_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            base: int = probe.getsockname()[1]
        if base + 200 <= 65_535:
            return base
