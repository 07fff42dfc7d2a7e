"""A defect of ours in one place does not end the site: PID 1 tells it once and goes on."""

import sys
from pathlib import Path

import pytest

from tests.support import supervised
from tests.support.supervised import ROOT, Supervised, instance, python

BROKEN = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from whalefall.supervisor import main
from whalefall.supervisor.loop import AfterTurn, Loop

class Broken(AfterTurn):
    def __init__(self, loop): pass
    def turn_ended(self): raise ValueError("at the end")
    def time_has_come(self, now): raise ValueError("at the clock")
    def reaped(self, exited): raise ValueError("at a death")

def keep_dossier(self, action): raise ValueError("at a report")

main.Refusal, Loop._keep_dossier = Broken, keep_dossier
sys.exit(main.main())
"""


def test_what_breaks_in_each_turn_is_told_once_and_supervision_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text(BROKEN)
    monkeypatch.setattr(supervised, "supervisor", lambda: (sys.executable, str(tmp_path / "broken.py")))
    crasher = instance("crasher", python("import time; time.sleep(0.2)"), tmp_path)
    with Supervised(tmp_path, crasher) as running:
        running.until(lambda rows: rows and rows["crasher.1"]["restarts"] >= 2, "it has been restarted twice")
        assert running.stop() == 0
        for what in ("at the end", "at the clock", "at a death", "at a report"):
            assert running.output().count(f"raised ValueError: {what}") == 1
