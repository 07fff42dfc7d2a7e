"""How our own modules are run."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("mode", ["0", "1"])
def test_the_supervisor_makes_text_of_bytes_as_the_planner_does(mode: str) -> None:
    """`-I` ignores PYTHONUTF8; with another mode it would hand over other bytes than it was given."""
    code = "import os, whalefall.planner.python as p; os.execv(sys.executable, [*p.supervisor()[:-1], '-c', show])"
    show = "import sys; print(sys.flags.utf8_mode, sys.flags.isolated, sys.flags.no_site)"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; show = {show!r}; {code}"],
        env={"PYTHONUTF8": mode, "LC_ALL": "C", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == f"{mode} 1 1\n"
