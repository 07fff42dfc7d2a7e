"""`whalefall jobs` and `whalefall ledger` from a shell, against the ledger that a scheduler has used."""

import json
import os
import re
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
    code, told = shell("jobs", "run", "note", "--args", '{"x": 1}', "--reason", "to see", "--dedupe", "once")
    assert (code, shell("jobs", "run", "note", "--args", '{"x": 1}', "--dedupe", "once")) == (0, (0, told))
    begun, follow = told.splitlines()
    assert begun.startswith("run ")
    assert " of note is waiting for a scheduler, and none runs (no scheduler leads since " in begun
    assert begun.endswith(" UTC). Start one: whalefall serve")
    assert follow.startswith("follow it: whalefall jobs show ")
    code, shown = shell(*follow.removeprefix("follow it: whalefall ").split())
    assert (code, "reason     to see" in shown, 'arguments  {"x": 1}' in shown) == (0, True, True)
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
    for words in (["jobs", "show"], ["jobs", "list", "x"], ["ledger", "import"], ["ledger", "verify", "x"]):
        code, text = shell(*words)
        assert code == 2, text
        assert text.endswith(f"See: whalefall {words[0]} {words[1]} --help")
    code, text = shell("jobs")
    assert (code, text.splitlines()[0]) == (2, "whalefall: a verb is missing. See: whalefall jobs VERB --help")


@pytest.mark.usefixtures("_used")
@pytest.mark.parametrize(
    "words",
    [
        ["show", "{}"],
        ["run", "{}"],
        ["run", "{}", "--wait"],
        ["pause", "{}"],
        ["resume", "{}"],
        ["history", "{}"],
        ["history", "{}", "--json"],
        ["why", "{}"],
        ["why", "{}", "2026-01-01"],
    ],
    ids=" ".join,
)
def test_a_job_that_there_is_not_is_an_error_with_the_nearest(shell, words: list[str]) -> None:
    code, text = shell("jobs", *(word.format("noet") for word in words))
    assert (code, text) == (1, "whalefall: There is no job 'noet'. Did you mean 'note'?")


@pytest.mark.usefixtures("_used")
def test_a_job_like_no_other_and_one_of_verify(shell) -> None:
    assert shell("jobs", "history", "xyzzy") == (1, "whalefall: There is no job 'xyzzy'. See: whalefall jobs list")
    assert shell("ledger", "verify", "--job", "fial")[1].endswith("There is no job 'fial'. Did you mean 'fail'?")
    assert shell("jobs", "history", "note") == (0, "There are no runs.")
    code, text = shell("jobs", "history", "--state", "faild")
    assert (code, text) == (2, "whalefall: There is no state 'faild'. Did you mean 'failed'?")


@pytest.mark.usefixtures("_used")
def test_each_time_that_history_prints_is_one_that_why_takes(shell) -> None:
    _, row = shell("jobs", "history", "fail")[1].splitlines()
    day, clock, job_id, state, *_ = row.split()
    for when in ([day, clock], [f"{day} {clock}"], [day, clock, "UTC"], [f"{day}T{clock}Z"], []):
        code, text = shell("jobs", "why", job_id, *when)
        assert code == 0, text
        assert f": {state}, run " in text.splitlines()[0]
        assert text.startswith(f"{day} {clock}")
    code, text = shell("jobs", "why", job_id, "soon")
    assert code == 2
    example = re.search(r"write it like '([^']*)'", text)
    assert example is not None
    assert shell("jobs", "why", job_id, example[1])[0] == 0


def test_a_run_that_is_waited_for_tells_its_outcome_by_the_exit_code(shell, sqlite_url: str) -> None:
    scheduler = Scheduler()
    scheduler.task("cron", id="talk", month=1, day=1)(jobs.talk)
    scheduler.task("cron", id="fail", month=1, day=1)(jobs.fail)
    with running(make_app(sqlite_url, scheduler)):
        code, text = shell("jobs", "run", "talk", "--wait")
        assert code == 0, text
        begun, *said, ended = text.splitlines()
        assert begun.endswith((" of talk is waiting", " of talk is running"))
        assert said[0] == "hello from the job"
        assert re.fullmatch(r"run \S+ of talk succeeded after [\d.]+ s", ended)
        code, text = shell("jobs", "run", "fail", "--wait")
        assert (code, text.splitlines()[-1].partition(" s: ")[2]) == (1, "ValueError: the shelf is empty")
        assert ", in fail\n" in text, "its traceback, with the line"
        code, text = shell("jobs", "run", "fail", "--wait", "--json")
        assert (code, json.loads(text)["state"]) == (1, "failed")
