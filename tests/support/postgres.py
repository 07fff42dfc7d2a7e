"""A real PostgreSQL for the test session: private data directory, unix socket and a free loopback port, no fsync.

The server refuses to run as root, so as root it runs as `postgres` or `nobody`. It belongs to this process and ends
with it, also when the test run is killed (PR_SET_PDEATHSIG).
"""

import contextlib
import ctypes
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg
from psycopg import sql

_PR_SET_PDEATHSIG = 1
_START_S = 30.0
_numbers = itertools.count(1)


def binaries() -> Path | None:
    """Where initdb and postgres are, or None."""
    found = shutil.which("initdb")
    candidates = [Path(found).parent] if found else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((path for path in candidates if (path / "postgres").exists()), None)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """`with PostgresServer() as server: server.new_database()`."""

    def __init__(self, *, fsync: bool = False) -> None:
        self._fsync = fsync
        where = binaries()
        assert where is not None, "PostgreSQL is not installed"
        self._bin = where
        self.directory = Path(tempfile.mkdtemp(prefix="wfpg", dir="/tmp"))
        self.port = free_port()
        self._user = _unprivileged_user()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self._user is not None:
            shutil.chown(self.directory, self._user)
        self._run(
            "initdb", "-D", str(self._data), "-U", "whalefall", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"
        )
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            # The machine does not lose power; a commit must still survive an immediate stop of the server.
            "fsync": "on" if self._fsync else "off",
            "full_page_writes": "on" if self._fsync else "off",
            "max_connections": "100",
            "log_min_messages": "fatal",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._process = subprocess.Popen(
            [str(self._bin / "postgres"), "-D", str(self._data), "-p", str(self.port), *arguments],
            user=self._user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one call of prctl, no lock is taken
        )
        self._wait_until_it_answers()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT is a fast stop, SIGQUIT an immediate one, as after a loss of power."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        self.stop(how)
        self.start()

    def become_standby(self) -> None:
        """Restarts as what a failover leaves: it can be read, and waits to be promoted."""
        self.stop()
        signal_file = self._data / "standby.signal"
        signal_file.touch()
        if self._user is not None:
            shutil.chown(signal_file, self._user)
        self.start()

    def promote(self) -> None:
        """The primary again."""
        with self.connect("postgres") as connection:
            connection.execute("SELECT pg_promote(wait => true)")

    def url(self, database: str) -> str:
        return f"postgresql://whalefall@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template1") -> str:
        """Makes an empty database and answers its URL."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        with self.connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        return self.url(name)

    def drop_database(self, url: str) -> None:
        with self.connect("postgres") as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(url.rpartition("/")[2])))

    def connect(self, database: str) -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments], user=self._user, check=True, capture_output=True, cwd="/"
        )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                with self.connect("postgres"):
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise AssertionError(f"PostgreSQL did not answer within {_START_S} s: {error}") from error
                time.sleep(0.02)


def _unprivileged_user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise AssertionError("PostgreSQL refuses to run as root, and there is no user postgres or nobody")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
