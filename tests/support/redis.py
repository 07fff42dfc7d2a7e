"""A real Redis for the test session, on a free loopback port, without a file on disk."""

import ctypes
import shutil
import signal
import socket
import subprocess
import time
from typing import Self

from tests.support.postgres import free_port

_PR_SET_PDEATHSIG = 1
_START_S = 10.0


def is_installed() -> bool:
    return shutil.which("redis-server") is not None


class RedisServer:
    """`with RedisServer() as server: server.url`."""

    def __init__(self) -> None:
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/tmp",
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of prctl, no lock is taken
        )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"Redis did not answer within {_START_S} s: {error}") from error
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Forgets everything, as a Redis without a file does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
