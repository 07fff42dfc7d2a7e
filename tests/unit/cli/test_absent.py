"""Nobody answers: what is told, and what is left to read. Sockets are real; the directories are the test's own."""

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shell import Shell
from whalefall.cli.absent import _is_bound
from whalefall.control.protocol import SOCKET_NAME
from whalefall.settings import Settings

STRANGER = 54_321
REPORT = {
    "at": 1_700_000_000.5,
    "instance": "web.1",
    "what": "web.1 exited with code 3",
    "generation": 5,
    "pid": 4711,
    "ready_after_s": None,
    "ran_for_s": 0.2,
    "crashes": "crash 5 of 5 in 60 s",
    "peak_memory_bytes": 0,
    "out_of_memory_kills": 0,
    "last_probe": "",
    "lines": ["ValueError: no key"],
}


@pytest.fixture
def shell() -> Iterator[Shell]:
    """With the RUN_DIR of the default, in a short place: pytest's own may leave no room for a socket's path."""
    with tempfile.TemporaryDirectory() as short:
        runtime = Path(short, "r")
        home = Path(short, "shop")
        home.mkdir()
        runtime.mkdir()
        made = Shell(home)
        del made.environ["RUN_DIR"]
        made.environ["XDG_RUNTIME_DIR"] = str(runtime)
        yield made


def listening(shell: Shell, uid: int) -> socket.socket:
    """As the whalefall of the shell's directory would, run by `uid`."""
    directory = Settings(run_dir="").run_path(shell.directory).name.rpartition("-")[2]
    run_dir = Path(shell.environ["XDG_RUNTIME_DIR"], f"whalefall-{uid}-{directory}")
    run_dir.mkdir(mode=0o700)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(run_dir / SOCKET_NAME))
    listener.listen()
    os.chown(run_dir, uid, -1)
    return listener


def test_one_that_runs_in_a_directory_above_is_told(shell: Shell) -> None:
    home, below = shell.directory, shell.directory / "shop" / "models"
    below.mkdir(parents=True)
    with listening(shell, os.getuid()):
        shell.directory = below
        assert shell.run("status").stderr.endswith(f"). One runs in {home.resolve()}: go there.\n")
    assert "Start one: whalefall serve, or go to its directory" in shell.run("status").stderr, "it has ended"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory to somebody else")
def test_one_that_another_user_runs_is_told_with_the_user(shell: Shell) -> None:
    with listening(shell, STRANGER):
        for command in ("status", "reload", "health", "why"):
            done = shell.run(command)
            assert done.returncode == 1
            assert done.stderr.endswith(f"). The user {STRANGER} runs one here: ask as that user.\n")
    assert "Start one: whalefall serve" in shell.run("status").stderr, "it has ended"


def test_one_that_may_not_be_asked_is_seen_while_it_has_its_socket(shell: Shell) -> None:
    with listening(shell, os.getuid()) as listener:
        run_dir = Path(listener.getsockname()).parent
        assert _is_bound(run_dir)
        assert not _is_bound(run_dir.parent)
    assert not _is_bound(run_dir), "its directory is left, and it has ended"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory to somebody else")
def test_a_directory_that_only_has_such_a_name_is_nobodys(shell: Shell) -> None:
    with listening(shell, STRANGER) as listener:
        os.chown(Path(listener.getsockname()).parent, 0, -1)
        assert "Start one: whalefall serve" in shell.run("status").stderr


def test_crash_reports_are_read_when_nobody_is_left_to_ask(shell: Shell) -> None:
    crashes = shell.directory / "var" / "crashes"
    crashes.mkdir(parents=True)
    assert "no whalefall is running here" in shell.run("why", "web").stderr
    for generation in (5, 4):
        report = REPORT | {"generation": generation, "at": REPORT["at"] + generation}
        (crashes / f"{report['at']:.3f}-web.1.json").write_text(json.dumps(report))
    for words in (["why"], ["why", "web"], ["why", "web.1"]):
        done = shell.run(*words)
        assert done.returncode == 0, done.stderr
        assert done.stderr == f"no whalefall is running here; the last one left in {crashes}:\n"
        assert "web.1 exited with code 3" in done.stdout
        assert "generation 5" in done.stdout
        assert "generation 4" not in done.stdout
    assert [each["generation"] for each in json.loads(shell.run("why", "-n", "9", "--json").stdout)] == [4, 5]
    done = shell.run("why", "scheduler")
    assert (done.returncode, done.stdout) == (1, "")
