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
    UniqueConstraint,
    text,
)

from whalefall.scheduler.ledger.dialects import Instant, Words
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

# Who is logged in. The cookie carries the key; a row that is gone, or has another stamp than its user, is no session.
sessions = Table(
    "wf_session",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("user_id", Serial, nullable=False),
    Column("stamp", String(32), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("last_seen_at", Instant, nullable=False),  # to a fraction of the lifetime
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
    Index("wf_audit_at", "at"),
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

# What each supervised process used. `at` is the start of a slot of time: of all processes that would write it, the
# primary key lets one. The row without a name claims the slot.
process_samples = Table(
    "wf_process_sample",
    metadata,
    Column("host", String(255), primary_key=True),
    Column("at", Instant, primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("memory_bytes", BigInteger),
    Column("cpu_percent", Float),
)

# The outbox of notifications: one row for each thing that went wrong, each that is well again, and each summary. Of
# each thing that is wrong there is one open row (`ended_at` is null), whoever saw it.
notices = Table(
    "wf_notice",
    metadata,
    Column("id", Serial, primary_key=True),
    Column("event", String(16), nullable=False),  # what people are told: failed, missed, slow, recovered, summary
    Column("kind", String(16), nullable=False),  # what the watchman calls it
    Column("subject", String(190), nullable=False),  # a job's id; '' for the scheduler
    Column("since", Instant, nullable=False),
    Column("text", Words, nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("state", String(16), nullable=False),  # pending, told or suppressed
    Column("reason", Words, nullable=False),  # why it was suppressed
    Column("seen_at", Instant, nullable=False),
    Column("told_at", Instant),
    Column("ended_at", Instant),
    Column("answers", BigInteger),  # the row that a recovery is the end of
    UniqueConstraint("event", "kind", "subject", "since", name="wf_notice_key"),
    Index(
        "wf_notice_open",
        "kind",
        "subject",
        unique=True,
        postgresql_where=text("ended_at IS NULL"),
        sqlite_where=text("ended_at IS NULL"),
    ),
    Index("wf_notice_seen", "seen_at"),
)

# One row for each notice and channel: whoever moves it from waiting to sending sends it.
deliveries = Table(
    "wf_delivery",
    metadata,
    Column("notice_id", BigInteger, primary_key=True, autoincrement=False),
    Column("channel", String(16), primary_key=True),
    Column("state", String(16), nullable=False),  # waiting, sending, sent or failed
    Column("attempts", Integer, nullable=False),
    Column("due_at", Instant, nullable=False),  # of a row that is being sent: when it is somebody else's again
    Column("claimed_by", String(255), nullable=False),
    Column("sent_at", Instant),
    Column("answer", Words, nullable=False),  # what the receiver said last
    Index(
        "wf_delivery_due",
        "channel",
        "due_at",
        postgresql_where=text("state IN ('waiting', 'sending')"),
        sqlite_where=text("state IN ('waiting', 'sending')"),
    ),
)

# One row: who looks for what is new, and since when anybody does.
watches = Table(
    "wf_watch",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(255), nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("first_look_at", Instant, nullable=False),
)
