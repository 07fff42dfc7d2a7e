"""Real shells complete our commands: each is asked what it would offer at a Tab."""

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployment import Deployment
from tests.support.supervised import ROOT
from tests.support.waiting import wait_until

PROCFILE = "web: python -m whalefall web\nscheduler: python -m whalefall scheduler\npayments: sleep 1000\n"
ASK_BASH = """
source {script}
COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_shtab_whalefall; printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Procfile").write_text(PROCFILE)
    program = tmp_path / "bin" / "whalefall"  # on PATH, as after an installation
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m whalefall "$@"\n')
    program.chmod(0o755)
    return tmp_path


def environ(project: Path) -> dict[str, str]:
    return {**Deployment(project).environ, "PATH": f"{project / 'bin'}:{os.environ['PATH']}", "TERM": "dumb"}


def script(project: Path, shell: str) -> Path:
    command = ["whalefall", "completion", shell]
    answer = subprocess.run(command, cwd=project, env=environ(project), capture_output=True, text=True, check=True)
    file = project / ("_whalefall" if shell == "zsh" else f"whalefall.{shell}")
    file.write_text(answer.stdout)
    return file


def run(project: Path, *command: str) -> list[str]:
    answer = subprocess.run(command, cwd=project, env=environ(project), capture_output=True, text=True, check=False)
    assert answer.stderr == ""
    return answer.stdout.split()


def bash(project: Path, words: str) -> list[str]:
    return run(project, "bash", "-c", ASK_BASH.format(script=script(project, "bash"), words=words))


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("whalefall re", ["restart", "reload"]),
        ("whalefall de", ["dev"]),
        ("whalefall dev --att", ["--attach"]),
        ("whalefall restart pay", ["payments"]),
        ("whalefall logs --follow s", ["scheduler"]),
        ("whalefall serve -f Pro", ["Procfile"]),
        ("whalefall plan --for", ["--formation"]),
        ("whalefall jobs hi", ["history"]),
        ("whalefall jobs run --wa", ["--wait"]),
        ("whalefall jobs list --procfile Pro", ["Procfile"]),
    ],
)
def test_bash(project: Path, words: str, offered: list[str]) -> None:
    assert bash(project, words) == offered


def test_services_are_those_that_run_with_their_instances(project: Path) -> None:
    with Deployment(project, "-c", "payments=2") as deployment:
        deployment.until_ready()
        assert bash(project, "whalefall why pay") == ["payments", "payments.1", "payments.2"]


def test_at_a_tab_a_broken_procfile_is_no_error(project: Path) -> None:
    (project / "Procfile").write_text("nonsense\n")
    assert bash(project, "whalefall restart p") == []
    (project / ".env").write_text("PORT=x\n")
    assert run(project, "whalefall", "completion", "services") == []


@pytest.mark.skipif(not shutil.which("fish"), reason="there is no fish here")
def test_fish(project: Path) -> None:
    source = f"source {script(project, 'fish')}; "
    assert run(project, "fish", "-c", f"{source} complete -C 'whalefall restart pay'")[0] == "payments"
    assert {"restart", "reload"} <= set(run(project, "fish", "-c", f"{source} complete -C 'whalefall re'"))


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh here")
def test_zsh(project: Path) -> None:
    """zsh completes only on a terminal, so it gets one, and somebody who presses Tab."""
    script(project, "zsh")
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["zsh", "-f", "-i"], cwd=project, env=environ(project), stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = ""

    def see(text: str) -> bool:
        nonlocal shown
        while select.select([ours], [], [], 0.05)[0]:
            shown += os.read(ours, 65_536).decode(errors="replace")
        return text in shown

    try:
        os.write(
            ours,
            f"PROMPT='here> '; fpath=({project} $fpath); autoload -Uz compinit; compinit -u -D; echo set-up\n".encode(),
        )
        wait_until(lambda: see("\nset-up"), "zsh has set up its completion", 30, lambda: shown)
        os.write(ours, b"whalefall restart pay\t")
        wait_until(lambda: see("restart payments"), "zsh has completed a service", 30, lambda: shown)
    finally:
        shell.kill()
        shell.wait(10)
        os.close(ours)
