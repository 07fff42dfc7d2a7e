"""A session's advisory lock in PostgreSQL: free as soon as the server notices that the session is gone.

Its limits, measured: a holder that is stopped keeps it for as long as it is stopped; a session that is killed in the
middle of a statement keeps it until the statement ends; and it means nothing behind a pooler in transaction mode,
where a session is not ours for longer than a transaction. The lease row (`sql`) has none of these.
"""

import contextlib
import logging
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, text
from sqlalchemy.pool import NullPool

from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.engine import KEEPALIVE
from whalefall.scheduler.ledger.records import Tenure

# "whle", another number than the migrations', and the schema: a database may hold the ledgers of several.
_KEY = f"{0x77686C65}, hashtext(current_schema())"
_log = logging.getLogger("whalefall.scheduler")


class AdvisoryLock:
    """Holds one connection of its own, outside the pool, for as long as it leads."""

    name = "postgres-advisory"

    def __init__(self, ledger: Ledger, holder: str, ttl_s: float) -> None:
        self._ledger, self._holder, self._ttl_s = ledger, holder, ttl_s
        self._engine = sqlalchemy.create_engine(
            ledger.engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=dict(KEEPALIVE)
        )
        self._session: Connection | None = None
        self._backend = 0

    def take(self) -> Tenure | None:
        self._ledger.prepare()
        session = self._connected()
        if not self._ask(session, f"SELECT pg_try_advisory_lock({_KEY})"):
            return None
        self._backend = self._ask(session, "SELECT pg_backend_pid()")
        try:
            return self._ledger.seize_lease(self._holder, self._ttl_s)
        except BaseException:
            self._let_go()
            raise

    def renew(self, tenure: Tenure, tick_age_s: float) -> bool:
        if not self._still_ours():
            return False
        return self._ledger.renew_lease(tenure, self._ttl_s, tick_age_s)

    def give_back(self, tenure: Tenure) -> None:
        try:
            self._ledger.give_lease_back(tenure)
        finally:
            self._let_go()

    def _connected(self) -> Connection:
        if self._session is None or self._session.closed:
            try:
                self._session = self._engine.connect()
            except sqlalchemy.exc.DBAPIError as error:
                raise LedgerUnavailable(f"PostgreSQL gives no session for the advisory lock: {error.orig}") from error
        return self._session

    def _still_ours(self) -> bool:
        if self._session is None:
            return False
        try:
            backend = self._ask(self._session, "SELECT pg_backend_pid()")
        except LedgerUnavailable:
            return False
        if backend != self._backend:
            _log.error(
                "the advisory lock's session moved to another backend: a pooler in transaction mode is in between, "
                "where this lock means nothing; set SCHEDULER_LOCK=sql"
            )
            self._let_go()
            return False
        return True

    def _ask(self, session: Connection, question: str) -> Any:
        try:
            return session.execute(text(question)).scalar_one()
        except sqlalchemy.exc.DBAPIError as error:
            self._let_go()
            raise LedgerUnavailable(f"the session of the advisory lock is gone: {error.orig}") from error

    def _let_go(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(sqlalchemy.exc.DBAPIError):
                session.invalidate()  # closes the socket: the server releases the lock with the session
                session.close()
