"""Months in a minute: ten thousand restarts, a gigabyte of logs, and sixty seconds of nothing leave PID 1 as it was."""

import os
import threading
from pathlib import Path

import psutil
import pytest

from tests.support.supervised import Supervised, instance, python
from tests.support.waiting import wait_until
from whalefall.plan import Probe, RestartPolicy
from whalefall.supervisor.edge.output import REST_S

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

RESTARTS = 10_000
LOG_BYTES = 1_000_000_000
IDLE_S = 60.0
GROWTH_BYTES_MAX = (
    2_000_000  # of resident memory: what the allocator may keep; a leak of 200 bytes a restart is as much
)
WARM_UP = 1_000  # restarts after which every bounded memory is full
LIVE_PERIOD_S = 5.0
NAMES = ("a", "b", "c")

# 100-byte lines of a known number, as fast as the pipe takes them; then it stays.
WRITER = python(
    """
import os, sys, time
block = (b"x" * 99 + b"\\n") * 10_000
left = int(sys.argv[1])
while left > 0:
    rest = block
    while rest:
        rest = rest[os.write(1, rest):]
    left -= len(block)
print("all is said", flush=True)
time.sleep(3600)
"""
)
# Answers every connection with 200, on the socket that it inherits for its probe.
ANSWERER = python(
    """
import socket
server = socket.socket(fileno=3)
while True:
    connection, _ = server.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n")
"""
)
SLEEPER = python("import time; print('here', flush=True); time.sleep(3600)")


def to_nowhere(supervised: Supervised) -> Supervised:
    """Its output is read at once and kept by nobody."""
    with Path(os.devnull).open("wb") as nowhere:
        return supervised.start(stdout=nowhere.fileno())


def test_ten_thousand_restarts_leave_memory_and_descriptors_flat(tmp_path: Path) -> None:
    policy = RestartPolicy(first_s=0.0, max_s=0.0, crashes=10**9, early_crashes=10**9, window_s=2, early_window_s=2)
    brief = instance("brief", ("/bin/true",), tmp_path, restart=policy)
    supervised = Supervised(tmp_path, brief, instance("a", SLEEPER, tmp_path), crash_dir=str(tmp_path / "crashes"))
    with to_nowhere(supervised):

        def restarted(times: int) -> None:
            supervised.ask("start", "brief")
            total = supervised.rows()["brief.1"]["restarts"] + times
            supervised.until(lambda rows: rows["brief.1"]["restarts"] >= total, f"{times} restarts", 800)
            supervised.ask("stop", "brief")
            supervised.until(lambda rows: rows["brief.1"]["state"] == "stopped", "it is stopped")

        supervised.until(lambda rows: rows, "it runs")
        ours = psutil.Process(supervised.pid)
        restarted(WARM_UP)
        before, descriptors = ours.memory_info().rss, ours.num_fds()
        restarted(RESTARTS - WARM_UP)
        assert ours.memory_info().rss - before < GROWTH_BYTES_MAX
        wait_until(lambda: ours.num_fds() <= descriptors, "no more descriptors are open than before")
        assert supervised.stop() == 0


def test_a_gigabyte_of_logs_leaves_memory_and_descriptors_flat(tmp_path: Path) -> None:
    """With a log file, too: it is rotated about a hundred times."""
    writer = instance("w", (*WRITER, str(LOG_BYTES)), tmp_path)
    supervised = Supervised(tmp_path, writer, log_dir=str(tmp_path / "logs"))
    with to_nowhere(supervised):
        supervised.until(lambda rows: rows, "it runs")
        wait_until((tmp_path / "logs" / "w.1.log.1").exists, "the first megabytes are through", 60)
        ours = psutil.Process(supervised.pid)
        before, descriptors = ours.memory_info().rss, ours.num_fds()
        said = lambda: supervised.ask("logs", "w", lines=1)["lines"][-1][1] == "all is said"  # noqa: E731 - a name
        wait_until(said, "all is said", 600)
        assert ours.memory_info().rss - before < GROWTH_BYTES_MAX
        wait_until(lambda: ours.num_fds() <= descriptors, "no more descriptors are open than before")
        assert supervised.stop() == 0
    kept = sum(file.stat().st_size for file in (tmp_path / "logs").glob("w.1.log*"))
    assert kept < 70_000_000, "rotation bounds what is kept"


def switches(process: psutil.Process) -> int:
    """How often it has gone to sleep by itself and was woken: voluntary_ctxt_switches of proc(5)."""
    return int(process.num_ctx_switches().voluntary)


def asleep(process: psutil.Process) -> psutil.Process:
    """Its last lines are passed on: after those it rests once more, and looks once whether there are others."""

    def undisturbed() -> bool:
        before = switches(process)
        threading.Event().wait(5 * REST_S)
        return process.status() == psutil.STATUS_SLEEPING and switches(process) == before

    wait_until(undisturbed, "it sleeps")
    return process


def test_idle_for_a_minute_nothing_wakes_it_but_its_probes(tmp_path: Path) -> None:
    """Two supervisors in the same minute: one without probes and its guardian, one that asks three children."""
    for name in ("quiet", "asking"):
        (tmp_path / name).mkdir()
    live = Probe("http", period_s=LIVE_PERIOD_S, timeout_s=LIVE_PERIOD_S)
    asked = [instance(name, ANSWERER, tmp_path, ready=Probe("http"), live=live) for name in NAMES]
    quiet = Supervised(tmp_path / "quiet", *(instance(name, SLEEPER, tmp_path) for name in NAMES))
    with quiet, Supervised(tmp_path / "asking", *asked) as asking:
        wait_until(lambda: quiet.output().count("here") == len(NAMES), "all have said that they are there")
        asking.until_ready()
        ours, theirs = asleep(psutil.Process(quiet.pid)), asleep(psutil.Process(asking.pid))
        (guardian,) = [child for child in ours.children() if child.cmdline() == ours.cmdline()]
        before = [switches(each) for each in (ours, guardian, theirs)]
        threading.Event().wait(IDLE_S)  # the measurement itself
        woken = [switches(each) - was for each, was in zip((ours, guardian, theirs), before, strict=True)]
        questions = len(NAMES) * (IDLE_S / LIVE_PERIOD_S + 1)
        assert woken[:2] == [0, 0]
        assert woken[2] <= 4 * questions, "for each question its timer, the connection, the answer, its end"
        assert asking.stop() == quiet.stop() == 0
