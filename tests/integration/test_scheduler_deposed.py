"""A leader that is stopped between asking itself whether it leads and its transaction, and wakes up when another leads.

Its own clock cannot save it: it has looked already. Only the term, proved inside the transaction, can. The new leader
is held at the same place, so that all that is due is still to be had.

On PostgreSQL: a process that is stopped while one of its threads writes in an SQLite file keeps the lock on it, and
nobody leads until it wakes. Here the server ends what such a thread has begun.
"""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration import scheduled_jobs as jobs
from tests.integration.test_scheduler_doubt import HangAt
from tests.support.crashing import spawn
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import make_app, running
from tests.support.ledgers import rows
from tests.support.waiting import wait_until
from whalefall import Scheduler
from whalefall import scheduler as scheduling
from whalefall.scheduler.verify import verify

STEP = "fire.asked"


class StopAt:
    """Stops this process, once, the next time that it is about to record, after `flag` exists."""

    def __init__(self, flag: Path) -> None:
        self._flag, self._done = flag, False

    def reached(self, step: str) -> None:
        if step == STEP and not self._done and self._flag.exists():
            self._done = True
            # To this very thread: of a signal to the process another one may take notice, while this one goes on.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def ticking(record: str) -> Scheduler:
    scheduler = Scheduler()
    scheduler.task("interval", id="tick", seconds=1, catch_up="all", overlap="allow", args=[record])(jobs.append)
    return scheduler


def live(url: str, place: str) -> None:
    log = logging.getLogger("whalefall")
    log.addHandler(logging.FileHandler(Path(place) / "log"))
    log.setLevel(logging.INFO)
    state = scheduling.of(make_app(url, ticking(f"{place}/record")))
    state.checkpoints = StopAt(Path(place) / "flag")
    state.start()
    while True:
        signal.pause()


@pytest.fixture
def first(postgres_url: str, tmp_path: Path) -> Iterator[int]:
    """The process that leads first."""
    process = spawn(live, postgres_url, str(tmp_path))
    assert process.pid is not None
    yield process.pid
    process.kill()
    process.join(10)


def test_a_leader_that_was_stopped_before_it_recorded_records_and_starts_nothing_when_it_wakes(
    first: int, postgres_url: str, tmp_path: Path
) -> None:
    log, record = tmp_path / "log", tmp_path / "record"
    app = make_app(postgres_url, ticking(str(record)))
    state, hang = scheduling.of(app), HangAt(STEP)
    state.checkpoints = hang

    def done_by_the_first() -> tuple[int, int]:
        """Recorded by it, and started by it."""
        started = record.read_text().splitlines() if record.exists() else []
        return recorded_by(f"/{first}/"), sum(line.endswith(f" {first}") for line in started)

    def recorded_by(holder: str) -> int:
        return sum(holder in fired_by for (fired_by,) in rows(state.ledger, "SELECT fired_by FROM wf_run"))

    wait_until(lambda: all(done_by_the_first()), "the first leads, and fires", 30)
    with running(app):
        (tmp_path / "flag").touch()
        wait_until(lambda: psutil.Process(first).status() == psutil.STATUS_STOPPED, "the first is stopped")
        assert hang.hangs.wait(30), "the second leads by now, and is about to record"
        assert state.ledger.backlog(0.0), "something is due"
        before = done_by_the_first()
        os.kill(first, signal.SIGCONT)
        wait_until(
            lambda: "no longer leads with term" in log.read_text() or done_by_the_first() > before,
            "the first has tried",
            explain=log.read_text,
        )
        assert done_by_the_first() == before, "what another leads for"
        hang.go_on.set()
        assert state.runtime is not None
        holder = state.runtime.holder
        wait_until(lambda: recorded_by(holder) >= 2, "the second records it")
        now = state.ledger.now()
        assert verify(state.ledger, now.replace(year=now.year - 1), now).problems == ()
