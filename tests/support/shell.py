"""`whalefall …` as a person types it, in a directory and an environment of the test's own."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

from tests.support.supervised import ROOT, free_port

ANSWER_WITHIN_S = 60


class Shell:
    """`whalefall …` in a directory, with an environment that is nobody's but the test's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(directory),
            "RUN_DIR": str(directory / "run"),
            "HOST": "127.0.0.1",
            "PORT": str(free_port()),
            "WEB_LISTEN": f"127.0.0.1:{free_port()}",
            "SCHEDULER_LISTEN": f"127.0.0.1:{free_port()}",
        }

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "whalefall", *words]
        return subprocess.run(
            command,
            cwd=self.directory,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=ANSWER_WITHIN_S,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        with (self.directory / "log").open("ab") as log:
            command = [sys.executable, "-m", "whalefall", *words]
            return subprocess.Popen(command, cwd=self.directory, env=self.environ, stdout=log, stderr=log, text=True)

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def write(self, name: str, content: str) -> None:
        (self.directory / name).write_text(content)


def children_of(shell: Shell) -> list[psutil.Process]:
    """Whatever still runs for this test's directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("RUN_DIR") == shell.environ["RUN_DIR"]:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [each for each in found if each.status() != psutil.STATUS_ZOMBIE]
