"""The main job on real input: one command brings up Nginx, web and scheduler, and keeps them up."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from tests.support.deployment import Deployment, body
from tests.support.supervised import alive
from tests.support.waiting import wait_until

HEALTH = "/api/v1/health/basic"
JOBS = "/api/v1/scheduler/jobs"


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path) as running:
        yield running.until_ready()


def test_both_addresses_answer_200_fifty_times_in_a_row_through_nginx(deployment: Deployment) -> None:
    answers = [(deployment.get(HEALTH), deployment.get(JOBS)) for _ in range(50)]
    assert {(health.status_code, jobs.status_code) for health, jobs in answers} == {(200, 200)}
    assert all(answer.headers["Server"].startswith("nginx") for pair in answers for answer in pair)
    jobs = body(answers[-1][1])["data"]
    assert "sample_host" in [job["id"] for job in jobs]


def test_the_web_socket_itself_says_409_and_why(deployment: Deployment) -> None:
    answer = requests.get(f"http://127.0.0.1:{deployment.web_port}{JOBS}", timeout=30)
    assert answer.status_code == 409
    assert "ENABLE_SCHEDULER is false" in body(answer)["message"]
    assert requests.get(f"http://127.0.0.1:{deployment.scheduler_port}{JOBS}", timeout=30).status_code == 200


def test_the_bare_prefix_is_redirected(deployment: Deployment) -> None:
    answer = deployment.get("/api/v1/scheduler", allow_redirects=False)
    assert answer.status_code == 301
    assert answer.headers["Location"] in ("/api/v1/scheduler/", deployment.url("/api/v1/scheduler/"))


def test_exactly_one_process_runs_a_scheduler(deployment: Deployment) -> None:
    scheduling = deployment.processes_that_schedule()
    assert len(scheduling) == 1
    assert psutil.Process(scheduling[0]).ppid() == deployment.master("scheduler")
    roles = {
        instance: psutil.Process(row["pid"]).environ()["ENABLE_SCHEDULER"]
        for instance, row in deployment.rows().items()
        if not instance.startswith("nginx")  # Nginx clears its environment
    }
    assert roles == {"web.1": "false", "scheduler.1": "true"}
    web_workers = psutil.Process(deployment.master("web")).children()
    assert len(web_workers) == 2


def test_a_built_in_job_shows_life_and_can_be_run_now(deployment: Deployment) -> None:
    def sampled() -> bool:
        runs = body(deployment.get("/api/v1/scheduler/runs?job_id=sample_host"))["data"]
        return any(run["state"] == "succeeded" for run in runs)

    wait_until(sampled, "sample_host has succeeded", 60, deployment.output)


@pytest.mark.parametrize("service", ["web", "scheduler", "nginx"])
def test_a_killed_master_comes_back_and_no_client_notices(deployment: Deployment, service: str) -> None:
    pid, before = deployment.master(service), deployment.tree()
    failures: list[str] = []
    statuses: list[int] = []
    done = threading.Event()

    def ask_all_the_time() -> None:
        while not done.is_set():
            for path in (HEALTH, JOBS):
                try:
                    statuses.append(deployment.get(path).status_code)
                except requests.RequestException as error:
                    failures.append(str(error))

    clients = [threading.Thread(target=ask_all_the_time) for _ in range(3)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: len(statuses) > 20, "clients are busy")
        os.kill(pid, signal.SIGKILL)
        deployment.until_replaced(service, pid)
        seen = len(statuses)
        wait_until(lambda: len(statuses) > seen + 20, "clients go on", explain=deployment.output)
    finally:
        done.set()
        for client in clients:
            client.join(60)
    assert not failures
    assert set(statuses) == {200}
    wait_until(lambda: len(deployment.processes_that_schedule()) == 1, "one scheduler is left")
    orphans = [process for process in before if process.pid != pid and alive(process.pid)]
    if service != "web":  # the old generation of the killed service is gone, the others are untouched
        wait_until(
            lambda: len([p for p in orphans if alive(p.pid)]) == len(before) - _size(service),
            f"the old {service} is gone",
            explain=deployment.output,
        )


def _size(service: str) -> int:
    """Processes of one generation: the master and its workers."""
    return {"web": 3, "scheduler": 2, "nginx": 1 + (os.cpu_count() or 1)}[service]


def test_all_three_masters_killed_in_turn_leave_nothing_on_a_port(deployment: Deployment) -> None:
    for service in ("web", "scheduler", "nginx"):
        pid = deployment.master(service)
        os.kill(pid, signal.SIGKILL)
        deployment.until_replaced(service, pid)
        assert deployment.get(JOBS).status_code == 200
    assert deployment.stop() == 0
    for port in (deployment.port, deployment.web_port, deployment.scheduler_port):
        with socket.create_server(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_with_0_and_leaves_no_process(deployment: Deployment, number: int) -> None:
    assert deployment.stop(number) == 0
    said = deployment.output()
    order = [said.index(f"{name}.1 has stopped") for name in ("nginx", "web")]
    assert order == sorted(order), "Nginx drains before web stops"


def test_a_request_for_the_scheduler_is_logged_once_and_no_probe_is(deployment: Deployment) -> None:
    assert deployment.get(f"{JOBS}?limit=3").status_code == 200
    assert requests.get(f"http://127.0.0.1:{deployment.scheduler_port}{JOBS}?limit=4", timeout=30).status_code == 200

    def lines(mark: str) -> list[str]:
        return [line.partition(" ")[0] for line in deployment.output().splitlines() if mark in line]

    # Gunicorn would have written the first before the second.
    wait_until(lambda: lines("limit=4"), "the request past Nginx is in the log", explain=deployment.output)
    wait_until(lambda: lines("limit=3"), "the request through Nginx is in the log", explain=deployment.output)
    assert (lines("limit=4"), lines("limit=3")) == (["scheduler.1"], ["nginx.1"])
    assert "whalefall-probe" not in deployment.output()


def test_status_logs_restart_and_stop_by_the_command_line(deployment: Deployment) -> None:
    table = deployment.whalefall("status")
    assert table.returncode == 0
    assert all(f"{name}.1" in table.stdout for name in ("nginx", "web", "scheduler"))
    for row in json.loads(deployment.whalefall("status", "--json").stdout)["instances"]:
        master, *workers = row["processes"]
        assert workers
        assert max(worker["age_s"] for worker in workers) <= master["age_s"] <= row["uptime_s"] + 0.1
    pid = deployment.master("web")
    assert deployment.whalefall("restart", "web").returncode == 0
    assert deployment.master("web") != pid
    assert "Listening at" in deployment.whalefall("logs", "web").stdout
    assert deployment.whalefall("health").returncode == 0
    assert deployment.whalefall("stop").returncode == 0
    assert deployment.wait() == 0
    assert deployment.whalefall("health").returncode == 1


def test_scale_events_and_why_by_the_command_line(deployment: Deployment) -> None:
    scaled = deployment.whalefall("scale", "web=2")
    assert scaled.returncode == 0, scaled
    assert {"web.1", "web.2"} <= deployment.rows().keys()
    assert deployment.rows()["web.2"]["state"] == "ready"
    refused = deployment.whalefall("scale", "scheduler=2")
    assert refused.returncode == 1
    assert "scheduler=2 is refused: two schedulers on one host would compete" in refused.stderr
    assert deployment.whalefall("reload").returncode == 0
    assert {"web.1", "web.2"} <= deployment.rows().keys(), "a reload keeps what was scaled"
    assert deployment.whalefall("scale", "web=1").returncode == 0
    assert "web.2" not in deployment.rows()
    pid = deployment.master("web")
    os.kill(pid, signal.SIGKILL)
    deployment.until_replaced("web", pid)
    assert "web.1 was killed by signal 9 (SIGKILL)" in deployment.whalefall("events").stdout
    report = deployment.whalefall("why", "web").stdout
    assert "web.1 was killed by signal 9 (SIGKILL)" in report
    assert "Booting worker" in report, "its last lines are in it"


BURNER = """
import pathlib, time
from flask import Flask
from whalefall import Scheduler
from whalefall.app import install

app = Flask(__name__)
app.secret_key = "burner"
scheduler = Scheduler(app)

@scheduler.task("interval", id="burn", seconds=3600)
def burn():
    "Keeps a processor busy for seconds."
    here = pathlib.Path(__file__).parent
    (here / "burning").write_text("yes")
    end = time.monotonic() + 60
    while not (here / "enough").exists() and time.monotonic() < end:
        sum(range(100_000))
    (here / "burnt").write_text("yes")

@scheduler.task("date", id="light", run_date="2020-01-01T00:00:00", catch_up="last")
def light():
    burn()

install(app)
"""


def test_while_a_job_burns_cpu_the_dashboard_keeps_answering(tmp_path: Path) -> None:
    (tmp_path / "burner.py").write_text(BURNER)
    (tmp_path / "Procfile").write_text(
        "nginx: python -m whalefall nginx\nweb: python -m whalefall web\nscheduler: python -m whalefall scheduler\n"
    )
    with Deployment(tmp_path, "burner:app") as deployment:
        deployment.until_ready()
        wait_until((tmp_path / "burning").exists, "the job burns", 60, deployment.output)
        assert [deployment.get("/dashboard").status_code for _ in range(20)] == [200] * 20
        assert not (tmp_path / "burnt").exists(), "all that while the job burnt"
        (tmp_path / "enough").write_text("yes")
        wait_until((tmp_path / "burnt").exists, "the job ends", 60, deployment.output)
        assert deployment.stop() == 0
