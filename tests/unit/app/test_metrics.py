"""/metrics: parsed by Prometheus' own parser; routes as labels, never paths; for whoever may view."""

import os
import subprocess
import sys

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.app.conftest import Visitor
from whalefall.app import metrics
from whalefall.scheduler import of


def scrape(visitor: Visitor) -> dict[tuple[str, ...], float]:
    answer = visitor.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, *[f"{name}={value}" for name, value in sorted(sample.labels.items())]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_jobs_runs_and_the_schedulers_health_are_there(app, admin) -> None:
    run_id = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"]
    admin.post(f"/api/v1/scheduler/runs/{run_id}/actions/cancel")
    found = scrape(admin)
    assert found["whalefall_jobs", "state=running"] == 5
    assert found["whalefall_job_runs_last_hour", "job=greet", "state=cancelled"] == 1
    assert found["whalefall_scheduler_healthy",] == 0
    assert found["whalefall_up", "part=scheduler"] == 1
    assert found["whalefall_up", "part=supervisor"] == 0
    job = of(app).admin.get_job("greet")
    assert found["whalefall_job_next_fire_timestamp_seconds", "job=greet"] == job.next_run_time.timestamp()


def test_requests_are_counted_by_route_so_that_paths_make_no_series(admin) -> None:
    route = ("whalefall_http_requests_total", "method=GET", "route=/scheduler/jobs/<job_id>", "status=404")
    before = scrape(admin).get(route, 0)
    for number in range(3):
        admin.get(f"/scheduler/jobs/invented-{number}")
        admin.ask("BREW", f"/invented/{number}")
    found = scrape(admin)
    assert found[route] == before + 3
    assert not [key for key in found if "invented" in str(key) or "BREW" in str(key)]
    assert found["whalefall_http_request_duration_seconds_count", "route=/scheduler/jobs/<job_id>"] >= 3


def test_metrics_are_for_whoever_may_view(stranger, local) -> None:
    assert stranger.get("/metrics").status_code == 401
    assert local.get("/metrics").status_code == 200


def test_counts_of_several_processes_are_summed_and_old_files_do_not_pile_up(tmp_path) -> None:
    code = (
        "from whalefall.app import metrics; from prometheus_client import generate_latest; import sys;"
        "metrics._requests.labels('GET', '/x', '200').inc(); import os; print(os.getpid())"
    )
    environ = {**os.environ, "WHALEFALL_LIFE": "web.1#1", "RUN_DIR": str(tmp_path)}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code], env=environ, check=True, capture_output=True)
    summing = (
        "from whalefall.app.metrics import *; from prometheus_client import CollectorRegistry, generate_latest;"
        "from prometheus_client.multiprocess import MultiProcessCollector as C; import os; r = CollectorRegistry();"
        "C(r, os.environ['PROMETHEUS_MULTIPROC_DIR']); print(generate_latest(r).decode())"
    )
    told = subprocess.run([sys.executable, "-c", summing], env=environ, check=True, capture_output=True, text=True)
    assert 'whalefall_http_requests_total{method="GET",route="/x",status="200"} 2.0' in told.stdout
    directory = tmp_path / "metrics"
    for number in range(metrics.DEAD_FILES_MAX + 20):
        (directory / f"counter_{99_000_000 + number}.db").write_bytes(b"")
    metrics._forget_the_dead(directory)
    assert len(list(directory.glob("*.db"))) == metrics.DEAD_FILES_MAX
