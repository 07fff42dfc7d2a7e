"""What PID 1 really loads: the modules of a real run, against a list that may only shrink."""

import re
from pathlib import Path

from tests.support.supervised import Supervised, instance, python

ALLOWED = Path(__file__).with_name("pid1_modules.txt")


def test_pid_1_loads_nothing_beyond_the_list(tmp_path: Path) -> None:
    crasher = instance("crasher", python("import time; time.sleep(0.3)"), tmp_path)
    supervised = Supervised(tmp_path, crasher)
    with supervised.start(python_options=("-X", "importtime")):
        supervised.until(lambda rows: rows and rows["crasher.1"]["restarts"] >= 1, "it has restarted something")
        supervised.ask("logs")
        assert supervised.stop() == 0
    # Bootstrap modules of the interpreter and its site differ between versions and virtual environments.
    found = set(re.findall(r"import time:\s+\d+ \|\s+\d+ \|\s+(\S+)", supervised.output()))
    allowed = {line for line in ALLOWED.read_text().splitlines() if line and not line.startswith("#")}
    assert not found - allowed, f"PID 1 loads more than before: {sorted(found - allowed)}"
    assert not allowed - found - OPTIONAL, f"no longer loaded, remove from the list: {sorted(allowed - found - OPTIONAL)}"


# What other versions of CPython load instead; each with the reason.
OPTIONAL: set[str] = set()
