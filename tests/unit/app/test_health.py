"""Health: `basic` answers as long as the process can serve; the scheduler's trouble is a 503 where it belongs."""

import os
import signal

import pytest

from tests.support.supervised import Supervised, instance, python
from tests.support.waiting import wait_until
from tests.unit.app.conftest import Visitor
from whalefall import __version__
from whalefall.app.store.tables import users
from whalefall.errors import ControlError
from whalefall.scheduler import of


@pytest.mark.parametrize("path", ["ping", "live", "basic"])
@pytest.mark.parametrize("enable_scheduler", [True, False])
def test_a_process_that_can_serve_says_so_to_anybody(make, path, enable_scheduler) -> None:
    answer = Visitor(make(enable_scheduler=enable_scheduler)).get(f"/api/v1/health/{path}")
    assert answer.status_code == 200
    assert answer.json["success"] is True


def test_basic_has_the_fields_of_the_contract(stranger) -> None:
    data = stranger.get("/api/v1/health/basic").json["data"]
    assert data["status"] == "healthy"
    assert isinstance(data["timestamp"], float)
    assert data["version"] == __version__


def test_without_a_leader_only_the_schedulers_process_is_not_ready(make) -> None:
    scheduler, web = Visitor(make(enable_scheduler=True)), Visitor(make(enable_scheduler=False))
    answer = scheduler.get("/api/v1/health/ready")
    assert answer.status_code == 503
    assert "no scheduler has ever run" in answer.json["message"]
    assert web.get("/api/v1/health/ready").status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/health/detailed"])
def test_the_detailed_answer_of_any_process_tells_of_a_dead_scheduler(make, path) -> None:
    web = Visitor(make(enable_scheduler=False)).log_in("viewer")
    answer = web.get(path)
    assert answer.status_code == 503
    assert answer.json["message_code"] == "UNHEALTHY"
    assert answer.json["extra"]["components"]["scheduler"]["healthy"] is False
    assert answer.json["extra"]["components"]["database"]["healthy"] is True


def test_with_a_running_scheduler_everything_is_well(app) -> None:
    viewer = Visitor(app).log_in("viewer")
    assert of(app).start()
    try:
        wait_until(lambda: viewer.get("/api/v1/health/ready").status_code == 200, "the scheduler leads and ticks")
        data = viewer.get("/api/v1/health").json["data"]
    finally:
        of(app).stop(5)
    assert data["components"]["scheduler"] == {"healthy": True, "status": "running", "reason": ""}
    assert data["role"] == "scheduler"


def test_a_stopping_whalefall_is_not_ready_although_it_serves(make, tmp_path) -> None:
    """With a real supervisor that is in its drain delay."""
    data = tmp_path / "data"  # where the application looks, too
    sleeper = instance("a", python("import time; time.sleep(3600)"), data)
    with Supervised(data, sleeper, drain_delay_s=600) as above:
        above.until_ready()
        web = Visitor(make(enable_scheduler=False))
        assert web.get("/api/v1/health/ready").status_code == 200
        os.kill(above.pid, signal.SIGTERM)
        wait_until(lambda: web.get("/api/v1/health/ready").status_code == 503, "readiness says no", 20, above.output)
        answer = web.get("/api/v1/health/ready")
        assert answer.json["message"] == "supervisor: whalefall is stopping; send new requests elsewhere"
        assert web.get("/api/v1/health/basic").status_code == 200
        assert above.rows()["a.1"]["state"] == "ready"
        with pytest.raises(ControlError, match="whalefall is stopping"):
            above.ask("restart", "a")
        assert above.stop() == 0  # the second signal does not wait


def test_a_broken_database_is_a_sentence_not_a_crash(app, viewer) -> None:
    with of(app).engine.begin() as connection:
        users.drop(connection)
    answer = viewer.get("/api/v1/scheduler/jobs")
    assert answer.status_code == 503
    assert answer.json["message_code"] == "DATABASE_UNAVAILABLE"
    assert viewer.get("/api/v1/health/basic").status_code == 200
