"""Every fault of the deck under steady load through Nginx, in an order that the seed decides. Asserted from outside.

`WHALEFALL_CHAOS_S` plays further decks until so many seconds have passed, `WHALEFALL_CHAOS_SEED` repeats an order.
"""

import contextlib
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.chaos import matrix
from tests.chaos.faults import APP, CHATTER, OPTIONS, PROCFILE, WORKERS, Fault, Faults, small_disk
from tests.chaos.matrix import Played
from tests.support.deployment import Deployment
from tests.support.load import Asked, Load
from tests.support.supervised import alive
from tests.support.tap import Tap
from tests.support.waiting import wait_until

SECONDS = float(os.environ.get("WHALEFALL_CHAOS_S", "0"))
SEED = int(os.environ.get("WHALEFALL_CHAOS_SEED") or random.SystemRandom().randrange(1_000_000))
PATHS = ("/slow", "/api/v1/health/basic", "/api/v1/scheduler/jobs", "/api/v1/health/basic", "/dashboard")
POSTS = ("/count", "/api/v1/scheduler/count")
NO_DISK = "The full log disk was not played: this user may not mount a file system."

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(SECONDS * 2 + 900)]


class Storm:
    """Plays one fault after the other and keeps what clients saw."""

    def __init__(self, deployment: Deployment, load: Load, faults: Faults) -> None:
        self.deployment, self.load, self.faults = deployment, load, faults
        self.played: list[Played] = []
        self.nginx_workers = len(faults.workers("nginx"))

    def blow(self, seconds: float) -> None:
        """Whole decks, each shuffled, until the time is over; one at least."""
        end = time.monotonic() + seconds
        while not self.played or time.monotonic() < end:
            deck = self.faults.deck()
            self.faults.rng.shuffle(deck)
            for fault in deck:
                try:
                    self._strike(fault)
                except BaseException as error:
                    error.add_note(
                        f"seed {SEED}, while: {fault.name}; before: {[each.fault.name for each in self.played]}"
                    )
                    raise

    def _strike(self, fault: Fault) -> None:
        seen, began = len(self.load.asked), time.monotonic()
        fault.play()
        wait_until(self._all_is_well, f"everything is ready again after {fault.name}", 120, self._explain)
        took_s = time.monotonic() - began
        self._let_every_client_finish(time.monotonic())
        asked = tuple(each for each in self.load.asked[seen:] if each.began <= began + took_s)
        self.played.append(Played(fault, took_s, asked))

    def _all_is_well(self) -> bool:
        rows = self.deployment.rows()
        if not rows or not all(row["state"] == "ready" and not row["replacing"] for row in rows.values()):
            return False
        wanted = {**WORKERS, "nginx": self.nginx_workers}
        return all(len(self.faults.workers(service)) >= count for service, count in wanted.items())

    def _let_every_client_finish(self, moment: float) -> None:
        """What was under way belongs to this fault."""
        clients = self.load.clients + len(self.load.posts)

        def all_have_asked_since() -> bool:
            return len({each.client for each in self.load.asked[-2000:] if each.began > moment}) == clients

        wait_until(all_have_asked_since, "every client has got an answer and asks again", 120, self._explain)

    def _explain(self) -> str:
        return f"{self.deployment.rows()}\n{self.deployment.story()}"


class Watch:
    """Looks all the time how many processes run a scheduler. The application itself looks at every start of one."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment, self.most = deployment, 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join(20)

    def _look(self) -> None:
        while not self.ended.wait(0.1):
            self.most = max(self.most, len(self.deployment.processes_that_schedule()))


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Path | None]:
    path = small_disk(tmp_path / "logs")
    yield path
    if path is not None:
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=20)


def test_no_client_notices_any_fault(tmp_path: Path, logs: Path | None, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (
        ("storm.py", APP.read_text()),
        ("Procfile", PROCFILE),
        ("chatter.py", CHATTER),
        ("pyproject.toml", OPTIONS),
        (".env", "STORM_MARK=0\n"),
    ):
        (tmp_path / name).write_text(text)
    deployment = Deployment(tmp_path, "storm:app", **({"LOG_DIR": str(logs)} if logs else {}))
    with contextlib.ExitStack() as stack:
        tap = stack.enter_context(Tap(deployment.log))
        stack.enter_context(deployment.start(tap.write))
        tap.close_ours()
        deployment.until_ready()
        load = Load(deployment.port, PATHS, posts=POSTS, timeout_s=60)
        storm = Storm(deployment, load, Faults(deployment, load, tap, random.Random(SEED), logs))
        with Watch(deployment) as watch, load:
            wait_until(lambda: load.answered > 50, "the load runs", explain=deployment.story)
            storm.blow(SECONDS)
        told = [f"seed {SEED}", *map(told_of, storm.played)]
        zombies = lambda: [each for each in deployment.tree() if each.status() == psutil.STATUS_ZOMBIE]  # noqa: E731
        wait_until(lambda: not zombies(), "no zombie is left", explain=lambda: f"{zombies()}")
        assert deployment.stop() == 0, told
    if os.environ.get("WHALEFALL_WRITE_MATRIX"):
        names = [fault.name for fault in storm.faults.deck()]
        head = f"seed {SEED}: {len(storm.played)} faults, {len(load.asked):,} requests"
        matrix.write(matrix.page(names, storm.played, head, "" if logs else NO_DISK))
    with capsys.disabled():
        sys.stdout.write("\n".join(["", *told, ""]))
    assert wrong(storm.played, load) == [], "\n".join(told)
    assert watch.most == 1, f"{watch.most} processes ran a scheduler at once\n{told}"
    violations = tmp_path / "violations"
    assert not violations.exists(), f"{violations.read_text()}\n{told}"
    assert not any(alive(pid) for pid in storm.faults.escaped()), told
    applied = Counter((tmp_path / "applied").read_text().splitlines())
    assert [token for token, times in applied.items() if times > 1] == [], "a POST was applied twice"
    assert [each.token for each in load.asked if each.token and not each.what and each.token not in applied] == []


def wrong(played: list[Played], load: Load) -> list[str]:
    """Each promise that was broken, in a sentence."""
    found = []
    for each in played:
        name, fault = each.fault.name, each.fault
        gets, posts = each.failed_by("GET"), each.failed_by("POST")
        if gets and not fault.cuts:
            found.append(f"{name}: {len(gets)} idempotent requests failed: {gets[:3]}")
        lost = len(load.posts) if fault.cuts else fault.kills
        if len(posts) > lost:
            found.append(f"{name}: {len(posts)} POSTs failed, {fault.kills} workers were killed: {posts[:3]}")
        if len(gets) > load.clients:
            found.append(f"{name}: {len(gets)} GETs failed, {load.clients} clients were there")
        if any(asked.refused for asked in each.seen):
            found.append(f"{name}: a connection was refused")
        if each.took_s > fault.within_s:
            found.append(f"{name}: ready again after {each.took_s:.1f} s, promised are {fault.within_s:g} s")
    counted = {id(asked) for each in played for asked in each.failed}
    found += [f"failed while nothing was done: {asked}" for asked in load.failures if id(asked) not in counted]
    return found


def told_of(played: Played) -> str:
    slowest: Asked | None = max(played.seen, key=lambda asked: asked.took_s, default=None)
    stall = f"{slowest.took_s:.1f} s {slowest.path}" if slowest else "nothing asked"
    return f"{played.took_s:5.1f} s  {played.fault.name}: {len(played.failed)} failed, slowest {stall}"
