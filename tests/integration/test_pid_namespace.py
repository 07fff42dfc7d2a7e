"""As PID 1 of a pid namespace, as in a container: it reaps what it never started, and nothing survives it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.supervised import Supervised, alive, instance, orphans, python, read_when_written
from tests.support.waiting import wait_until
from whalefall.plan import StopPolicy

NAMESPACE = ("unshare", *(("--user", "--map-root-user") * (os.geteuid() != 0)), "--pid", "--fork", "--mount-proc")


def refused() -> str:
    """Why this user gets no pid namespace here; "" when it does."""
    try:
        tried = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True, timeout=20, check=False)
    except FileNotFoundError:
        return "there is no program 'unshare' (util-linux)"
    return tried.stderr.strip() if tried.returncode else ""


pytestmark = pytest.mark.skipif(bool(refused()), reason=f"no pid namespace for us: {refused()}")

SLEEPER = python("import time; print('here', flush=True); time.sleep(3600)")


@pytest.fixture
def namespace() -> Iterator[list[Supervised]]:
    """Those that a test has started; SIGKILL of a namespace's PID 1 ends all that is in it."""
    started: list[Supervised] = []
    yield started
    for supervised in started:
        for process in psutil.Process(supervised.pid).children() if alive(supervised.pid) else ():
            process.kill()
        supervised.wait()


def start(namespace: list[Supervised], supervised: Supervised) -> psutil.Process:
    """The supervisor itself, seen from outside its namespace."""
    namespace.append(supervised.start(within=NAMESPACE))
    supervised.until_ready()
    (first,) = psutil.Process(supervised.pid).children()
    numbers = next(line for line in Path(f"/proc/{first.pid}/status").read_text().splitlines() if "NSpid" in line)
    assert numbers.split()[-1] == "1", "it is PID 1 where it lives"
    return first


def test_two_hundred_orphans_are_reaped(tmp_path: Path, namespace: list[Supervised]) -> None:
    """Whose parents have gone, also in sessions of their own."""
    supervised = Supervised(tmp_path, instance("fork", orphans(tmp_path / "done"), tmp_path))
    first = start(namespace, supervised)
    read_when_written(tmp_path / "done")
    wait_until(lambda: len(first.children(recursive=True)) == 1, "only the leader is left", explain=supervised.output)
    first.send_signal(signal.SIGTERM)
    assert supervised.wait() == 0


def test_sigterm_stops_it_in_order(tmp_path: Path, namespace: list[Supervised]) -> None:
    """The kernel gives PID 1 no default action for a signal: what it does not handle does nothing."""
    supervised = Supervised(tmp_path, instance("a", SLEEPER, tmp_path), instance("b", SLEEPER, tmp_path))
    first = start(namespace, supervised)
    tree = first.children(recursive=True)
    first.send_signal(signal.SIGTERM)
    assert supervised.wait() == 0
    assert not [each for each in tree if alive(each.pid)]
    assert "SIGTERM: stopping in order" in supervised.output()


def test_sigkill_of_it_leaves_no_child(tmp_path: Path, namespace: list[Supervised]) -> None:
    """Not what ignores SIGTERM, not what left its session and its parent and wiped its environment."""
    escapee = python(
        f"""
import os, signal, sys, time
signal.signal(15, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        code = "import os, time; open({str(tmp_path / "escaped")!r}, 'w').write('escaped\\\\n'); time.sleep(3600)"
        os.execve(sys.executable, [sys.executable, "-c", code], {{}})
    os._exit(0)
time.sleep(3600)
"""
    )
    drain = StopPolicy(orphans="drain")
    supervised = Supervised(tmp_path, instance("a", SLEEPER, tmp_path), instance("b", escapee, tmp_path, stop=drain))
    first = start(namespace, supervised)
    read_when_written(tmp_path / "escaped")
    tree = [each for each in first.children(recursive=True) if alive(each.pid)]
    assert len(tree) == 3, "two leaders and the escapee"
    first.kill()
    supervised.wait()
    wait_until(lambda: not any(alive(each.pid) for each in tree), "everything died with it")
