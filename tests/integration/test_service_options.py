"""user, umask, limits, env and run_once as a running process has them, under a real supervisor."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.shell import Shell, children_of
from tests.support.supervised import read_when_written
from tests.support.waiting import wait_until

TELL = """
import os, resource, sys, time
soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
mask = os.umask(0)
with open(sys.argv[1], "w") as file:
    file.write(f"{os.getuid()} {mask:03o} {soft} {os.environ.get('MODE')} {os.environ.get('HOME')}\\n")
if "stay" in sys.argv:
    time.sleep(3600)
"""


@pytest.fixture
def shell() -> Iterator[Shell]:
    # Not below pytest's own directory, which no other user may enter.
    with tempfile.TemporaryDirectory(prefix="wf-options-") as folder:
        Path(folder).chmod(0o755)
        shell = Shell(Path(folder))
        shell.write("tell.py", TELL)
        yield shell
        left = children_of(shell)
        for process in left:
            process.kill()
        assert not left, shell.log()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a service another user")
def test_a_process_has_the_user_umask_limits_and_variables_of_its_options(shell: Shell) -> None:
    out = shell.directory / "out"
    out.mkdir()
    out.chmod(0o777)
    shell.write(
        "Procfile", "once: /usr/bin/env python3 tell.py out/once\nworker: /usr/bin/env python3 tell.py out/w stay\n"
    )
    shell.write(
        "whalefall.toml",
        "[services.once]\nrun_once = true\n"
        '[services.worker]\nafter = ["once:finished"]\nuser = "nobody"\numask = "027"\n'
        'limits = { nofile = 77 }\nenv = { MODE = "batch" }\n',
    )
    shell.environ["PATH"] = "/usr/bin:/bin"
    process = shell.start("serve")
    try:
        told = read_when_written(out / "w").split()
        once = read_when_written(out / "once").split()
        wait_until(lambda: " finished " in shell.run("status").stdout, "once has finished", 20, shell.log)
    finally:
        process.terminate()
        code = process.wait(30)
    assert told[:4] == ["65534", "027", "77", "batch"]
    assert told[4] != str(shell.directory)
    assert once[0] == "0"
    assert once[3:] == ["None", str(shell.directory)]
    assert code == 0, shell.log()
