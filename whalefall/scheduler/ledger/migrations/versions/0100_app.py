"""The first tables of the app: users, the setup link, API tokens, the audit trail, login attempts, host samples."""

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Float, Integer, String, Text

from whalefall.scheduler.ledger.dialects import Instant

revision = "0100"
down_revision = None
branch_labels = ("app",)
depends_on = None

_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    _users()
    _tokens()
    _audit()
    _host_samples()


def _users() -> None:
    op.create_table(
        "wf_user",
        Column("id", _SERIAL, primary_key=True, autoincrement=True),
        Column("name", String(64), nullable=False, unique=True),
        Column("role", String(16), nullable=False),
        Column("password_hash", String(256), nullable=False),
        Column("stamp", String(32), nullable=False),
        Column("is_enabled", Boolean, nullable=False),
        Column("created_at", Instant, nullable=False),
        Column("last_login_at", Instant),
    )
    op.create_table(
        "wf_setup_link",
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("token_hash", String(64), nullable=False),
        Column("created_at", Instant, nullable=False),
        Column("expires_at", Instant, nullable=False),
    )
    op.create_table(
        "wf_login_attempt",
        Column("id", _SERIAL, primary_key=True, autoincrement=True),
        Column("at", Instant, nullable=False),
        Column("name", String(64), nullable=False),
        Column("address", String(64), nullable=False),
        Column("succeeded", Boolean, nullable=False),
    )
    op.create_index("wf_login_attempt_at", "wf_login_attempt", ["at"])


def _tokens() -> None:
    op.create_table(
        "wf_token",
        Column("id", _SERIAL, primary_key=True, autoincrement=True),
        Column("name", String(64), nullable=False),
        Column("token_hash", String(64), nullable=False, unique=True),
        Column("role", String(16), nullable=False),
        Column("created_by", String(64), nullable=False),
        Column("created_at", Instant, nullable=False),
        Column("expires_at", Instant),
        Column("last_used_at", Instant),
        Column("revoked_at", Instant),
    )


def _audit() -> None:
    op.create_table(
        "wf_audit",
        Column("id", _SERIAL, primary_key=True, autoincrement=True),
        Column("at", Instant, nullable=False),
        Column("actor", String(160), nullable=False),
        Column("address", String(64), nullable=False),
        Column("action", String(64), nullable=False),
        Column("target", String(256), nullable=False),
        Column("before", Text),
        Column("after", Text),
        Column("request_id", String(128), nullable=False),
    )


def _host_samples() -> None:
    op.create_table(
        "wf_host_sample",
        Column("id", _SERIAL, primary_key=True, autoincrement=True),
        Column("at", Instant, nullable=False),
        Column("host", String(255), nullable=False),
        Column("load_1m", Float, nullable=False),
        Column("cpu_percent", Float, nullable=False),
        Column("memory_used", BigInteger, nullable=False),
        Column("memory_total", BigInteger, nullable=False),
        Column("disk_used", BigInteger, nullable=False),
        Column("disk_total", BigInteger, nullable=False),
    )
    op.create_index("wf_host_sample_at", "wf_host_sample", ["at"])
