"""`whalefall jobs` and `whalefall ledger` from a shell, against the ledger that a scheduler has used."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import ended, make_app, running
from tests.support.ledgers import age, bring_in, declared, lead, opened, rewind
from tests.support.supervised import ROOT
from whalefall import Scheduler
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.schema import run


@pytest.fixture
def shell(sqlite_url: str, tmp_path: Path):
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "DATABASE_URL": sqlite_url,
        "RUN_DIR": str(tmp_path / "run"), "DATA_DIR": str(tmp_path / "data"),
    }  # fmt: skip

    def run(*words: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "whalefall", *words]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, (done.stdout + done.stderr).strip()

    return run


@pytest.fixture
def _used(sqlite_url: str) -> None:
    scheduler = Scheduler()
    scheduler.task("cron", id="note", month=1, day=1)(jobs.note)
    scheduler.task("cron", id="fail", month=1, day=1)(jobs.fail)
    with running(make_app(sqlite_url, scheduler)) as state:
        ended(state, state.admin.run_now("fail", actor="ada"))


@pytest.mark.usefixtures("_used")
def test_jobs(shell) -> None:
    code, text = shell("jobs", "list")
    assert code == 0, text
    table, _, who_leads = text.partition("\n\n")
    assert [line.split()[0] for line in table.splitlines()] == ["ID", "fail", "note"]
    assert who_leads.startswith("nobody leads (no scheduler leads since ")
    code, run_id = shell("jobs", "run", "note", "--args", '{"x": 1}', "--reason", "to see", "--dedupe", "once")
    assert (code, shell("jobs", "run", "note", "--args", '{"x": 1}', "--dedupe", "once")) == (0, (0, run_id))
    assert "queued" in shell("jobs", "history", "note")[1]
    assert "ValueError: the shelf is empty" in shell("jobs", "history", "--state", "failed")[1]
    assert shell("jobs", "pause", "note", "--reason", "holidays", "--until", "2099-01-01")[0] == 0
    assert "holidays" in shell("jobs", "show", "note")[1]
    assert shell("jobs", "resume", "note")[0] == 0
    assert "at 00:00, on the 1. of the month, in January" in shell("jobs", "why", "note", "2034-02-03")[1]


@pytest.mark.usefixtures("_used")
def test_ledger(shell, tmp_path: Path) -> None:
    code, text = shell("ledger", "verify")
    assert code == 0
    assert text.endswith("each is on record exactly once.")
    assert shell("ledger", "fast-forward")[1].startswith("0 jobs moved")
    assert shell("ledger", "vacuum")[1] == "0 runs forgotten; the ledger is compact."
    code, text = shell("ledger", "import", f"sqlite:///{tmp_path}/other.db")
    assert (code, "no table 'apscheduler_jobs'" in text) == (2, True)


@pytest.fixture
def holed(sqlite_url: str) -> datetime:
    """A ledger of an hour of minutes, one of whose rows is gone. Answers that instant."""
    with opened(sqlite_url) as ledger:
        bring_in(ledger, declared("tidy", keep_runs=10, catch_up="all", overlap="allow"))
        age(ledger, "tidy", timedelta(hours=1))
        ledger.record_fires(lead(ledger), ledger.now(), 100)
        ledger.give_lease_back(lead(ledger))
        victim = ledger.page(Wanted(job_id="tidy"))[7]
        with ledger.writing() as connection:
            connection.execute(run.delete().where(run.c.run_id == victim.run_id))
        return victim.scheduled_at


def test_a_hole_in_the_ledger_is_exit_1_with_the_list(shell, holed: datetime) -> None:
    since, until = holed - timedelta(minutes=2), holed + timedelta(minutes=2)
    code, text = shell("ledger", "verify", "--from", since.isoformat(), "--to", until.isoformat())
    assert code == 1
    lines = text.splitlines()
    assert lines[0] == f"tidy {holed:%Y-%m-%d %H:%M:%S} UTC: missing, no row in the ledger"
    assert lines[1].startswith("5 instants of 1 jobs from ")
    assert lines[1].endswith(": 1 do not agree.")
    after = holed + timedelta(seconds=1)
    code, text = shell("ledger", "verify", "--from", after.isoformat(), "--to", until.isoformat(), "--job", "tidy")
    assert (code, text.rpartition(": ")[2]) == (0, "each is on record exactly once.")
    assert shell("ledger", "verify", "--from", until.isoformat(), "--to", since.isoformat())[0] == 2


def test_after_a_backup_nothing_is_caught_up(shell, sqlite_url: str, holed: datetime) -> None:
    with opened(sqlite_url) as ledger:
        rewind(ledger, "tidy", timedelta(hours=5))  # an old cursor, as a backup of this morning has it
        assert shell("ledger", "fast-forward") == (
            0, "tidy\n1 jobs moved to now; what was passed over is on record as skipped."
        )  # fmt: skip
        cursor = ledger.job("tidy").next_fire_at
        assert cursor is not None
        assert cursor > ledger.now()
        assert ledger.record_fires(lead(ledger), ledger.now(), 100).queued == 0
        skipped = ledger.page(Wanted(job_id="tidy", state="skipped_edited", limit=1))
        assert "passed over by a fast-forward of " in skipped[0].reason


def test_vacuum_forgets_and_gives_the_space_back(shell, sqlite_url: str, holed: datetime) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    with opened(sqlite_url) as ledger, ledger.writing() as connection:
        connection.execute(run.update().values(state="succeeded", output="x" * 100_000))
        connection.execute(text("UPDATE wf_run SET scheduled_at = datetime(scheduled_at, '-3 days') || '.000000'"))
    before = path.stat().st_size
    code, told = shell("ledger", "vacuum")
    assert (code, told) == (0, "49 runs forgotten; the ledger is compact.")
    assert path.stat().st_size < before / 2


def test_words_too_many_or_too_few(shell) -> None:
    for words in (
        ["jobs", "show"],
        ["jobs", "list", "x"],
        ["jobs", "why", "x"],
        ["ledger", "import"],
        ["ledger", "verify", "x"],
    ):
        code, text = shell(*words)
        assert code == 2, text
        assert text.startswith("whalefall: write `")
    code, text = shell("jobs", "show", "nothing")
    assert (code, text) == (1, "whalefall: There is no job 'nothing'.")
