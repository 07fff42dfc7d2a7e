"""Hung, not dead: each is noticed within three probe periods and mended, and the report shows where it hung."""

import contextlib
import http.client
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.deployment import Deployment
from tests.support.load import Load
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(300)]

NOTICED_WITHIN_S = 60  # three periods of 10 s, the last question's 5 s, and a busy machine

APP = """
import threading
from flask import Flask
from whalefall import Scheduler
from whalefall.app import install

app = Flask(__name__)
app.secret_key = "hung"
scheduler = Scheduler(app)

@app.get("/hang")
def this_view_waits_for_ever():
    threading.Event().wait()

@app.get("/fine")
def fine():
    return "fine"

install(app)
"""


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    (tmp_path / "hung.py").write_text(APP)
    with Deployment(tmp_path, "hung:app", WEB_THREADS="2") as running:
        yield running.until_ready()


def hang(deployment: Deployment) -> http.client.HTTPConnection:
    """A request that nobody will answer, sent and left alone."""
    connection = http.client.HTTPConnection("127.0.0.1", deployment.port, timeout=200)
    connection.request("GET", "/hang")
    return connection


def test_a_worker_whose_threads_all_hang_takes_no_request_from_its_brother(deployment: Deployment) -> None:
    with contextlib.ExitStack() as held, Load(deployment.port, ("/fine",), clients=2, timeout_s=10) as load:
        for _ in range(3):  # more than one worker's two threads, fewer than all four
            held.enter_context(contextlib.closing(hang(deployment)))
        seen = load.answered
        wait_until(lambda: load.answered > seen + 200, "the free thread answers", explain=deployment.output)
    assert not load.failures


def test_when_all_threads_of_all_workers_hang_the_service_is_replaced_and_the_report_shows_where(
    deployment: Deployment,
) -> None:
    pid = deployment.master("web")
    with contextlib.ExitStack() as held:
        for _ in range(4):
            held.enter_context(contextlib.closing(hang(deployment)))
        replaced = lambda: deployment.rows()["web.1"]["pid"] not in (pid, None)  # noqa: E731 - a name for the wait
        wait_until(replaced, "web is replaced", NOTICED_WITHIN_S, deployment.output)
        deployment.until_ready()
        assert deployment.get("/fine").status_code == 200, "what hung the old generation is not asked again"
    assert "web.1 no longer answers (3 probes in a row" in deployment.output()
    report = deployment.whalefall("why", "web").stdout
    assert "no longer answered" in report
    assert "this_view_waits_for_ever" in report, report


def test_a_worker_whose_threads_have_all_lost_their_clients_is_replaced_and_its_brother_serves_on(
    tmp_path: Path,
) -> None:
    """No probe can see it: the brother answers. At the end of REQUEST_TIMEOUT Nginx has given up on what hangs."""
    (tmp_path / "hung.py").write_text(APP)
    with contextlib.ExitStack() as held:
        running = held.enter_context(Deployment(tmp_path, "hung:app", WEB_THREADS="2", REQUEST_TIMEOUT="25"))
        running.until_ready()
        master = psutil.Process(running.master("web"))
        before = set(master.children())
        load = held.enter_context(Load(running.port, ("/fine",), clients=2, timeout_s=10))
        for _ in range(3):  # both threads of one, one of the other
            held.enter_context(contextlib.closing(hang(running)))
        left = lambda: len(set(master.children()) & before) == 1  # noqa: E731 - a name for the wait
        wait_until(left, "the one that nobody waits for has left", 60, running.output)
        wait_until(lambda: len(master.children()) == 2, "it is replaced", 30, running.output)
        assert master.pid == running.master("web")
        said = running.output()
        assert "all 2 threads are held by requests that have lasted longer than REQUEST_TIMEOUT (25 s)" in said
        assert "this_view_waits_for_ever" in said
    assert not load.failures, load.failures


@pytest.mark.parametrize("service", ["web", "scheduler", "nginx"])
def test_a_stopped_master_is_continued(deployment: Deployment, service: str) -> None:
    pid = deployment.master(service)
    os.kill(pid, signal.SIGSTOP)
    master = psutil.Process(pid)
    assert wait_until(lambda: master.status() == psutil.STATUS_STOPPED, "it is stopped")
    wait_until(lambda: master.status() != psutil.STATUS_STOPPED, "it goes on", NOTICED_WITHIN_S, deployment.output)
    assert f"{service}.1: pid {pid} was stopped (SIGSTOP) for a whole probe period" in deployment.output()
    assert deployment.stop() == 0


def test_a_stopped_worker_is_continued_and_no_client_notices(deployment: Deployment) -> None:
    worker = psutil.Process(deployment.master("web")).children()[0]
    with Load(deployment.port, ("/fine",), clients=3, timeout_s=NOTICED_WITHIN_S) as load:
        wait_until(lambda: load.answered > 50, "the load runs")
        worker.suspend()
        wait_until(lambda: worker.status() != psutil.STATUS_STOPPED, "it goes on", NOTICED_WITHIN_S, deployment.output)
        seen = load.answered
        wait_until(lambda: load.answered > seen + 50, "the load goes on")
    assert not load.failures, load.failures
