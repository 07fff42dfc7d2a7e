"""How our own modules are run."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(("mode", "said"), [("0", False), ("1", True)])
def test_the_supervisor_makes_text_of_bytes_as_the_planner_does(mode: str, said: bool) -> None:
    """`-I` ignores PYTHONUTF8; in a Latin-1 locale it would then hand over other bytes than it was given."""
    code = "import whalefall.planner.python as python; print(*python.supervisor()[1:-1])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONUTF8": mode, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == ("-I -S -X utf8=1\n" if said else "-I -S\n")
