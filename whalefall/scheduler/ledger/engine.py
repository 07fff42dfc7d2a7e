"""The database engine: one URL in, connections that behave the same out.

SQLite: WAL, one writer at a time that waits its turn (BEGIN IMMEDIATE and a busy timeout), every commit on disk
before work starts (synchronous=FULL). PostgreSQL: limits on every write transaction, set with SET LOCAL, so that they
hold through a pooler in transaction mode too; no prepared statements for the same reason.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError, NoSuchModuleError
from sqlalchemy.pool import ConnectionPoolEntry

from whalefall.errors import ConfigError

BUSY_TIMEOUT_S = 10.0
GONE = "the file was there and is gone"
_READ = "whalefall_read"
_OUTSIDE = "whalefall_outside"  # of any transaction
# A leader that is stopped inside a transaction must lose its row locks before its lease is worth anything again.
_LIMITS = (
    "SET LOCAL statement_timeout = '15s'; SET LOCAL lock_timeout = '5s'; "
    "SET LOCAL idle_in_transaction_session_timeout = '8s'"
)
# The server's default keepalive is two hours; a vanished database must be noticed in seconds. Keepalives say nothing of
# a connection with bytes on their way (tcp(7)): without tcp_user_timeout (ms) a query into a hole waits 15 minutes.
KEEPALIVE = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "connect_timeout": 5,
}


def make_engine(database_url: str, *, make_directory: bool = True) -> Engine:
    """Opens nothing yet, but makes the directory of an SQLite file, unless told not to.

    Raises ConfigError for a URL that names no database we know, or one whose driver is not installed.
    """
    url = _normalised(database_url)
    if url.get_backend_name() == "sqlite":
        return _sqlite(url, make_directory=make_directory)
    _require_driver()
    engine = create_engine(
        url,
        pool_pre_ping=True,
        pool_use_lifo=True,  # the server's process that was used last has all in its caches
        pool_size=5,
        max_overflow=15,
        # In the driver's own transactions BEGIN is a question by itself, with an answer to wait for.
        connect_args={**KEEPALIVE, "prepare_threshold": None, "autocommit": True},
    )
    event.listen(engine, "begin", _begin_postgresql)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only looks: on SQLite it never waits for a writer."""
    with engine.connect().execution_options(**{_READ: True}) as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that changes things: all of it or nothing."""
    with engine.begin() as connection:
        yield connection


def file_of(engine: Engine) -> tuple[int, ...] | None:
    """Which file an SQLite URL names now, None for none; () for what is no file."""
    name = _path(engine.url)
    return _identity(name) if name else ()


def compact(engine: Engine) -> None:
    """VACUUM, which no transaction may contain."""
    with engine.connect().execution_options(**{_OUTSIDE: True}) as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("VACUUM")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        else:
            connection.exec_driver_sql("VACUUM (ANALYZE) wf_run, wf_attempt, wf_event, wf_job")


def _normalised(database_url: str) -> URL:
    try:
        url = make_url(database_url)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError):
        raise ConfigError(
            "DATABASE_URL: its value is no database URL; write sqlite:////path/file.db or postgresql://user:password@host/name."
        ) from None
    if backend in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return url
    raise ConfigError(f"DATABASE_URL: the ledger lives in SQLite or PostgreSQL, not in {backend!r}.")


def _require_driver() -> None:
    try:
        import psycopg  # noqa: F401, PLC0415 - an extra: an SQLite ledger does without
    except ImportError as error:  # also psycopg without libpq, which says what it misses
        if isinstance(error, ModuleNotFoundError) and error.name == "psycopg":
            mend = "is not installed (psycopg): pip install 'whalefall[postgres]'"
        else:
            mend = f"does not load (psycopg: {str(error).splitlines()[0]}): pip install 'psycopg[binary]'"
        raise ConfigError(f"DATABASE_URL needs a driver that {mend}") from None


def _sqlite(url: URL, *, make_directory: bool) -> Engine:
    if (name := _path(url)) and make_directory:
        with suppress(OSError):  # SQLite has its words for that, and they are explained with all its others
            Path(name).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}, pool_size=5, max_overflow=15
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    if name:
        file = _File(name)
        event.listen(engine, "do_connect", file.refuse_new)
        event.listen(engine, "connect", file.remember)
        event.listen(engine, "checkout", file.refuse_old)
    return engine


def _path(url: URL) -> str:
    """Of SQLite's file; "" for a database in memory, one that a file: URI names, or a server."""
    name = url.database or ""
    return "" if url.get_backend_name() != "sqlite" or name == ":memory:" or name.startswith("file:") else name


class _File:
    """Which file is at the path. SQLite looks once, and would go on with one that a restored backup has replaced, or
    that lies on a disk that has been mounted anew; and it would make a new one while that disk is not mounted.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._was_there = False

    def refuse_new(self, _dialect: object, record: ConnectionPoolEntry, *_: object) -> None:
        """Before a connection is made: one file is made, once, and never instead of one that we have seen."""
        record.info["file"] = _identity(self._name)  # not after: it may be replaced meanwhile
        if self._was_there and record.info["file"] is None:
            raise sqlite3.OperationalError(GONE)

    def remember(self, _connection: object, record: ConnectionPoolEntry) -> None:
        """After that: it may have made the file."""
        record.info["file"] = record.info["file"] or _identity(self._name)
        self._was_there = True

    def refuse_old(self, _connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        """Before it is used again: the pool then makes another."""
        if record.info.get("file") != _identity(self._name):
            raise DisconnectionError


def _identity(name: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - before each transaction: three times as quick as a Path
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver's own transactions begin too late
    connection.execute("PRAGMA foreign_keys = ON")
    _use_write_ahead_log(connection)
    connection.execute("PRAGMA synchronous = FULL")


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # The change to WAL needs the file for itself and does not wait for the busy timeout (sqlite.org/wal.html).
    deadline = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(_OUTSIDE):
        connection.exec_driver_sql("BEGIN" if options.get(_READ) else "BEGIN IMMEDIATE")


def _begin_postgresql(connection: Connection) -> None:
    options = connection.get_execution_options()
    if not options.get(_OUTSIDE):
        connection.exec_driver_sql("BEGIN" if options.get(_READ) else f"BEGIN; {_LIMITS}")
