"""The units of docs/how-to/run-under-systemd.md, as they stand there, under a real systemd (systemd.sh)."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psutil
import pytest

from tests.container.engine import NOT_HERE, ROOT
from tests.support.load import Load
from tests.support.supervised import free_port
from tests.support.waiting import wait_until

SCRIPT = Path(__file__).with_name("systemd.sh")
PAGE = ROOT / "docs/how-to/run-under-systemd.md"
SHOP = """
import os
import time
from flask import Flask
from whalefall import Scheduler

app = Flask(__name__)
scheduler = Scheduler(app)


@scheduler.task("interval", id="tick", seconds=1)
def tick():
    "Something to do."


@app.get("/")
def home():
    time.sleep(0.05)
    return os.environ.get("LISTEN_FDNAMES", "")
"""


class Systemd:
    """A booted systemd. `with` ends it and all in it."""

    def __init__(self, sources: Path) -> None:
        self.log = sources / "systemd.log"
        with self.log.open("wb") as log:
            self.outside = subprocess.Popen(["bash", str(SCRIPT), "boot", str(sources)], stdout=log, stderr=log)
        self.pid = 0

    def __enter__(self) -> Self:
        self.pid = wait_until(self._pid, "systemd is PID 1 of a namespace", 30, self.log.read_text)
        wait_until(
            lambda: self.run("systemctl", "is-system-running", check=False).strip() in ("running", "degraded"),
            "systemd has booted",
            60,
            self.log.read_text,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.outside.kill()  # unshare --kill-child: PID 1 of the namespace, and with it everything
        self.outside.wait(20)
        for group in Path("/sys/fs/cgroup").glob(f"**/whalefall-test-systemd-{self.outside.pid}"):
            self._remove(group)

    def run(self, *words: str, check: bool = True) -> str:
        """A command inside."""
        command = ["nsenter", "-t", str(self.pid), "-m", "-p", "-u", "-i", "-C", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert not check or done.returncode == 0, f"{words}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done.stdout

    def journal(self) -> str:
        lines = self.run("journalctl", "-u", "whalefall", "--no-pager", "-n", "400", "-o", "cat", check=False)
        return "\n".join([line for line in lines.splitlines() if '"request_id"' not in line][-60:])

    def shows(self, what: str) -> str:
        return self.run("systemctl", "show", "-p", what, "--value", "whalefall").strip()

    def _pid(self) -> int:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.outside.pid).children():
                if child.name() == "systemd":
                    return child.pid
        return 0

    def _remove(self, group: Path) -> None:
        """Leaves first: the kernel refuses to remove a group that has one."""

        def gone() -> bool:
            for directory in sorted([group, *group.glob("**/")], key=lambda path: -len(path.parts)):
                with contextlib.suppress(OSError):
                    directory.rmdir()
            return not group.exists()

        wait_until(gone, f"{group} is removed")


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Systemd]:
    ready = subprocess.run(["bash", str(SCRIPT), "ready"], capture_output=True, text=True, timeout=500, check=False)
    if ready.returncode == NOT_HERE:
        pytest.skip(ready.stderr.strip())
    assert ready.returncode == 0, ready.stderr
    sources = tmp_path_factory.mktemp("sources")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(sources), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (sources / "shop.py").write_text(SHOP)
    with Systemd(sources) as running:
        running.run("useradd", "--system", "whalefall")
        running.run("mkdir", "-p", "/srv/shop")
        running.run("cp", "/src/shop.py", "/srv/shop")
        running.run("python3", "-m", "venv", "/srv/shop/.venv")
        running.run("sh", "-c", "/srv/shop/.venv/bin/pip install -q /src/whalefall-*.whl")
        yield running


def units() -> dict[str, str]:
    """The unit files of the page, by name: each block stands behind its path."""
    page = PAGE.read_text()
    found = dict(re.findall(r"`/etc/systemd/system/([\w.-]+)`:\n\n```ini\n(.*?)```", page, re.DOTALL))
    (added,) = re.findall(r"and in `whalefall.service`:\n\n```ini\n(.*?)```", page, re.DOTALL)
    return found | {"whalefall.service.d/socket.conf": added}


@pytest.fixture
def port(systemd: Systemd) -> Iterator[int]:
    """The service in its place, with ports of our own, and nothing left of it afterwards."""
    port = free_port()
    put(systemd, "whalefall.service", units()["whalefall.service"].replace("8080", str(port)))
    addresses = f"WEB_LISTEN=127.0.0.1:{free_port()} SCHEDULER_LISTEN=127.0.0.1:{free_port()}"
    put(systemd, "whalefall.service.d/ports.conf", f"[Service]\nEnvironment={addresses}\n")
    systemd.run("systemctl", "daemon-reload")
    yield port
    systemd.run("systemctl", "stop", "whalefall.socket", "whalefall.service", check=False)
    systemd.run("systemctl", "reset-failed", "whalefall.service", check=False)
    systemd.run("sh", "-c", "rm -r /etc/systemd/system/whalefall.*")


def put(systemd: Systemd, name: str, text: str) -> None:
    path = f"/etc/systemd/system/{name}"
    systemd.run("sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path} <<'END'\n{text}\nEND")


def test_start_returns_when_the_site_answers_and_stop_leaves_nothing(systemd: Systemd, port: int) -> None:
    systemd.run("systemctl", "start", "whalefall.service")
    with Load(port, ("/",), clients=1) as load:
        wait_until(lambda: load.answered > 3, "the site answers")
    assert load.failures == []
    assert systemd.shows("StatusText") == "3 of 3 instances are ready"
    systemd.run("systemctl", "stop", "whalefall.service")
    assert systemd.shows("Result") == "success"
    assert "is killed" not in systemd.journal()


def test_reload_under_load_loses_nothing_and_gives_new_masters(systemd: Systemd, port: int) -> None:
    systemd.run("systemctl", "start", "whalefall.service")
    main = systemd.shows("MainPID")
    with Load(port, ("/",)) as load:
        wait_until(lambda: load.answered > 20, "the load runs")
        before = masters(systemd)
        systemd.run("systemctl", "reload", "whalefall.service")
        wait_until(lambda: not before & masters(systemd), "new masters serve", 60, systemd.journal)
        answered = load.answered
        wait_until(lambda: load.answered > answered + 20, "the load runs on")
    assert load.failures == []
    assert systemd.shows("MainPID") == main


def test_a_killed_whalefall_is_started_again_with_nothing_of_the_old_one_left(systemd: Systemd, port: int) -> None:
    systemd.run("systemctl", "start", "whalefall.service")
    before = masters(systemd)
    systemd.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "whalefall.service")
    wait_until(lambda: systemd.shows("NRestarts") == "1", "systemd starts it again", 60, systemd.journal)
    wait_until(lambda: systemd.shows("ActiveState") == "active", "it is ready again", 60, systemd.journal)
    assert not before & masters(systemd)


def test_a_socket_unit_keeps_connections_through_a_restart(systemd: Systemd, port: int) -> None:
    put(systemd, "whalefall.socket", units()["whalefall.socket"].replace("0.0.0.0:80", f"0.0.0.0:{port}"))
    put(systemd, "whalefall.service.d/socket.conf", units()["whalefall.service.d/socket.conf"])
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "start", "whalefall.socket")
    with Load(port, ("/",)) as load:
        wait_until(lambda: load.answered > 20, "the first connection started the service", 60, systemd.journal)
        systemd.run("systemctl", "restart", "whalefall.service")
        answered = load.answered
        wait_until(lambda: load.answered > answered + 20, "the load runs on", 60, systemd.journal)
    assert load.failures == []


def masters(systemd: Systemd) -> set[int]:
    """The Gunicorn masters, by their pids inside."""
    words = systemd.run("sh", "-c", "grep -la 'gunicorn: master' /proc/[0-9]*/cmdline || true").split()
    return {int(Path(word).parent.name) for word in words}
