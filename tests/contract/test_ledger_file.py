"""The SQLite file under the ledger: replaced by a backup, gone for a while, or not to be written."""

import sqlite3
from pathlib import Path

import pytest

from tests.support.ledgers import bring_in, declared, opened, rows
from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.ledger.engine import make_engine
from whalefall.scheduler.ledger.troubles import refuse_unwritable


def test_a_backup_put_in_the_files_place_is_what_is_read_and_written_from_then_on(tmp_path: Path) -> None:
    file, backup = tmp_path / "ledger.db", tmp_path / "backup.db"
    with opened(f"sqlite:///{file}") as ledger:
        bring_in(ledger, declared("before"))
        with sqlite3.connect(file) as here, sqlite3.connect(backup) as there:
            here.backup(there)
        here.close()
        there.close()
        bring_in(ledger, declared("before"), declared("after"))
        for name in ("ledger.db-wal", "ledger.db-shm"):
            (tmp_path / name).unlink()
        backup.replace(file)
        assert [record.job_id for record in ledger.jobs()] == ["before"]
        bring_in(ledger, declared("before"), declared("later"))
    with opened(f"sqlite:///{file}") as again:
        assert [record.job_id for record in again.jobs()] == ["before", "later"]


def test_an_older_backup_is_brought_up_to_date(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with opened(f"sqlite:///{file}") as ledger:
        bring_in(ledger, declared("before"))
        fresh = tmp_path / "fresh.db"
        sqlite3.connect(fresh).close()
        fresh.touch()
        for name in ("ledger.db-wal", "ledger.db-shm"):
            (tmp_path / name).unlink()
        fresh.replace(file)
        assert ledger.jobs() == []


def test_a_file_that_is_gone_is_told_and_not_made_anew(tmp_path: Path) -> None:
    disk, elsewhere = tmp_path / "disk", tmp_path / "elsewhere"
    disk.mkdir()
    with opened(f"sqlite:///{disk}/ledger.db") as ledger:
        bring_in(ledger, declared("before"))
        disk.rename(elsewhere)  # as when it is not mounted
        disk.mkdir()
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match="gone; mount its disk, or restore it"):
                ledger.jobs()
        assert list(disk.iterdir()) == []
        disk.rmdir()
        elsewhere.rename(disk)
        assert [record.job_id for record in ledger.jobs()] == ["before"]


def test_whether_a_file_can_be_written_is_asked_without_leaving_a_trace(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    with opened(f"sqlite:///{file}") as ledger:
        bring_in(ledger, declared("before"))
        before = rows(ledger, "SELECT * FROM wf_job")
        ledger.refuse_unwritable()
        assert rows(ledger, "SELECT * FROM wf_job") == before
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="write lock for too long; end it"):
            ledger.refuse_unwritable()
        other.close()
        ledger.refuse_unwritable()
        [[patience_ms]] = rows(ledger, "PRAGMA busy_timeout")
        assert patience_ms == 10_000


def test_a_ledger_that_nobody_has_made_can_be_asked_too(tmp_path: Path) -> None:
    engine = make_engine(f"sqlite:///{tmp_path}/ledger.db")
    refuse_unwritable(engine)
    engine.dispose()
