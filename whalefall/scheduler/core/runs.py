"""One run's life: its states and the ways between them."""

from enum import StrEnum


class RunState(StrEnum):
    """Where a run stands. Everything from `succeeded` on is final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    LOST = "lost"  # its runner vanished; whether the work was done is not known
    SKIPPED_LATE = "skipped_late"
    SKIPPED_OVERLAP = "skipped_overlap"
    SKIPPED_PAUSED = "skipped_paused"
    SKIPPED_BROKEN = "skipped_broken"
    SKIPPED_EDITED = "skipped_edited"  # its trigger was changed before it could fire


class Source(StrEnum):
    """Why a run exists."""

    SCHEDULE = "schedule"
    MANUAL = "manual"


ALIVE = frozenset({RunState.QUEUED, RunState.RUNNING})
SKIPPED = frozenset(state for state in RunState if state.startswith("skipped_"))
FINAL = frozenset(RunState) - ALIVE
UNHAPPY = frozenset({RunState.FAILED, RunState.TIMED_OUT, RunState.LOST})

# queued → running by a claim; running → queued by a retry, a rerun or a hand-back. Skipped rows are born final.
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED}),
    RunState.RUNNING: frozenset(
        {
            RunState.QUEUED,
            RunState.SUCCEEDED,
            RunState.FAILED,
            RunState.TIMED_OUT,
            RunState.CANCELLED,
            RunState.LOST,
        }
    ),
    **{state: frozenset() for state in FINAL},
}
