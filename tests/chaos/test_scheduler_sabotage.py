"""The tests can fail: with one of the protections taken out of a copy of the code, the suite must notice.

Each sabotage is one change in one file. If the line it changes is gone, so is this test's meaning, and it says so.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.supervised import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

LEDGER = "whalefall/scheduler/ledger"
CONTRACT = "tests/contract/test_ledger.py"
CRASHES = "tests/integration/test_scheduler_crashes.py"
SABOTAGES = {
    "the fire key": (
        f"{LEDGER}/fires.py",
        '"dedupe": "",',
        '"dedupe": new_run_id(now),  # every row is another key',
        [f"{CONTRACT}::TestFires::test_an_instant_that_is_on_record_already_stays_single"],
    ),
    "the term check": (
        f"{LEDGER}/leases.py",
        "    if held is None:\n",
        "    if False:\n",
        [f"{CONTRACT}::TestFires::test_a_deposed_leader_records_nothing"],
    ),
    "the sweeper": (
        f"{LEDGER}/runs.py",
        "    swept = []\n    for row in",
        "    swept = []\n    for row in [] and",
        [f"{CONTRACT}::TestSweeper::test_a_silent_run_is_lost"],  # of a host that nobody can look at
    ),
    "the row of a run": (
        f"{LEDGER}/fires.py",
        "    insert_runs(connection, rows)\n",
        "",
        [f"{CRASHES}::test_a_kill_loses_nothing_and_doubles_nothing[sqlite-finish.committed]"],
    ),
    "the fence of a finish": (
        f"{LEDGER}/runs.py",
        "                    run.c.attempt == ending.attempt,\n                    run.c.claimed_by == holder,\n",
        "",
        [f"{CONTRACT}::TestClaims::test_an_ending_by_anyone_else_is_dropped"],
    ),
}


@pytest.mark.parametrize("what", SABOTAGES)
def test_without_it_a_test_fails(what: str, tmp_path: Path) -> None:
    file, line, instead, tests = SABOTAGES[what]
    copy = tmp_path / "copy"
    for name in ("whalefall", "tests", "nginx", "pyproject.toml"):
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy / name)
    assert run(copy, tests) == 0, f"the tests of {what} pass as long as it is there"
    text = (copy / file).read_text()
    assert text.count(line) == 1, f"{file} no longer has the line of {what}"
    (copy / file).write_text(text.replace(line, instead))
    assert run(copy, tests) == 1, f"nothing noticed that {what} was gone"


def run(copy: Path, tests: list[str]) -> int:
    """Pytest's exit code: 0 all passed, 1 some failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=250, check=False).returncode
