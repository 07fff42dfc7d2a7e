"""Named steps on the way from "due" to "finished", told as they are reached.

In production nobody listens. The crash tests pass an object that ends the process at one of them, so that each step's
promise can be tested: whatever was not committed has not happened, whatever was committed is on record.
"""

from typing import Final, Protocol

STEPS: Final = (
    "fire.asked",  # before the transaction: whoever is here believes that it leads
    "due.read",  # inside the transaction: jobs due are known, nothing is written
    "fire.inserted",  # inside: the runs are inserted, the cursors stand where they were
    "fire.advanced",  # inside: the cursors have moved; not committed
    "fire.committed",  # the runs are on record as queued
    "claim.written",  # inside: the runs are ours; not committed
    "claim.committed",  # ours on record, nothing started
    "run.started",  # in the runner, before the job's first line
    "run.returned",  # the job has returned; its end is not on record
    "finish.written",  # inside the transaction that ends it
    "finish.committed",
)


class Checkpoints(Protocol):
    def reached(self, step: str) -> None:
        """A step of STEPS was reached, in the thread that calls."""


class NoCheckpoints:
    """Nobody listens."""

    def reached(self, step: str) -> None:
        """Nothing."""
