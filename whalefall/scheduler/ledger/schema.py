"""The tables, and the constraints that keep the promise: one row per (job, instant, source, dedupe).

The migrations create what stands here; a test holds the two together. Names begin with `wf_`, because the database
may belong to the user's application.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from whalefall.scheduler.ledger.dialects import Instant, Words

metadata = MetaData()
Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
# The states that few runs end in. With OR: only so does SQLite see that `state = 'lost'` is one of them.
RARE = " OR ".join(
    f"state = '{state}'"
    for state in (
        "failed",
        "timed_out",
        "cancelled",
        "lost",
        "skipped_late",
        "skipped_overlap",
        "skipped_paused",
        "skipped_broken",
        "skipped_edited",
    )
)
# Word for word the condition of an index. As text, for a list of parameters is written anew each time it is asked.
IS_ALIVE = text("wf_run.state IN ('queued', 'running')")
# SQLite numbers its rows only in columns of the type INTEGER.
Serial = BigInteger().with_variant(Integer(), "sqlite")

lease = Table(
    "wf_lease",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(255), nullable=False),  # host, pid and chance: never the hostname alone
    Column("term", BigInteger, nullable=False),  # grows with each change of holder; fences the old one off
    Column("expires_at", Instant, nullable=False),
    Column("taken_at", Instant, nullable=False),
    Column(
        "ticked_at", Instant, nullable=False
    ),  # when the leader's loop last turned; its age is the scheduler's health
)

standby = Table(
    "wf_standby",
    metadata,
    Column("holder", String(255), primary_key=True),
    Column("since", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
)

job = Table(
    "wf_job",
    metadata,
    Column("job_id", String(190), primary_key=True),
    Column("name", Words, nullable=False),
    Column("description", Words, nullable=False),
    Column("func_ref", Words, nullable=False),
    Column("args", Json, nullable=False),
    Column("kwargs", Json, nullable=False),
    Column("code_trigger", Json),  # what the code declares
    Column("override_trigger", Json),  # what somebody edited; wins
    Column("timezone", String(64), nullable=False),
    Column("anchor", Instant, nullable=False),  # origin of intervals, the same for all replicas
    Column("policies", Json, nullable=False),
    Column("origin", String(16), nullable=False),  # code or added (at run time)
    Column("is_builtin", Boolean, nullable=False),
    Column("paused_at", Instant),
    Column("paused_until", Instant),
    Column("paused_by", Words, nullable=False),
    Column("pause_reason", Words, nullable=False),
    Column("broken_reason", Words, nullable=False),
    Column("retired_at", Instant),  # gone from code
    Column("deleted_at", Instant),  # by a person; comes back with a reload
    Column("next_fire_at", Instant),  # the cursor: moves in the same transaction as the runs are recorded
    Column("version", BigInteger, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("updated_at", Instant, nullable=False),
    Column("application", Words, nullable=False, server_default=""),  # whose code declares it
    Index("wf_job_due", "next_fire_at"),
)

run = Table(
    "wf_run",
    metadata,
    Column("run_id", String(36), primary_key=True),  # grows with time: newest first is the key backwards
    Column("job_id", String(190), nullable=False),
    Column("source", String(16), nullable=False),
    Column("scheduled_at", Instant, nullable=False),  # nominal, before jitter
    Column("dedupe", String(190), nullable=False),  # '' for the schedule; idempotency key of a manual run
    Column("state", String(24), nullable=False),
    Column("reason", Words, nullable=False),
    Column("span_end", Instant),  # a row for many skipped instants: the last of them, and how many
    Column("span_count", Integer, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("slots", Integer, nullable=False),  # runs of the job that may be alive at once; 0: any number
    Column("executor", String(16), nullable=False),
    Column("args", Json),  # of a manual run: replaces the job's keyword arguments of the same names
    Column("created_at", Instant, nullable=False),
    Column("created_by", Words, nullable=False),
    Column("note", Words, nullable=False),  # why a person asked for it; `reason` is why it ended as it did
    Column("fired_by", Words, nullable=False),
    Column("fired_term", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("claimed_by", Words, nullable=False),
    Column("lease_until", Instant),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("cancel_requested", Boolean, nullable=False),
    Column("cancelled_by", Words, nullable=False),
    Column("progress", Float),
    Column("progress_text", Words, nullable=False),
    Column("output", Words, nullable=False),
    Column("error", Words, nullable=False),
    UniqueConstraint("job_id", "scheduled_at", "source", "dedupe", name="wf_run_fire_key"),
    Index(
        "wf_run_waiting", "not_before", postgresql_where=text("state = 'queued'"), sqlite_where=text("state = 'queued'")
    ),
    Index(
        "wf_run_alive",
        "job_id",
        postgresql_where=text("state IN ('queued', 'running')"),
        sqlite_where=text("state IN ('queued', 'running')"),
    ),
    Index(
        "wf_run_held", "lease_until", postgresql_where=text("state = 'running'"), sqlite_where=text("state = 'running'")
    ),
    Index("wf_run_history", "job_id", "run_id"),
    Index(
        "wf_run_started",
        "job_id",
        "run_id",
        postgresql_where=text("started_at IS NOT NULL"),
        sqlite_where=text("started_at IS NOT NULL"),
    ),
    Index(
        "wf_run_by_hand", "run_id", postgresql_where=text("source = 'manual'"), sqlite_where=text("source = 'manual'")
    ),
    Index("wf_run_rare", "state", "run_id", postgresql_where=text(RARE), sqlite_where=text(RARE)),
)

attempt = Table(
    "wf_attempt",
    metadata,
    Column("run_id", String(36), primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("state", String(24), nullable=False),  # how this attempt ended, while the run went on
    Column("claimed_by", Words, nullable=False),
    Column("started_at", Instant),
    Column("finished_at", Instant),
    Column("error", Words, nullable=False),
)

event = Table(
    "wf_event",
    metadata,
    Column("event_id", Serial, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("job_id", String(190), nullable=False),  # '' for what concerns all
    Column("actor", Words, nullable=False),
    Column("detail", Json, nullable=False),
    Index("wf_event_of_job", "job_id", "event_id"),
)
