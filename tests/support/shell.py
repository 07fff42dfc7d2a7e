"""`whalefall …` as a person types it, in a directory and an environment of the test's own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.supervised import ROOT, free_port
from tests.support.waiting import wait_until

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


@contextmanager
def honcho(shell: Shell, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """`honcho start …`; when it has ended, so have all processes that it started.

    Unbuffered: honcho prints in its signal handler, and where a line is just being written, a buffered stdout raises
    (`reentrant call`) and honcho hangs with its children.
    """
    with (shell.directory / "log").open("ab") as log:
        command = [sys.executable, "-u", "-m", "honcho", "start", *words]
        process = subprocess.Popen(command, cwd=shell.directory, env=shell.environ, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(40)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wait_until(lambda: not children_of(shell), "everything that honcho started is gone", 30, shell.log)
