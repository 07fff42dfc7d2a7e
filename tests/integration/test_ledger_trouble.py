"""The ledger's database is in trouble: the log says which, and jobs fire again by themselves when it is over.

What a site shows meanwhile is not asked here: these schedulers run in the test's own process, without `serve`.
"""

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration import scheduled_jobs as jobs
from tests.support.flaskapp import make_app, running
from tests.support.waiting import wait_until
from whalefall import Scheduler

_LONGER_THAN_A_BUSY_TIMEOUT_S = 60.0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "none", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def _survives(
    file: Path, trouble: Callable[[], Callable[[], None]], told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`trouble` makes it and answers what ends it; `told` is said meanwhile."""
    jobs.seen.clear()
    scheduler = Scheduler()
    scheduler.task("interval", id="tick", seconds=1)(jobs.what_is_the_run)
    app = make_app(f"sqlite:///{file}", scheduler)
    with running(app) as state:
        wait_until(lambda: jobs.seen, "it fires", _LONGER_THAN_A_BUSY_TIMEOUT_S)
        mend = trouble()
        wait_until(lambda: not state.admin.health().healthy, "the scheduler is unwell", _LONGER_THAN_A_BUSY_TIMEOUT_S)
        wait_until(lambda: told in caplog.text, "the cause is told", _LONGER_THAN_A_BUSY_TIMEOUT_S, lambda: caplog.text)
        mend()
        before = len(jobs.seen)
        wait_until(lambda: len(jobs.seen) > before, "it fires again", _LONGER_THAN_A_BUSY_TIMEOUT_S)


def test_a_file_locked_by_another_is_told_and_jobs_fire_again_once_it_is_free(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ledger.db"

    def lock() -> Callable[[], None]:
        other = sqlite3.connect(file, isolation_level=None, timeout=30)
        other.execute("BEGIN EXCLUSIVE")
        return other.close

    _survives(file, lock, "holds the SQLite file's write lock", caplog)


def test_a_full_disk_is_told_and_jobs_fire_again_once_there_is_space(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fill() -> Callable[[], None]:
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(os.urandom(4096)):
                    pass
            except OSError:
                return ballast.unlink
        raise AssertionError("the disk is not full")

    _survives(small_disk / "ledger.db", fill, "the disk is full", caplog)
