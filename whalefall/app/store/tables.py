"""The shape of the app's tables. Names begin with `wf_`, as the ledger's do; names of people are in lower case."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

from whalefall.scheduler.ledger.dialects import Instant
from whalefall.scheduler.ledger.schema import Serial

metadata = MetaData()


users = Table(
    "wf_user",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),  # lower case
    Column("role", String(16), nullable=False),
    Column("password_hash", String(256), nullable=False),
    Column("stamp", String(32), nullable=False),  # changes with the password and the role; ends sessions
    Column("is_enabled", Boolean, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_login_at", Instant),
)

# One row at most (its id is always 1): whoever inserts it prints the link.
setup_links = Table(
    "wf_setup_link",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("token_hash", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

api_tokens = Table(
    "wf_token",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("role", String(16), nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
)

audit = Table(
    "wf_audit",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("actor", String(160), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("target", String(256), nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("request_id", String(128), nullable=False),
)

login_attempts = Table(
    "wf_login_attempt",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("name", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("succeeded", Boolean, nullable=False),
    Index("wf_login_attempt_at", "at"),
)

host_samples = Table(
    "wf_host_sample",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("at", Instant, nullable=False),
    Column("host", String(255), nullable=False),
    Column("load_1m", Float, nullable=False),
    Column("cpu_percent", Float, nullable=False),
    Column("memory_used", BigInteger, nullable=False),
    Column("memory_total", BigInteger, nullable=False),
    Column("disk_used", BigInteger, nullable=False),
    Column("disk_total", BigInteger, nullable=False),
    Index("wf_host_sample_at", "at"),
)
