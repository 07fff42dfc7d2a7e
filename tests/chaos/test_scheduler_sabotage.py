"""The tests can fail: with one of the protections taken out of a copy of the code, the suite must notice, and say what.

Each sabotage is one change in one file. If the line it changes is gone, so is this test's meaning, and it says so.
A test that fails because the change made nonsense of the code proves nothing: the words of the failure are compared.

The protections overlap on purpose: without the term check alone no storm doubles or loses an instant, for the fire key
and the cursor hold. So its judges are tests that see who has recorded: one leader stopped at the wrong moment, and a
storm in which a lock in Redis lets two believe that they lead.
"""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.supervised import ROOT

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(400)]

LEDGER = "whalefall/scheduler/ledger"
CONTRACT = "tests/contract/test_ledger.py"
CRASHES = "tests/integration/test_scheduler_crashes.py"
DEPOSED = "tests/integration/test_scheduler_deposed.py"
STORM = "tests/chaos/test_scheduler_storm.py::test_a_storm_doubles_nothing_and_loses_nothing"
REDIS_STORM = "tests/chaos/test_scheduler_storm.py::test_the_same_with_a_lock_in_redis_that_is_lost_again_and_again"


@dataclass(frozen=True)
class Sabotage:
    file: str
    line: str
    instead: str
    judge: str
    words: str  # of the judge's failure, as a regular expression


KEY = (f"{LEDGER}/fires.py", '"dedupe": "",', '"dedupe": new_run_id(now),  # every row is another key')
SWEEPER = (f"{LEDGER}/runs.py", "    swept = []\n    for row in", "    swept = []\n    for row in [] and")
TERM = (
    f"{LEDGER}/leases.py",
    """        lease.c.holder == bindparam("holder"),
        lease.c.term == bindparam("term"),
        lease.c.expires_at > clock(),
""",
    "",
)
SABOTAGES = {
    "the fire key": Sabotage(
        *KEY, f"{CONTRACT}::TestFires::test_an_instant_that_is_on_record_already_stays_single", r"assert 2 == 1"
    ),
    "the fire key, in the storm": Sabotage(*KEY, STORM, r"kind='doubled', detail='2 rows in the ledger'"),
    "the term check": Sabotage(
        *TERM, f"{CONTRACT}::TestFires::test_a_deposed_leader_records_nothing", r"DID NOT RAISE .*Deposed"
    ),
    "the term check, for one whose lease ran out": Sabotage(
        *TERM, f"{CONTRACT}::TestFires::test_a_leader_whose_lease_ran_out_records_nothing", r"DID NOT RAISE .*Deposed"
    ),
    "the term check, for one that was stopped before it recorded": Sabotage(
        *TERM, DEPOSED, r"assert \(\d+, \d+\) == \(\d+, \d+\)"
    ),
    "the term check, in the storm": Sabotage(*TERM, REDIS_STORM, r"recorded by one whom another had followed"),
    "the sweeper": Sabotage(  # of a host that nobody can look at
        *SWEEPER, f"{CONTRACT}::TestSweeper::test_a_silent_run_is_lost", r"assert \[\] == \[\(.*'lost'"
    ),
    "the sweeper, in the storm": Sabotage(
        *SWEEPER, STORM, r"in vain until one scheduler has settled what the storm left"
    ),
    "the row of a run": Sabotage(
        f"{LEDGER}/fires.py",
        "    insert_runs(connection, rows)\n",
        "",
        f"{CRASHES}::test_a_kill_loses_nothing_and_doubles_nothing[sqlite-fire.committed]",
        r"kind='missing', detail='no row in the ledger'",
    ),
    "the fence of a finish": Sabotage(
        f"{LEDGER}/runs.py",
        """                run.c.run_id == _ENDED.c.key,
                run.c.attempt == ending.attempt,
                run.c.claimed_by == holder,
""",
        "                run.c.run_id == _ENDED.c.key,\n",
        f"{CONTRACT}::TestClaims::test_an_ending_by_anyone_else_is_dropped",
        r"assert \['[0-9a-f-]+(\.\.\.[0-9a-f]+)?'\] == \[\]",
    ),
}


@pytest.mark.parametrize("what", SABOTAGES)
def test_without_it_a_test_fails(what: str, tmp_path: Path) -> None:
    sabotage = SABOTAGES[what]
    copy = tmp_path / "copy"
    for name in ("whalefall", "tests", "nginx", "pyproject.toml"):
        source = ROOT / name
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, copy / name, ignore=ignore) if source.is_dir() else shutil.copy(source, copy / name)
    if sabotage.judge not in (STORM, REDIS_STORM):  # which are run untouched beside this test
        sound = run(copy, sabotage.judge)
        assert sound.returncode == 0, f"the test of {what} passes as long as it is there\n{sound.stdout}"
    file = copy / sabotage.file
    text = file.read_text()
    assert text.count(sabotage.line) == 1, f"{sabotage.file} no longer has the line of {what}"
    file.write_text(text.replace(sabotage.line, sabotage.instead))
    judged = run(copy, sabotage.judge)
    assert judged.returncode == 1, f"nothing noticed that {what} was gone\n{judged.stdout}"
    said = [line for line in judged.stdout.splitlines() if line.startswith("E ")]
    assert any(re.search(sabotage.words, line) for line in said), (
        f"another failure than that of {what}:\n{judged.stdout}"
    )


def run(copy: Path, judge: str) -> "subprocess.CompletedProcess[str]":
    """Exit code 0: all passed; 1: some failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=short", "-vv", "-p", "no:cacheprovider", judge]
    environment = {**os.environ, "PYTHONPATH": str(copy), "WHALEFALL_CHAOS_SEED": "1"}
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=280, check=False)
