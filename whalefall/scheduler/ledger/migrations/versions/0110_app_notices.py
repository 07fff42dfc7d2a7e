"""The outbox of notifications: what is to be told, by which channel, and who looks."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, String, UniqueConstraint, text

from whalefall.scheduler.ledger.dialects import Instant, Words

revision = "0110"
down_revision = "0101"
branch_labels = None
depends_on = None

_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    _notices()
    _deliveries()
    op.create_table(
        "wf_watch",
        Column("name", String(64), primary_key=True),
        Column("holder", String(255), nullable=False),
        Column("expires_at", Instant, nullable=False),
        Column("first_look_at", Instant, nullable=False),
    )


def _notices() -> None:
    op.create_table(
        "wf_notice",
        Column("id", _SERIAL, primary_key=True, autoincrement=True),
        Column("event", String(16), nullable=False),
        Column("kind", String(16), nullable=False),
        Column("subject", String(190), nullable=False),
        Column("since", Instant, nullable=False),
        Column("text", Words, nullable=False),
        Column("run_id", String(36), nullable=False),
        Column("state", String(16), nullable=False),
        Column("reason", Words, nullable=False),
        Column("seen_at", Instant, nullable=False),
        Column("told_at", Instant),
        Column("ended_at", Instant),
        Column("answers", BigInteger),
        UniqueConstraint("event", "kind", "subject", "since", name="wf_notice_key"),
    )
    is_open = text("ended_at IS NULL")
    op.create_index(
        "wf_notice_open", "wf_notice", ["kind", "subject"], unique=True, postgresql_where=is_open, sqlite_where=is_open
    )
    op.create_index("wf_notice_seen", "wf_notice", ["seen_at"])


def _deliveries() -> None:
    op.create_table(
        "wf_delivery",
        Column("notice_id", BigInteger, primary_key=True, autoincrement=False),
        Column("channel", String(16), primary_key=True),
        Column("state", String(16), nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("due_at", Instant, nullable=False),
        Column("claimed_by", String(255), nullable=False),
        Column("sent_at", Instant),
        Column("answer", Words, nullable=False),
    )
    is_due = text("state IN ('waiting', 'sending')")
    op.create_index(
        "wf_delivery_due", "wf_delivery", ["channel", "due_at"], postgresql_where=is_due, sqlite_where=is_due
    )
