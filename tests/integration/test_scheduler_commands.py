"""`whalefall jobs` and `whalefall ledger` from a shell, against the ledger that a scheduler has used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import ended, make_app, running
from tests.support.supervised import ROOT
from whalefall import Scheduler


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
    assert [line.split()[0] for line in text.splitlines()] == ["ID", "fail", "note"]
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
