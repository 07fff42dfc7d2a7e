"""Standbys, whose job it is, and indexes for ledgers with a million runs."""

from alembic import op
from sqlalchemy import Column, String, Text, text

from whalefall.scheduler.ledger.dialects import Instant

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_RARE = (
    "state = 'failed' OR state = 'timed_out' OR state = 'cancelled' OR state = 'lost' OR state = 'skipped_late' OR "
    "state = 'skipped_overlap' OR state = 'skipped_paused' OR state = 'skipped_broken' OR state = 'skipped_edited'"
)


def upgrade() -> None:
    op.create_table(
        "wf_standby",
        Column("holder", String(255), primary_key=True),
        Column("since", Instant, nullable=False),
        Column("seen_at", Instant, nullable=False),
        Column("expires_at", Instant, nullable=False),
    )
    op.add_column("wf_job", Column("application", Text, nullable=False, server_default=""))
    started, by_hand, rare = text("started_at IS NOT NULL"), text("source = 'manual'"), text(_RARE)
    op.create_index("wf_run_started", "wf_run", ["job_id", "run_id"], postgresql_where=started, sqlite_where=started)
    op.create_index("wf_run_by_hand", "wf_run", ["run_id"], postgresql_where=by_hand, sqlite_where=by_hand)
    op.create_index("wf_run_rare", "wf_run", ["state", "run_id"], postgresql_where=rare, sqlite_where=rare)
