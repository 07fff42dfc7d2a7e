"""Sessions that the server can end, samples of each process, and an index by which the audit trail forgets."""

from alembic import op
from sqlalchemy import BigInteger, Column, Float, Integer, String

from whalefall.scheduler.ledger.dialects import Instant

revision = "0101"
down_revision = "0100"
branch_labels = None
depends_on = None

_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "wf_session",
        Column("id", _SERIAL, primary_key=True, autoincrement=True),
        Column("key_hash", String(64), nullable=False, unique=True),
        Column("user_id", _SERIAL, nullable=False),
        Column("stamp", String(32), nullable=False),
        Column("created_at", Instant, nullable=False),
        Column("last_seen_at", Instant, nullable=False),
    )
    op.create_table(
        "wf_process_sample",
        Column("host", String(255), primary_key=True),
        Column("at", Instant, primary_key=True),
        Column("name", String(128), primary_key=True),
        Column("memory_bytes", BigInteger),
        Column("cpu_percent", Float),
    )
    op.create_index("wf_audit_at", "wf_audit", ["at"])
