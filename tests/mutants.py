"""Break the engine on purpose, one change at a time, and see that the tests notice: `make mutants`.

Each mutant is a change that a tired person could make. One that survives means that no invariant and no playbook says
what it broke. The changes are made in a copy of the checkout, never in it.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
CORE = "whalefall/supervisor/core"

# (what it breaks, file, what stands there, what stands there instead)
MUTANTS = [
    ("no SIGKILL after the grace period", "lifecycle.py", "return [Report(text, name, \"warning\"), *self.kill(self.ending, now)]", "return [Report(text, name, \"warning\")]"),
    ("a stop without a deadline", "lifecycle.py", "self._enter(Phase.STOPPING, now, self._quick_at(now + self.instance.stop.grace_s))", "self._enter(Phase.STOPPING, now, None)"),
    ("any child's exit is the leader's", "lifecycle.py", "case Phase.STARTING | Phase.READY, Exited(pid=pid) if pid == self.pid:", "case Phase.STARTING | Phase.READY, Exited():"),
    ("a stranger's exit ends a stop", "lifecycle.py", "case Phase.STOPPING, Exited(pid=pid) if pid == self.pid:", "case Phase.STOPPING, Exited():"),
    ("a new life before the old tree is empty", "handover.py", "self.current.phase in (Phase.DRAINING, Phase.GONE)", "self.current.phase in (Phase.DRAINING, Phase.CLEARING, Phase.GONE)"),
    ("a stop forgets the wish", "handover.py", "    def stop(self, now: float) -> list[Action]:\n        self.wanted = False\n", "    def stop(self, now: float) -> list[Action]:\n"),
    ("the early budget is off by one", "restarts.py", "len(self.early) >= policy.early_crashes", "len(self.early) > policy.early_crashes"),
    ("the long budget is ignored", "restarts.py", " or len(self.all) >= policy.crashes", ""),
    ("the first restart waits", "restarts.py", "if self.streak == 1:\n            return 0.0", "if self.streak == 0:\n            return 0.0"),
    ("backoff is never forgotten", "restarts.py", "            self.streak = 0\n        self.streak += 1", "            pass\n        self.streak += 1"),
    ("nginx starts before web is ready", "engine.py", "return all(slot.state in good for slot in slots)", "return True"),
    ("everything stops at once", "engine.py", "if slot.instance.service not in needed:", "if True:"),
    ("giving up is not told to the others", "engine.py", "slot.instance.restart.on_give_up == \"exit\" and self.course in (Course.RUNNING, Course.LEAVING)", "False"),
    ("the failed service's code is lost", "engine.py", "self.exit_code = slot.exit_code", "self.exit_code = 0"),
    ("a second stop is a first one", "engine.py", "            case Course.LEAVING:\n", "            case Course.LEAVING | Course.STOPPING:\n"),
    ("the drain delay is skipped", "engine.py", "case Course.RUNNING if self.drain_delay_s and", "case Course.RUNNING if False and"),
    ("nothing is mended while leaving", "engine.py", "        if self.course in (Course.STOPPING, Course.ENDED):\n            return []\n", "        if self.stopping:\n            return []\n"),
    ("exits while something is alive", "engine.py", "[slot for slot in self.standing if not slot.down]", "[slot for slot in self.standing if slot.current is not None]"),
    ("a hung service is never restarted", "lifecycle.py", "if self.probe_failures < live.failures:", "if self.probe_failures < 10_000:"),
    ("the watchdog is ignored", "lifecycle.py", "if self.watchdog_at is not None and now >= self.watchdog_at:", "if False:"),
    ("two workers are recycled at once", "memory.py", "if self.leaving is not None or now < self.quiet_until:", "if now < self.quiet_until:"),
    ("a successor has no time to settle", "memory.py", "self.leaving, self.quiet_until = None, now + self.limit.settle_s", "self.leaving = None"),
    ("one large request is a leak", "memory.py", "max(before & self.fat,", "max(self.fat,"),
    ("one missed probe restarts", "lifecycle.py", "if self.probe_failures < live.failures:", "if self.probe_failures < 1:"),
    ("a bad new generation replaces the good old one", "handover.py", "if incoming.phase is Phase.READY:", "if True:"),
    ("a held lock counts as a crash", "handover.py", "if life.held_by and self.wanted:", "if False:"),
    ("a change of the Plan touches everything", "engine.py", "elif slot.instance != instance:", "elif name in known:"),
    ("survivors have for ever when all stops", "engine.py", "            slot.hurry(now)  # again each time: a leader may die by itself while others are still stopping\n", ""),
    ("a degraded service is never tried again", "handover.py", "now + policy.degraded_retry_s if again else None", "None"),
]  # fmt: skip


def main() -> int:
    survivors = []
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / "whalefall"
        ignore = shutil.ignore_patterns(
            ".git", ".venv", "build", "dist", "var", ".*_cache", ".hypothesis", "__pycache__"
        )
        shutil.copytree(ROOT, copy, ignore=ignore)
        if not _passes(copy):
            print("the tests fail without any mutant; mend that first")
            return 1
        for what, file, before, after in MUTANTS:
            path = copy / CORE / file
            good = path.read_text()
            if before not in good:
                print(f"OUTDATED  {what}: {file} no longer holds {before!r}")
                survivors.append(what)
                continue
            path.write_text(good.replace(before, after, 1))
            caught = not _passes(copy)
            path.write_text(good)
            print(f"{'caught   ' if caught else 'SURVIVED '} {what}", flush=True)
            if not caught:
                survivors.append(what)
    print(f"{len(MUTANTS) - len(survivors)} of {len(MUTANTS)} caught")
    return 1 if survivors else 0


def _passes(copy: Path) -> bool:
    environment = {**os.environ, "WHALEFALL_HISTORIES": "2000", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(copy)}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/unit/supervisor"]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
