"""THE CONTESTANTS: how each of them is told to run the same children. Nothing is measured here."""

import json
import os
import subprocess
import sys
import textwrap
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from whalefall.plan import Command, Instance, Plan, plan_to_json

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / "build" / "bench-venv"  # peers have dependencies of their own, which must not become ours
PACKAGES = ("supervisor", "honcho", "circus")


@dataclass(frozen=True, slots=True)
class Child:
    """One process to run: `script` is for /bin/sh, which execs the program at its end."""

    name: str
    script: str


@dataclass(frozen=True, slots=True)
class Peer:
    """`prepare` writes the configuration for the children into a directory and answers with the command to start."""

    name: str
    prepare: Callable[[Path, Sequence[Child]], list[str]]
    restarts: bool = True


def install_peers() -> Mapping[str, str]:
    """Peers and their versions; installed once, from PyPI."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        venv.create(ENVIRONMENT, with_pip=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
    done = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    )
    found = {row["name"].lower(): row["version"] for row in json.loads(done.stdout)}
    return {name: found[name] for name in PACKAGES}


def whalefall(directory: Path, children: Sequence[Child]) -> list[str]:
    """The supervisor with a Plan: what runs as PID 1, without the planner before it."""
    environ = {"PATH": os.environ["PATH"]}
    instances = [
        Instance(child.name, 1, Command(("/bin/sh", "-c", child.script), str(directory), environ)) for child in children
    ]
    plan = directory / "plan.json"
    plan.write_text(plan_to_json(Plan(tuple(instances), run_dir=str(directory / "run"))))
    return [sys.executable, "-m", "whalefall.supervisor", "--plan", str(plan)]


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


PEERS = (
    Peer("whalefall", whalefall),
    Peer("supervisord", supervisord),
    Peer("honcho", honcho, restarts=False),  # it ends everything when one process ends
    Peer("circus", circus),
)


def _program(name: str) -> str:
    return str(ENVIRONMENT / "bin" / name)


def _procfile(directory: Path, children: Sequence[Child]) -> Path:
    path = directory / "Procfile"
    path.write_text("".join(f"{child.name}: {_script(directory, child)}\n" for child in children))
    return path


def _script(directory: Path, child: Child) -> str:
    """A file, because every peer quotes differently."""
    path = directory / f"{child.name}.sh"
    path.write_text(f"#!/bin/sh\n{textwrap.dedent(child.script)}\n")
    path.chmod(0o755)
    return str(path)
