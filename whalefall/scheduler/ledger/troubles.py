"""The border to the database: what its errors mean, in one sentence that says what to do, and how to ask for them.

`reading` and `writing` of a Ledger stand inside `sentences()`; whoever uses its engine by itself may, too.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.ledger import leases
from whalefall.scheduler.ledger.engine import GONE, reading

_PATIENCE_MS = 1000  # of a question whether the file can be written: probes do not wait longer
_WRITTEN = timedelta(seconds=10)  # a leader tells of itself every few seconds; who wrote just now could write

_EXPLANATIONS = (
    (
        "database is locked",
        "another process holds the SQLite file's write lock for too long; end it, `fuser -v` with the file names it",
    ),
    (
        "readonly database",
        "the SQLite file, its directory or its disk is read-only for this user; make it writable",
    ),
    (GONE, "the SQLite file is gone; mount its disk, or restore it from a backup"),
    (
        "unable to open database file",
        "the SQLite file cannot be opened; look at its path and permissions, and whether its disk is there, full or "
        "read-only",
    ),
    ("database or disk is full", "the disk is full; make space"),
    ("No space left on device", "the disk of the PostgreSQL server is full; make space there"),
    (
        "disk I/O error",
        "the disk is full or read-only, or it gave an error; make space, or look into the kernel's log and mend it",
    ),
    ("not a database", "the file is no SQLite database, or it is damaged; restore it from a backup"),
    ("no such table", "a table of ours is missing; restore the file from a backup"),
    ("disk image is malformed", "the SQLite file is damaged; restore it from a backup"),
    (
        "read-only transaction",
        "the PostgreSQL server is in recovery or read-only, and the scheduler needs the primary; promote it, or mend "
        "DATABASE_URL",
    ),
    ("recovery", "the PostgreSQL server is starting up or in recovery; wait for it, or promote it"),
    ("starting up", "the PostgreSQL server is starting up; wait for it"),
    ("shutting down", "the PostgreSQL server is shutting down; start it again"),
    ("deadlock detected", "two transactions waited for each other, and this one was given up: it is tried again"),
    ("lock timeout", "somebody holds a lock in PostgreSQL for longer than 5 s; pg_stat_activity names them"),
)


@contextmanager
def sentences() -> Iterator[None]:
    """The database's errors become LedgerUnavailable, with what to do about them; bugs of ours stay what they are."""
    try:
        yield
    except SQLAlchemyError as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        raise LedgerUnavailable(sentence) from error


def sentence_of(error: SQLAlchemyError) -> str | None:
    """What is wrong with the database, and how to mend it; None if nothing is: then our question was wrong."""
    if isinstance(error, OperationalError | PoolTimeout):
        return explain(str(getattr(error, "orig", error)))
    if isinstance(error, DBAPIError):
        words = str(error.orig)
        if error.connection_invalidated or any(sign in words for sign, _ in _EXPLANATIONS):
            return explain(words)
    return None


def explain(words: str) -> str:
    """The driver's words as a sentence."""
    first = words.strip().splitlines()[0] if words.strip() else "no message"
    for sign, meaning in _EXPLANATIONS:
        if sign in words:
            return f"The ledger's database refuses: {meaning} ({first})."
    return f"The ledger's database does not answer: {first}. Start it, or mend DATABASE_URL."


def refuse_unwritable(engine: Engine) -> None:
    """Raises LedgerUnavailable unless the ledger can be read and written now. Needs no table and makes none.

    A server is asked for its role. A file is written, unless a leader wrote it just now: nothing else tells of a full
    disk, one that the kernel has made read-only, or a lock.
    """
    with sentences():
        with reading(engine) as connection:
            if connection.dialect.name == "postgresql":
                return _refuse_standby(connection)
            with suppress(OperationalError):  # no such table: nobody has been here yet
                if _was_written(connection):
                    return None
        return _write_nothing(engine)


def _refuse_standby(connection: Connection) -> None:
    query = text("SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean")
    if connection.execute(query).scalar_one():
        raise LedgerUnavailable(explain("the server takes no more than a read-only transaction"))


def _was_written(connection: Connection) -> bool:
    lease = leases.read(connection)
    return lease is not None and timedelta() <= lease.now - lease.ticked_at < _WRITTEN


def _write_nothing(engine: Engine) -> None:
    """A transaction that writes the first page as it is, with a short busy timeout."""
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)  # noqa: S101 - the caller looked
        [before] = driver.execute("PRAGMA busy_timeout").fetchone()
        driver.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
        try:
            driver.execute("BEGIN IMMEDIATE")
            [number] = driver.execute("PRAGMA user_version").fetchone()
            driver.execute(f"PRAGMA user_version = {number}")
            driver.execute("COMMIT")
        except sqlite3.Error as error:
            raise LedgerUnavailable(explain(str(error))) from error
        finally:
            with suppress(sqlite3.Error):
                if driver.in_transaction:
                    driver.execute("ROLLBACK")
                driver.execute(f"PRAGMA busy_timeout = {before}")
