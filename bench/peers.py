"""THE CONTESTANTS: how each of them is told to run the same children. Nothing is measured here."""

import compileall
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from whalefall.plan import Command, Instance, Plan, plan_to_json
from whalefall.planner import python

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / "build" / "bench-venv"  # peers have dependencies of their own, which must not become ours
PACKAGES = ("supervisor", "honcho", "circus")
RUNIT = ROOT / "build" / "bench-runit"
REFERENCE = ROOT / "build" / "bench-reference"


@dataclass(frozen=True, slots=True)
class Child:
    """One process to run: `script` is for /bin/sh, which execs the program at its end."""

    name: str
    script: str


@dataclass(frozen=True, slots=True)
class Peer:
    """`prepare` writes the configuration for the children into a directory and answers with the command to start.

    `log_mb` is how much it is given to pass on: the slow ones get less, so that the bench ends. `logs_to` are the files
    that lines end in, where that is not the contestant's own output.
    """

    name: str
    prepare: Callable[[Path, Sequence[Child]], list[str]]
    restarts: bool = True
    log_mb: int = 60
    logs_to: str = ""
    stop_signal: int = signal.SIGTERM
    environ: Mapping[str, str] = field(default_factory=dict)
    wrapped: bool = False  # its command only starts the contestant, and waits


def install_peers() -> Mapping[str, str]:
    """Peers and their versions, "" for one that cannot be had here: from PyPI, from Debian, and compiled."""
    compileall.compile_dir(
        ROOT / "whalefall", quiet=2
    )  # as pip does it; where nobody may write, each start would compile
    interpreter = ENVIRONMENT / "bin" / "python"
    if not interpreter.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    done = subprocess.run(
        [str(interpreter), "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    found = {row["name"].lower(): row["version"] for row in json.loads(done.stdout)}
    compiler = shutil.which("cc")
    if compiler:
        REFERENCE.parent.mkdir(exist_ok=True)
        source = str(ROOT / "bench" / "reference.c")
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(REFERENCE), source], check=True)
    return {**{name: found[name] for name in PACKAGES}, "s6": _s6(), "runit": _runit()}


def _runit() -> str:
    """The version, unpacked below build/; "" without Debian's tools. Installing it could start its services."""
    if not all(map(shutil.which, ("apt-get", "dpkg"))):
        return ""
    if not RUNIT.exists():
        fresh = RUNIT.with_name(".runit")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        subprocess.run(["apt-get", "update", "-q"], capture_output=True, check=False)
        got = subprocess.run(["apt-get", "download", "-q", "runit"], cwd=fresh, capture_output=True, check=False)
        if got.returncode:
            return ""
        subprocess.run(["dpkg", "-x", str(next(fresh.glob("*.deb"))), str(fresh)], check=True)
        fresh.rename(RUNIT)
    return next(RUNIT.glob("runit_*.deb")).name.split("_")[1]


def _s6() -> str:
    """The installed one's: it knows the paths of its own programs from when it was built."""
    if not shutil.which("s6-svscan"):
        return ""
    query = ["dpkg-query", "-W", "-f", "${Version}", "s6"]
    return subprocess.run(query, capture_output=True, text=True, check=False).stdout or "of unknown version"


def whalefall(directory: Path, children: Sequence[Child]) -> list[str]:
    """The supervisor with a Plan: what runs as PID 1, without the planner before it."""
    return _whalefall(directory, children, "text")


def whalefall_as_pid_1(directory: Path, children: Sequence[Child]) -> list[str]:
    """In a pid namespace, as in a container: the kernel ends everything with PID 1, so nobody watches over it."""
    return ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child=SIGTERM", *whalefall(directory, children)]


def whalefall_raw(directory: Path, children: Sequence[Child]) -> list[str]:
    """With LOG_FORMAT=raw: children write to our output themselves."""
    return _whalefall(directory, children, "raw")


def _whalefall(directory: Path, children: Sequence[Child], log_format: Literal["text", "raw"]) -> list[str]:
    environ = {"PATH": os.environ["PATH"]}
    instances = [
        Instance(child.name, 1, Command((_script(directory, child),), str(directory), environ)) for child in children
    ]
    plan = directory / "plan.json"
    plan.write_text(plan_to_json(Plan(tuple(instances), run_dir=str(directory / "run"), log_format=log_format)))
    return [*python.supervisor(), "--plan", str(plan)]


def whalefall_serve(directory: Path, children: Sequence[Child]) -> list[str]:
    """The whole command: planner, then supervisor."""
    return [sys.executable, "-m", "whalefall", "serve", "-f", str(_procfile(directory, children)), "--port", "15500"]


def honcho(directory: Path, children: Sequence[Child]) -> list[str]:
    return [_program("honcho"), "start", "-f", str(_procfile(directory, children))]


def supervisord(directory: Path, children: Sequence[Child]) -> list[str]:
    parts = [f"[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={directory}/pid\n"]
    parts += [
        f"[program:{child.name}]\ncommand={_script(directory, child)}\nstdout_logfile=/dev/fd/1\n"
        "stdout_logfile_maxbytes=0\nredirect_stderr=true\n"
        for child in children
    ]
    (directory / "supervisord.conf").write_text("\n".join(parts))
    return [_program("supervisord"), "-c", str(directory / "supervisord.conf")]


def circus(directory: Path, children: Sequence[Child]) -> list[str]:
    sockets = "".join(
        f"{name} = ipc://{directory}/{name}\n" for name in ("endpoint", "pubsub_endpoint", "stats_endpoint")
    )
    parts = [f"[circus]\nwarmup_delay = 0\n{sockets}"]
    parts += [
        f"[watcher:{child.name}]\ncmd = {_script(directory, child)}\nstdout_stream.class = StdoutStream\n"
        for child in children
    ]
    (directory / "circus.ini").write_text("\n".join(parts))
    return [_program("circusd"), "--log-level", "ERROR", str(directory / "circus.ini")]


def s6(directory: Path, children: Sequence[Child]) -> list[str]:
    """Each service with an s6-log of its own that prefixes and passes on."""
    scan = directory / "scan"
    for child in children:
        _executable(scan / child.name / "run", f"#!/bin/sh\nexec {_script(directory, child)} 2>&1\n")
        _executable(scan / child.name / "log" / "run", f'#!/bin/sh\nexec s6-log "p{child.name} | " 1\n')
    return ["s6-svscan", "-c", "1000", str(scan)]


def runit(directory: Path, children: Sequence[Child]) -> list[str]:
    """Each service with an svlogd of its own, which writes into a directory: it cannot pass on."""
    scan = directory / "scan"
    for child in children:
        logs = directory / "logs" / child.name
        logs.mkdir(parents=True)
        (logs / "config").write_text("s1000000000\n")  # no rotation, which would throw lines away
        _executable(scan / child.name / "run", f"#!/bin/sh\nexec {_script(directory, child)} 2>&1\n")
        _executable(scan / child.name / "log" / "run", f"#!/bin/sh\nexec svlogd {logs}\n")
    return [str(RUNIT / "usr" / "bin" / "runsvdir"), str(scan)]


def reference_c(directory: Path, children: Sequence[Child]) -> list[str]:
    return [str(REFERENCE), str(_listed(directory, children))]


def reference_py(directory: Path, children: Sequence[Child]) -> list[str]:
    interpreter = str(Path(sys.executable).resolve())
    return [interpreter, "-I", "-S", str(ROOT / "bench" / "reference.py"), str(_listed(directory, children))]


def _listed(directory: Path, children: Sequence[Child]) -> Path:
    path = directory / "children"
    path.write_text("".join(f"{child.name} {_script(directory, child)}\n" for child in children))
    return path


def _executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def contestants() -> list[Peer]:
    """All that can be had here, ours first. After install_peers()."""
    found = [
        Peer("whalefall", whalefall),
        Peer("supervisord", supervisord),
        Peer("honcho", honcho, restarts=False, log_mb=6),  # it ends everything when one process ends
        Peer("circus", circus, log_mb=30),
    ]
    if shutil.which("s6-svscan"):
        found.append(Peer("s6", s6))
    if RUNIT.exists():
        # runsvdir(8): HUP also stops the services, TERM leaves them running.
        environ = {"PATH": f"{RUNIT / 'usr' / 'bin'}:{os.environ['PATH']}"}
        found.append(Peer("runit", runit, logs_to="logs/*/current", stop_signal=signal.SIGHUP, environ=environ))
    found.append(Peer("reference in Python", reference_py))
    if REFERENCE.exists():
        found.append(Peer("reference in C", reference_c))
    return found


def _program(name: str) -> str:
    return str(ENVIRONMENT / "bin" / name)


def _procfile(directory: Path, children: Sequence[Child]) -> Path:
    path = directory / "Procfile"
    path.write_text("".join(f"{child.name}: {_script(directory, child)}\n" for child in children))
    return path


def _script(directory: Path, child: Child) -> str:
    """A file, because every peer quotes differently."""
    path = directory / f"{child.name}.sh"
    _executable(path, f"#!/bin/sh\n{textwrap.dedent(child.script)}\n")
    return str(path)
