"""/metrics: parsed by Prometheus' own parser; routes as labels, never paths; for whoever may view."""

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.app.conftest import Visitor
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
    before = scrape(admin).get(("whalefall_job_runs_total", "job=greet", "state=cancelled"), 0)
    run_id = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"]
    admin.post(f"/api/v1/scheduler/runs/{run_id}/actions/cancel")
    found = scrape(admin)
    assert found["whalefall_jobs", "state=running"] == 5
    assert found["whalefall_job_runs_total", "job=greet", "state=cancelled"] == before + 1
    assert ("whalefall_job_runs_total", "job=fail", "state=failed") in found, "there before the first one fails"
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
