"""SCHEDULER_LOCK → the leadership that it names. Raises ConfigError for what cannot work with the database."""

from whalefall.errors import ConfigError
from whalefall.scheduler.leadership import Leadership
from whalefall.scheduler.leadership.file import RecordLock
from whalefall.scheduler.leadership.postgres import AdvisoryLock
from whalefall.scheduler.leadership.sql import SqlLease
from whalefall.scheduler.ledger import Ledger


def choose(lock: str, ledger: Ledger, holder: str, ttl_s: float) -> Leadership:
    """`sql`, `postgres-advisory`, `file`, or the URL of a Redis."""
    dialect = ledger.engine.dialect.name
    if lock in ("", "sql"):
        return SqlLease(ledger, holder, ttl_s)
    if lock == "postgres-advisory":
        if dialect != "postgresql":
            raise ConfigError("SCHEDULER_LOCK=postgres-advisory needs a PostgreSQL in DATABASE_URL; use sql.")
        return AdvisoryLock(ledger, holder, ttl_s)
    if lock == "file":
        path = ledger.engine.url.database
        if dialect != "sqlite" or not path or path == ":memory:":
            raise ConfigError("SCHEDULER_LOCK=file is for a SQLite file on one host; use sql.")
        return RecordLock(ledger, holder, ttl_s, path + ".leader")
    if lock.startswith(("redis://", "rediss://", "unix://")):
        from whalefall.scheduler.leadership.redis import RedisLease  # noqa: PLC0415 - an extra that few install

        return RedisLease(ledger, holder, ttl_s, lock)
    raise ConfigError("SCHEDULER_LOCK: write sql, postgres-advisory, file, or a redis:// URL.")
