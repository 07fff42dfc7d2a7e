"""Where a program is looked for, and what is said when there is none: real forks, of a process with one thread."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SPAWN = """
import os, sys
from whalefall.plan import Command
from whalefall.supervisor.edge.spawn import Handed, SpawnError, spawn
name, path = sys.argv[1:]
try:
    os.waitpid(spawn(Command((name,), "/", {"PATH": path}), Handed(), {}, 9), 0)
except SpawnError as error:
    print(error)
"""


@pytest.fixture
def directories(tmp_path: Path) -> list[Path]:
    """Nothing, then a file that is no directory, then one that holds what cannot be run, then a program."""
    found = [tmp_path / name for name in ("none", "file", "refuses", "has")]
    found[1].touch()
    for directory, mode in zip(found[2:], (0o644, 0o755), strict=True):
        directory.mkdir()
        (directory / "hello").write_text("#!/bin/sh\necho hello from $0\n")
        (directory / "hello").chmod(mode)
    return found


def said(name: str, directories: list[Path]) -> str:
    path = os.pathsep.join(map(str, directories))
    done = subprocess.run([sys.executable, "-c", SPAWN, name, path], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_program_is_found_in_the_childs_own_path_past_what_cannot_be_run(directories: list[Path]) -> None:
    assert said("hello", directories) == f"hello from {directories[-1]}/hello\n"


def test_that_something_may_not_be_run_is_said_before_that_elsewhere_is_nothing(directories: list[Path]) -> None:
    assert said("hello", [directories[2], directories[0]]) == "cannot run hello: Permission denied\n"


def test_a_program_that_is_nowhere_is_not_found(directories: list[Path]) -> None:
    assert said("hello", directories[:1]) == "cannot run hello: No such file or directory\n"


def test_a_name_that_is_no_text_is_told_too(directories: list[Path]) -> None:
    assert said("hell\udcff", directories[:1]) == "cannot run hell\\udcff: No such file or directory\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody with a limit of processes")
def test_a_limit_of_processes_is_one_sentence() -> None:
    limited = (
        "import os, resource, sys; import whalefall.supervisor.edge.spawn, whalefall.plan\n"
        "resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)); os.setuid(65_532)\n"
        'sys.argv[1:] = ["true", "/bin"]\n'
    )
    done = subprocess.run([sys.executable, "-c", limited + SPAWN], capture_output=True, text=True, check=True)
    assert done.stdout == "cannot fork: Resource temporarily unavailable\n"
