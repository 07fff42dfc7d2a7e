"""The main job without our supervisor: the Procfile under honcho, and one process type at a time with $PORT."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.deployment import thread_names
from tests.support.shell import Shell, children_of, honcho
from tests.support.supervised import ROOT, free_port
from tests.support.waiting import wait_until

needs_nginx = pytest.mark.skipif(
    not shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"), reason="no nginx program here"
)
JOBS, HEALTH = "/api/v1/scheduler/jobs", "/api/v1/health/basic"


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    shutil.copy(ROOT / "Procfile", tmp_path / "Procfile")
    yield shell
    assert not children_of(shell), shell.log()


def status(port: int | str, path: str) -> int:
    try:
        return requests.get(f"http://127.0.0.1:{port}{path}", timeout=20).status_code
    except requests.RequestException:
        return 0


def until_200(shell: Shell, port: int | str, path: str) -> None:
    wait_until(lambda: status(port, path) == 200, f"{path} is 200 at port {port}", 60, shell.log)


@needs_nginx
@pytest.mark.slow
def test_the_procfile_runs_the_main_job_under_honcho(shell: Shell) -> None:
    base = _base_port()
    shell.environ["PORT"] = str(base)
    del shell.environ["WEB_LISTEN"]  # then Nginx must find web by the Procfile's own rule
    with honcho(shell) as process:
        until_200(shell, base, HEALTH)
        until_200(shell, base, JOBS)
        assert [(status(base, HEALTH), status(base, JOBS)) for _ in range(50)] == [(200, 200)] * 50
        assert status(base + 100, JOBS) == 409  # web itself
        tree = psutil.Process(process.pid).children(recursive=True)
        assert len([each for each in tree if "wf-scheduler" in thread_names(each.pid)]) == 1


@pytest.mark.slow
def test_web_alone_serves_on_the_port_of_the_platform(shell: Shell) -> None:
    with honcho(shell, "web"):
        until_200(shell, shell.environ["PORT"], HEALTH)
        assert status(shell.environ["PORT"], JOBS) == 409


@pytest.mark.slow
def test_scheduler_alone_owns_the_jobs_and_leaves_the_platforms_port_alone(shell: Shell) -> None:
    with honcho(shell, "scheduler"):
        own = shell.environ["SCHEDULER_LISTEN"].rpartition(":")[2]
        until_200(shell, own, JOBS)
        assert status(shell.environ["PORT"], JOBS) == 0  # nobody listens: a platform routes only to web


def _base_port() -> int:
    """With room at +100 and +200 for web and scheduler."""
    return next(port for port in iter(free_port, None) if port + 200 <= 65_535)
