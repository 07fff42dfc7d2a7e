"""docker-compose.prod.yml as it stands, in a copy of what the image is made of: brought up as its page says."""

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
import pytest
import requests

from tests.container.engine import ENGINE, ROOT, Container, engine
from tests.support.supervised import free_port
from tests.support.waiting import wait_until

FILE = "docker-compose.prod.yml"
SERVICES = ("whalefall", "postgres", "redis")
ADMIN_PASSWORD = "a long enough one"
# What .env may hold: every character of the password means something in a URL.
ENV = """
SECRET_KEY={secret}
POSTGRES_PASSWORD=p@ss/w:rd#%20?&
WHALEFALL_ADMIN_PASSWORD={password}
SCHEDULER_TIMEZONE=Europe/Berlin
PORT=5000
HTTP_PORT={port}
"""
WITHIN_S = 120.0


class Composition:
    """The file's services under a name of our own. `with` removes them and their volumes, whatever became of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.project = f"whalefall-test-{os.getpid()}"
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.compose("down", "--volumes", check=False)

    def compose(self, *words: str, timeout_s: float = 200.0, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = ["bash", str(ENGINE), "compose", "--project-name", self.project, "--file", FILE, *words]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environ = {name: value for name, value in os.environ.items() if name not in ("HTTP_PORT", "SECRET_KEY")}
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=environ | {"PATH": path},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
        assert not check or done.returncode == 0, f"{words} gave {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def up(self, *options: str) -> None:
        self.compose("up", "--detach", *options, timeout_s=500)
        self.until_healthy()

    def container(self, service: str = "whalefall") -> Container:
        labels = {"project": self.project, "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        (found,) = engine("ps", "--all", "--quiet", *filters).stdout.split()
        return Container.that_runs(found, self.port)

    def logs(self) -> str:
        return "\n".join(line[:300] for line in self.container().logs().splitlines()[-60:])

    def ask(self, method: str, path: str, **options: object) -> requests.Response | None:
        """Through Nginx on the published port; None while nobody is there."""
        with suppress(requests.ConnectionError, requests.Timeout):
            return self.session.request(method, f"http://127.0.0.1:{self.port}{path}", timeout=10, **options)  # type: ignore[arg-type]
        return None

    def status(self, path: str) -> int:
        answer = self.ask("GET", path)
        return answer.status_code if answer is not None else 0

    def until_healthy(self) -> None:
        """The site answers, and its health counts in the scheduler and its ledger."""
        wait_until(self.logged_in, "the site answers, and its ledger knows the administrator", WITHIN_S, self.logs)
        wait_until(lambda: self.status("/api/v1/health") == 200, "all of it is healthy", WITHIN_S, self.logs)

    def logged_in(self) -> bool:
        who = {"username": "admin", "password": ADMIN_PASSWORD}
        answer = self.ask("POST", "/api/v1/auth/login", json=who, headers={"X-CSRFToken": self._csrf()})
        self.session.headers["X-CSRFToken"] = self._csrf()
        return answer is not None and answer.status_code == 200

    def _csrf(self) -> str:
        answer = self.ask("GET", "/api/v1/auth/csrf-token")
        return str(answer.json()["data"]["csrf_token"]) if answer is not None and answer.ok else ""

    def job(self, job_id: str) -> dict[str, object]:
        answer = self.ask("GET", f"/api/v1/scheduler/jobs/{job_id}")
        assert answer is not None
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["data"])

    def run_a_job(self) -> None:
        """By hand, to its good end: the leader, the ledger and the lock all have a part in it."""
        asked = self.ask("POST", "/api/v1/scheduler/jobs/sample_host/actions/run", json={"reason": "a look"})
        assert asked is not None
        assert asked.ok, asked.text
        path = f"/api/v1/scheduler/runs/{asked.json()['data']['run_id']}"

        def succeeded() -> bool:
            run = self.ask("GET", path)
            return run is not None and run.ok and run.json()["data"]["state"] == "succeeded"

        wait_until(succeeded, "the run has succeeded", WITHIN_S, self.logs)


def checkout(directory: Path) -> Path:
    """What the image is made of, without what else lies about in a working tree."""
    made_of = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in (*made_of, ".dockerignore", "Dockerfile", FILE):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, directory / name)
    return directory


@pytest.fixture(scope="module")
def site(bridged: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composition]:
    engine("databases", timeout_s=500)
    directory = checkout(tmp_path_factory.mktemp("checkout"))
    with Composition(directory) as running:
        values = ENV.format(secret=secrets.token_hex(32), password=ADMIN_PASSWORD, port=running.port)
        (directory / ".env").write_text((directory / "env.example").read_text() + values)
        running.up("--build")
        yield running


def test_the_site_and_the_scheduler_answer_on_the_published_port(site: Composition) -> None:
    assert site.status("/dashboard") == 200
    site.run_a_job()
    leader = site.container().run("whalefall", "jobs", "list").stdout
    assert " leads, term " in leader, leader
    assert "lock redis" in site.container().logs()
    assert (
        site.container().run("whalefall", "ledger", "verify").stdout.strip().endswith("each is on record exactly once.")
    )


def test_what_the_env_file_sets_reaches_whalefall_and_the_container_s_own_settings_win(site: Composition) -> None:
    assert site.job("prune_samples")["timezone"] == "Europe/Berlin"
    environ = dict(line.split("=", 1) for line in site.container().run("env").stdout.splitlines() if "=" in line)
    assert environ["PORT"] == "8080"
    assert f"the site is at http://localhost:{site.port}" in site.container().logs()


@pytest.mark.parametrize("service", SERVICES)
def test_its_healthcheck_is_known_to_the_engine_and_passes(site: Composition, service: str) -> None:
    container = site.container(service)

    def healthy() -> bool:
        # podman leaves the timer to systemd, which may not be here; Docker has no such command, and needs none
        engine("healthcheck", "run", container.id, check=False)
        return bool(container.state()["Health"]["Status"] == "healthy")

    wait_until(healthy, f"{service} is healthy", WITHIN_S, container.logs)


def test_the_healthcheck_fails_when_a_service_is_down(site: Composition) -> None:
    container = site.container()
    container.run("whalefall", "stop", "web")
    try:
        done = container.run("whalefall", "health", check=False)
        assert (done.returncode, "web" in done.stdout + done.stderr) == (1, True)
    finally:
        container.run("whalefall", "start", "web")
    site.until_healthy()


@pytest.mark.parametrize("service", SERVICES)
def test_a_pid_1_that_is_killed_comes_back_by_the_restart_policy(site: Composition, service: str) -> None:
    container = site.container(service)
    before = container.leader()
    before.send_signal(signal.SIGKILL)

    def back() -> bool:
        state = container.state()
        return state["Status"] == "running" and state["Pid"] not in (0, before.pid) and psutil.pid_exists(state["Pid"])

    wait_until(back, f"{service} runs again", WITHIN_S, container.logs)
    site.until_healthy()
    site.run_a_job()


def test_a_stop_that_has_to_wait_ends_by_whalefall_s_own_grace_before_the_engine_s(site: Composition) -> None:
    container = site.container()
    rows = container.rows()
    for hung in ("web.1", "scheduler.1"):
        container.host_pid(rows[hung]["pid"]).suspend()
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as slow:
        slow.sendall(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        said = site.compose("stop", "whalefall")
    container.until_exited()
    last = container.logs()[-5000:]
    for name in ("web.1", "scheduler.1"):
        assert f"{name} did not stop within" in last, "the stop did have to wait"
        assert f"{name} has stopped" in last, "whalefall saw it to its end"
    assert "SIGKILL" not in said.stderr, "podman would say that it had to"
    site.compose("start", "whalefall")
    site.until_healthy()


def test_a_stop_of_all_at_once_ends_whalefall_with_0(site: Composition) -> None:
    container = site.container()
    site.compose("stop")
    assert container.until_exited() == 0
    site.up()


def test_what_was_changed_survives_down_and_up(site: Composition) -> None:
    paused = site.ask("POST", "/api/v1/scheduler/jobs/prune_samples/actions/pause", json={"reason": "over winter"})
    assert paused is not None
    assert paused.status_code == 200, paused.text
    before = site.container().id
    site.compose("down")
    assert engine("ps", "--all", "--quiet", f"--filter=label=com.docker.compose.project={site.project}").stdout == ""
    site.up()
    assert site.container().id != before
    job = site.job("prune_samples")
    assert (job["state"], job["pause_reason"]) == ("STATE_PAUSED", "over winter")


def test_without_the_secrets_it_says_what_to_set(engine_ready: None, tmp_path: Path) -> None:
    bare = Composition(tmp_path)
    shutil.copy(ROOT / FILE, tmp_path)
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=secret\n")
    done = bare.compose("config", check=False)
    assert done.returncode != 0
    assert "set SECRET_KEY in .env" in done.stdout + done.stderr


def test_without_a_port_it_is_published_on_80(engine_ready: None, tmp_path: Path) -> None:
    bare = Composition(tmp_path)
    shutil.copy(ROOT / FILE, tmp_path)
    (tmp_path / ".env").write_text("SECRET_KEY=secret\nPOSTGRES_PASSWORD='a$b#c'\n")
    found = bare.compose("config").stdout
    assert re.search(r"""- ['"]?80:8080|published: ['"]?80\b""", found), found
    assert "http://localhost:80\n" in found
