"""RUNS IT: threads, processes, Celery, behind one protocol. An executor starts what has been claimed for it."""

from typing import Protocol

from whalefall.scheduler.ledger.records import ClaimedRun, WaitingRun


class Executor(Protocol):
    """One way to run jobs. `start` returns at once; how the run ended goes to the scribe."""

    name: str

    def free(self) -> int:
        """How many runs could start now."""

    def start(self, claimed: ClaimedRun) -> None:
        """Begins the run."""

    def cancel(self, run_id: str) -> None:
        """Asks a run to end. The run's context knows already; this is for those that can be killed."""

    def close(self) -> None:
        """No further starts. Does not wait."""

    def wait_for_ended(self, timeout_s: float) -> None:
        """Until the runs that were fenced off and can be killed are gone."""


class Courier(Protocol):
    """A way to have runs claimed elsewhere: it only brings their names."""

    name: str

    def send(self, waiting: WaitingRun) -> None:
        """Whatever it raises, the run stays queued, and is sent again."""
