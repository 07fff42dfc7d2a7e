"""Certainly dead, or in doubt?"""

import os
import subprocess
import sys

import pytest

from whalefall.scheduler.holders import is_certainly_dead, name


def of(pid: int, *, host: str | None = None, namespace: str | None = None) -> str:
    """A name like ours, of another process."""
    ours_host, _, ours_rest = name().split("/")
    ours_namespace = ours_rest.partition(".")[0]
    return f"{host or ours_host}/{pid}/{namespace or ours_namespace}.abcdef"


@pytest.fixture
def gone() -> int:
    """The pid of a process that has ended and was reaped."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    return process.pid


def test_names_are_never_the_same_twice() -> None:
    assert name() != name()
    assert name().split("/")[1] == str(os.getpid())


def test_we_are_alive() -> None:
    assert not is_certainly_dead(name())


def test_a_process_that_is_gone_is_dead(gone: int) -> None:
    assert is_certainly_dead(of(gone))


def test_a_zombie_is_dead() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, nobody has reaped it
    assert is_certainly_dead(of(process.pid))
    process.wait()


def test_elsewhere_nothing_is_certain(gone: int) -> None:
    assert not is_certainly_dead(of(gone, host="another"))
    assert not is_certainly_dead(of(gone, namespace="123"))
    assert not is_certainly_dead(f"celery/host/{gone}/abc")
    assert not is_certainly_dead("me")
    assert not is_certainly_dead("")
