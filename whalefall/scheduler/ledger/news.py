"""What a transaction does to runs, gathered while it goes on, told once it is committed: metrics are made of this.

Whatever records or ends a run says so here, so that nobody has to know all the ways there are: fires, endings, sweeps,
cancels, edits, a job's own transaction, in whichever process. Of what was rolled back nothing is told.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from whalefall.scheduler.core.fires import NEWER_RAN
from whalefall.scheduler.core.runs import FINAL, RunState

_KEY = "whalefall_news"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Instants of a job's schedule are on record: queued, or skipped for good."""

    job_id: str
    state: RunState
    count: int
    reason: str = ""

    @property
    def is_miss(self) -> bool:
        """Too late to run, and nothing newer ran in its place."""
        return self.state is RunState.SKIPPED_LATE and self.reason != NEWER_RAN


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt is over, or a run that never began. The run is in `state`: final, or queued again."""

    job_id: str
    state: RunState
    source: str
    late_s: float | None = None  # of a first attempt: from the nominal instant to the start
    took_s: float | None = None  # of the last one; None where nobody knows when it ended


News = Recorded | Ended


@contextmanager
def gathering(connection: Connection) -> Iterator[list[News]]:
    """For the length of a transaction; the list is to be read after its commit."""
    gathered: list[News] = []
    info = connection.info  # of a connection that was lost meanwhile it could not be asked for
    info[_KEY] = gathered
    try:
        yield gathered
    finally:
        info.pop(_KEY, None)


def are_gathered(connection: Connection) -> bool:
    """Does anybody want to hear what this transaction does?"""
    return _KEY in connection.info


def note(connection: Connection, news: Iterable[News]) -> None:
    """Of a transaction that nobody gathers from, nothing is kept."""
    gathered = connection.info.get(_KEY)
    if gathered is not None:
        gathered.extend(news)


def ended(row: Any, state: RunState, attempt: int) -> Ended:
    """An ending as the ledger has it. A lost run ended when it was missed, which says nothing of how long it took."""
    late_s = took_s = None
    if row.started_at is not None and attempt == 1:
        late_s = (row.started_at - row.scheduled_at).total_seconds()
    if row.started_at is not None and state in FINAL and state is not RunState.LOST:
        took_s = (row.finished_at - row.started_at).total_seconds()
    return Ended(row.job_id, state, row.source, late_s, took_s)
