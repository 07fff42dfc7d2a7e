"""The first ledger: lease, jobs, runs, attempts, events."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB

from whalefall.scheduler.ledger.dialects import Instant

revision = "0001"
down_revision = None
branch_labels = ("ledger",)
depends_on = None

_JSON = JSON().with_variant(JSONB(), "postgresql")
_SERIAL = BigInteger().with_variant(Integer(), "sqlite")


def upgrade() -> None:
    _lease()
    _job()
    _run()
    _attempt_and_event()


def _lease() -> None:
    op.create_table(
        "wf_lease",
        Column("name", String(64), primary_key=True),
        Column("holder", String(255), nullable=False),
        Column("term", BigInteger, nullable=False),
        Column("expires_at", Instant, nullable=False),
        Column("taken_at", Instant, nullable=False),
        Column("ticked_at", Instant, nullable=False),
    )


def _job() -> None:
    op.create_table(
        "wf_job",
        Column("job_id", String(190), primary_key=True),
        Column("name", Text, nullable=False),
        Column("description", Text, nullable=False),
        Column("func_ref", Text, nullable=False),
        Column("args", _JSON, nullable=False),
        Column("kwargs", _JSON, nullable=False),
        Column("code_trigger", _JSON),
        Column("override_trigger", _JSON),
        Column("timezone", String(64), nullable=False),
        Column("anchor", Instant, nullable=False),
        Column("policies", _JSON, nullable=False),
        Column("origin", String(16), nullable=False),
        Column("is_builtin", Boolean, nullable=False),
        Column("paused_at", Instant),
        Column("paused_until", Instant),
        Column("paused_by", Text, nullable=False),
        Column("pause_reason", Text, nullable=False),
        Column("broken_reason", Text, nullable=False),
        Column("retired_at", Instant),
        Column("deleted_at", Instant),
        Column("next_fire_at", Instant),
        Column("version", BigInteger, nullable=False),
        Column("created_at", Instant, nullable=False),
        Column("updated_at", Instant, nullable=False),
    )
    op.create_index("wf_job_due", "wf_job", ["next_fire_at"])


def _run() -> None:
    op.create_table(
        "wf_run",
        Column("run_id", String(36), primary_key=True),
        Column("job_id", String(190), nullable=False),
        Column("source", String(16), nullable=False),
        Column("scheduled_at", Instant, nullable=False),
        Column("dedupe", String(190), nullable=False),
        Column("state", String(24), nullable=False),
        Column("reason", Text, nullable=False),
        Column("span_end", Instant),
        Column("span_count", Integer, nullable=False),
        Column("not_before", Instant, nullable=False),
        Column("slots", Integer, nullable=False),
        Column("executor", String(16), nullable=False),
        Column("args", _JSON),
        Column("created_at", Instant, nullable=False),
        Column("created_by", Text, nullable=False),
        Column("note", Text, nullable=False),
        Column("fired_by", Text, nullable=False),
        Column("fired_term", BigInteger),
        Column("attempt", Integer, nullable=False),
        Column("claimed_by", Text, nullable=False),
        Column("lease_until", Instant),
        Column("started_at", Instant),
        Column("finished_at", Instant),
        Column("cancel_requested", Boolean, nullable=False),
        Column("cancelled_by", Text, nullable=False),
        Column("progress", Float),
        Column("progress_text", Text, nullable=False),
        Column("output", Text, nullable=False),
        Column("error", Text, nullable=False),
        UniqueConstraint("job_id", "scheduled_at", "source", "dedupe", name="wf_run_fire_key"),
    )
    queued, alive, running = text("state = 'queued'"), text("state IN ('queued', 'running')"), text("state = 'running'")
    op.create_index("wf_run_waiting", "wf_run", ["not_before"], postgresql_where=queued, sqlite_where=queued)
    op.create_index("wf_run_alive", "wf_run", ["job_id"], postgresql_where=alive, sqlite_where=alive)
    op.create_index("wf_run_held", "wf_run", ["lease_until"], postgresql_where=running, sqlite_where=running)
    op.create_index("wf_run_history", "wf_run", ["job_id", "run_id"])


def _attempt_and_event() -> None:
    op.create_table(
        "wf_attempt",
        Column("run_id", String(36), primary_key=True),
        Column("attempt", Integer, primary_key=True),
        Column("state", String(24), nullable=False),
        Column("claimed_by", Text, nullable=False),
        Column("started_at", Instant),
        Column("finished_at", Instant),
        Column("error", Text, nullable=False),
    )
    op.create_table(
        "wf_event",
        Column("event_id", _SERIAL, primary_key=True, autoincrement=True),
        Column("at", Instant, nullable=False),
        Column("kind", String(32), nullable=False),
        Column("job_id", String(190), nullable=False),
        Column("actor", Text, nullable=False),
        Column("detail", _JSON, nullable=False),
    )
    op.create_index("wf_event_of_job", "wf_event", ["job_id", "event_id"])
