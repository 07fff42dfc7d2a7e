"""Whoever starts us may have variables that are no text: the services get the bytes as they are."""

import os
from pathlib import Path

import pytest

from tests.support.shell import ANSWER_WITHIN_S, Shell, children_of
from tests.support.waiting import wait_until

TELL = '#!/bin/sh\nprintf "%s\\n" "$ODD" > "$1.new"\nmv "$1.new" "$1"\nexec sleep 1000\n'
ODD = b"\xc3\xa9\xff \xe9"


@pytest.mark.parametrize("utf8", ["0", "1"])
def test_they_go_through_the_plan_at_the_start_and_at_a_reload(tmp_path: Path, utf8: str) -> None:
    shell = Shell(tmp_path)
    shell.environ |= {"ODD": os.fsdecode(ODD), "PYTHONUTF8": utf8, "LC_ALL": "C", "NGINX_BINARY": ""}
    shell.write("tell.sh", TELL)
    (tmp_path / "tell.sh").chmod(0o700)
    shell.write("Procfile", "teller: ./tell.sh first\n")
    started = shell.start("serve")
    try:
        wait_until((tmp_path / "first").exists, "it has told", 30, shell.log)
        shell.write("Procfile", "teller: ./tell.sh second\n")
        done = shell.run("reload")
        assert done.returncode == 0, done
        wait_until((tmp_path / "second").exists, "it has told again", 30, shell.log)
    finally:
        started.terminate()
        assert started.wait(ANSWER_WITHIN_S) == 0, shell.log()
    assert [(tmp_path / name).read_bytes() for name in ("first", "second")] == [ODD + b"\n"] * 2
    assert not children_of(shell)
