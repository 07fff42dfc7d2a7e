"""What PID 1 really loads: the modules of a real run, against a list that may only shrink."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.supervised import Supervised, instance, python

LISTED_FOR = (3, 11)
ALLOWED = Path(__file__).with_name("pid1_modules.txt")


def test_pid_1_loads_nothing_beyond_the_list(tmp_path: Path) -> None:
    crasher = instance("crasher", python("import time; time.sleep(0.3)"), tmp_path)
    supervised = Supervised(tmp_path, crasher)
    with supervised.start(python_options=("-X", "importtime")):
        supervised.until(lambda rows: rows and rows["crasher.1"]["restarts"] >= 1, "it has restarted something")
        supervised.ask("logs")
        assert supervised.stop() == 0
    found = _modules(supervised.output()) - _bare()
    allowed = {line for line in ALLOWED.read_text().splitlines() if line and not line.startswith("#")}
    if sys.version_info[:2] != LISTED_FOR:  # the same imports load other files of the standard library there
        found = {name for name in found if name.partition(".")[0] not in sys.stdlib_module_names}
        assert not found - allowed, f"PID 1 loads more than before: {sorted(found - allowed)}"
        return
    assert not found - allowed, f"PID 1 loads more than before: {sorted(found - allowed)}"
    assert not allowed - found - OPTIONAL, (
        f"no longer loaded, remove from the list: {sorted(allowed - found - OPTIONAL)}"
    )


def _modules(importtime: str) -> set[str]:
    return set(re.findall(r"import time:\s+\d+ \|\s+\d+ \|\s+(\S+)", importtime))


def _bare() -> set[str]:
    """What Python loads anyway; it differs between versions, and is not ours to shrink."""
    command = [sys.executable, "-X", "importtime", "-I", "-S", "-c", ""]
    return _modules(subprocess.run(command, capture_output=True, text=True, check=True).stderr)


# What other versions of CPython load instead; each with the reason.
OPTIONAL: set[str] = set()


def test_nothing_of_the_users_gets_into_pid_1(tmp_path: Path) -> None:
    """Tracers come by PYTHONPATH with a sitecustomize that starts threads; a project has a json.py of its own."""
    for name in ("sitecustomize", "usercustomize", "json", "enum", "whalefall"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('loaded by PID 1')\n")
    supervised = Supervised(tmp_path, instance("idle", ("/bin/sleep", "1000"), tmp_path))
    supervised.environ["PYTHONPATH"] = str(tmp_path)
    with supervised.start():
        supervised.until_ready("idle.1")
        assert supervised.stop() == 0
    assert "loaded by PID 1" not in supervised.output()
