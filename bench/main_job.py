"""THE WHOLE THING: from the command to the first 200 through Nginx, the same three programs under each contestant."""

import contextlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.peers import ENVIRONMENT, ROOT
from tests.support.load import Load

PATHS = ("/api/v1/health/basic", "/api/v1/scheduler/jobs")
PATIENCE_S = 60.0
STOP_WITHIN_S = 15.0
WATCH_S = 4.0
ROLES = ("nginx", "web", "scheduler")


def first_200_s(contestants: Collection[str], rounds: int) -> dict[str, float]:
    """Until both addresses answer 200, medians of interleaved rounds; a warm start: the database is there."""
    with ExitStack() as stack:
        places = {name: Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wfb-"))) for name in contestants}
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for directory in places.values():
            shutil.copy(ROOT / "Procfile", directory / "Procfile")
        for _ in range(rounds + 1):
            for name, directory in places.items():
                times[name].append(_once(name, directory))
    return {name: statistics.median(took[1:]) for name, took in times.items()}


def memory_mib(contestant: str) -> float:
    """PSS of all of it, a few seconds after the first answers."""
    with tempfile.TemporaryDirectory(prefix="wfb-") as place:
        directory = Path(place)
        shutil.copy(ROOT / "Procfile", directory / "Procfile")
        return _once(contestant, directory, after=_pss_mib)


def _once(contestant: str, directory: Path, after: Callable[[int], float] | None = None) -> float:
    with _running(contestant, directory) as job:
        took = time.monotonic() - job.since
        return after(job.pid) if after else took


@dataclass(frozen=True, slots=True)
class Job:
    """One that answers on both addresses."""

    pid: int
    port: int
    since: float

    def master(self, role: str, known: Collection[int] = ()) -> psutil.Process:
        """The role's leader, none of `known`: a direct child, told by its environment; Nginx writes over its own."""
        for child in psutil.Process(self.pid).children():
            environ = child.environ()
            told = (environ.get("PS", "").partition(".")[0], environ.get("SUPERVISOR_PROCESS_NAME"))
            if (role == child.name() or role in told) and child.pid not in known:
                return child
        raise LookupError(role)


@contextmanager
def _running(contestant: str, directory: Path) -> Iterator[Job]:
    environ = _environ(directory)
    port = int(environ["PORT"])
    with _answering(COMMANDS[contestant](directory, environ), directory, environ) as (process, since):
        yield Job(process.pid, port, since)


def _environ(directory: Path) -> dict[str, str]:
    base = _base_port()
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/bin",
        "PYTHONPATH": str(ROOT),
        "HOST": "127.0.0.1",
        "PORT": str(base),
        "WEB_LISTEN": f"127.0.0.1:{base + 100}",  # where honcho puts it
        "SCHEDULER_LISTEN": f"127.0.0.1:{base + 200}",
        "DATA_DIR": str(directory / "var"),
        "RUN_DIR": str(directory / "run"),
        "SPT_NOENV": "1",  # so that a Gunicorn's environment can be read from outside
    }


@contextmanager
def _answering(
    command: Sequence[str], directory: Path, environ: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """`command` from its start to its end; inside, both addresses have answered 200."""
    since = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for path in PATHS:
            _until_200(int(environ["PORT"]), path, since + PATIENCE_S)
        yield process, since
    finally:
        tree = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
        # A dead master's workers are nobody's children any more; they are in our directory, and only they are.
        for left in {*tree, *_in(directory)}:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


def _in(directory: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(directory):
                yield process


def requests_per_s(rounds: int, seconds: int) -> dict[str, float] | None:
    """Under whalefall, and the same Nginx and Gunicorns started by hand: medians of interleaved rounds of wrk."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return None
    by_hand = [sys.executable, "-m", "bench.by_hand"]
    with ExitStack() as stack:
        ports: dict[str, int] = {}
        for name, command in {
            "whalefall": None,
            "by hand, in a terminal each": [*by_hand, "apart"],
            "by hand, in one terminal": by_hand,
        }.items():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wfb-")))
            shutil.copy(ROOT / "Procfile", directory / "Procfile")
            environ = _environ(directory)
            ports[name] = int(environ["PORT"])
            stack.enter_context(_answering(command or COMMANDS[name](directory, environ), directory, environ))
        took: dict[str, list[float]] = {name: [] for name in ports}
        turns = list(ports)
        for _ in range(rounds):
            for name in turns:
                took[name].append(_wrk(wrk, ports[name], seconds))
            turns.append(turns.pop(0))  # nobody always follows the same one
    return {name: statistics.median(seen) for name, seen in took.items()}


def _wrk(program: str, port: int, seconds: int) -> float:
    command = [program, "-t1", "-c16", f"-d{seconds}s", f"http://127.0.0.1:{port}{PATHS[0]}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if found is None or "Non-2xx" in said:
        raise RuntimeError(said)
    return float(found[1])


@dataclass(frozen=True, slots=True)
class Noticed:
    """What clients noticed of a death."""

    asked: int
    failed: int
    longest_s: float
    again_s: float | None  # until the master was there that stands at the end; None when none does


def noticed(contestant: str, role: str) -> Noticed:
    """SIGKILL of `role`'s master while four clients ask, and what is there WATCH_S later."""
    with tempfile.TemporaryDirectory(prefix="wfb-") as place:
        directory = Path(place)
        shutil.copy(ROOT / "Procfile", directory / "Procfile")
        with _running(contestant, directory) as job:
            path = PATHS[1] if role == "scheduler" else PATHS[0]
            with Load(job.port, (path,), timeout_s=10) as load:
                time.sleep(1)
                # Orphans of the dead master may become direct children, too: they were there before.
                known = {each.pid for each in psutil.Process(job.pid).children(recursive=True)}
                since = time.monotonic()
                job.master(role).kill()
                seen: dict[int | None, float] = {}
                while time.monotonic() < since + WATCH_S:
                    last = _pid(job, role, known)
                    seen.setdefault(last, time.monotonic() - since)
                    time.sleep(0.01)
                again = None if last is None else seen[last]
            return Noticed(len(load.asked), len(load.failures), max(each.took_s for each in load.asked), again)


def _pid(job: Job, role: str, known: Collection[int]) -> int | None:
    with contextlib.suppress(LookupError, psutil.Error):
        return int(job.master(role, known).pid)
    return None


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
