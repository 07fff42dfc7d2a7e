"""An application written for Flask-APScheduler, with its import line changed."""

import base64
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED
from apscheduler.jobstores.base import ConflictingIdError, JobLookupError
from flask import Flask
from flask.testing import FlaskClient

from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import QUICK
from tests.support.waiting import wait_until
from whalefall.compat.flask_apscheduler import APScheduler
from whalefall.compat.flask_apscheduler.auth import HTTPBasicAuth
from whalefall.scheduler import of
from whalefall.scheduler.errors import InvalidArguments

NAME = f"{jobs.__name__}:note"
JOB = {"id": "job1", "func": NAME, "trigger": "interval", "minutes": 10}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    jobs.seen.clear()


@pytest.fixture
def app(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    monkeypatch.setenv("ENABLE_SCHEDULER", "true")
    app = Flask("old")
    app.config.update(QUICK, SCHEDULER_DATABASE_URL=sqlite_url, SCHEDULER_API_ENABLED=True, SCHEDULER_TIMEZONE="UTC")
    yield app
    if app.extensions:
        of(app).stop(1.0)
        of(app).ledger.engine.dispose()


@pytest.fixture
def scheduler(app: Flask) -> APScheduler:
    return APScheduler(app=app)


@pytest.fixture
def client(scheduler: APScheduler, app: Flask) -> FlaskClient:
    return app.test_client()


class TestInCode:
    def test_the_documented_example_runs(self, app: Flask) -> None:
        """Configuration class, decorator, init_app, start: as in its README."""
        app.config["JOBS"] = [
            {"id": "from_config", "func": NAME, "kwargs": {"where": "config"}, "trigger": "interval", "seconds": 1}
        ]
        scheduler = APScheduler()
        scheduler.task("interval", id="decorated", seconds=1, misfire_grace_time=900)(jobs.note)
        scheduler.init_app(app)
        scheduler.start()
        assert scheduler.running
        wait_until(lambda: {"config"} <= {call.get("where") for call in jobs.seen}, "the configured job ran")
        wait_until(lambda: any("where" not in call for call in jobs.seen), "the decorated job ran")
        assert {job.id for job in scheduler.get_jobs()} == {"from_config", "decorated"}
        assert scheduler.app is app
        assert app.apscheduler is scheduler

    def test_jobs_said_after_start_are_declared_too(self, scheduler: APScheduler) -> None:
        scheduler.start()
        wait_until(lambda: of(scheduler.app).runtime, "it has started")
        scheduler.task("interval", id="late", seconds=1)(jobs.note)
        wait_until(lambda: jobs.seen, "the late job ran")

    def test_defaults_of_the_configuration_count(self, app: Flask) -> None:
        app.config["SCHEDULER_JOB_DEFAULTS"] = {"coalesce": False, "max_instances": 3}
        job = APScheduler(app=app).add_job("a", jobs.note, trigger="cron", hour=1)
        assert (job.coalesce, job.max_instances, job.pending) == (False, 3, True)

    def test_a_process_without_the_role_starts_nothing(self, app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ENABLE_SCHEDULER", "false")
        scheduler = APScheduler(app=app)
        before = {thread.name for thread in threading.enumerate()}
        scheduler.start()
        assert not scheduler.running
        assert {thread.name for thread in threading.enumerate()} == before

    def test_other_hosts_may_not_start_it(self, app: Flask) -> None:
        app.config["SCHEDULER_ALLOWED_HOSTS"] = ["elsewhere"]
        scheduler = APScheduler(app=app)
        scheduler.start()
        assert not scheduler.running

    def test_listeners_hear_of_runs(self, scheduler: APScheduler) -> None:
        heard: list[tuple[int, str, Any]] = []
        scheduler.add_listener(
            lambda event: heard.append((event.code, event.job_id, event.exception)),
            EVENT_JOB_EXECUTED | EVENT_JOB_ERROR,
        )
        scheduler.add_job("good", jobs.note, trigger="interval", hours=1)
        scheduler.add_job("bad", jobs.fail, trigger="interval", hours=1)
        scheduler.start()
        wait_until(lambda: of(scheduler.app).runtime, "it has started")
        scheduler.run_job("good")
        scheduler.run_job("bad")
        wait_until(lambda: len(heard) == 2, "both were heard of")
        assert {(code, job) for code, job, _ in heard} == {(EVENT_JOB_EXECUTED, "good"), (EVENT_JOB_ERROR, "bad")}

    def test_a_listener_that_fails_is_logged_and_touches_no_run(
        self, scheduler: APScheduler, caplog: pytest.LogCaptureFixture
    ) -> None:
        def deaf(event: Any) -> None:
            raise OSError("not at home")

        scheduler.add_listener(deaf, EVENT_JOB_EXECUTED)
        scheduler.add_job("good", jobs.note, trigger="interval", hours=1)
        scheduler.start()
        wait_until(lambda: of(scheduler.app).runtime, "it has started")
        admin = of(scheduler.app).admin
        for _ in range(2):
            run_id = scheduler.run_job("good")
            wait_until(lambda run_id=run_id: admin.get_run(run_id).state == "succeeded", "it has ended well")
            assert f"a listener of run {run_id} failed" in caplog.text

    def test_verbs_on_jobs(self, scheduler: APScheduler) -> None:
        job = scheduler.add_job("a", jobs.note, trigger="cron", hour=1, name="A")
        assert (job.id, job.name, job.func, job.func_ref) == ("a", "A", jobs.note, NAME)
        assert scheduler.pause_job("a").next_run_time is None
        assert scheduler.resume_job("a").next_run_time is not None
        changed = scheduler.modify_job("a", trigger="cron", hour=5, name="B", kwargs={"x": 1})
        assert (changed.name, changed.kwargs, str(changed.trigger)) == (
            "B",
            {"x": 1},
            "cron[hour='5']",
        )
        assert changed.reschedule("interval", minutes=3).trigger.interval_length == 180
        for changes, sentence in (
            ({"kwargs": {"x": object()}}, "stored as JSON"),
            ({"func": f"{jobs.__name__}:fail"}, "unexpected keyword argument 'x'"),
        ):
            with pytest.raises(InvalidArguments, match=sentence):
                scheduler.modify_job("a", **changes)
        scheduler.remove_job("a")
        assert scheduler.get_job("a") is None
        for verb in (scheduler.remove_job, scheduler.pause_job, scheduler.run_job):
            with pytest.raises(JobLookupError):
                verb("a")
        with pytest.warns(DeprecationWarning, match="remove_all_jobs"):
            scheduler.delete_all_jobs()

    def test_pausing_everything(self, scheduler: APScheduler) -> None:
        scheduler.add_job("a", jobs.note, trigger="cron", hour=1)
        scheduler.start()
        wait_until(lambda: of(scheduler.app).runtime, "it has started")
        scheduler.pause()
        assert scheduler.state == 2
        scheduler.resume()
        assert scheduler.state == 1


class TestRest:
    """The routes, status codes and shapes of the original's own test suite."""

    def test_info(self, client: FlaskClient, scheduler: APScheduler) -> None:
        info = client.get("/scheduler").get_json()
        assert info == {"current_host": scheduler.host_name, "allowed_hosts": ["*"], "running": False}

    def test_add_get_conflict_delete(self, client: FlaskClient) -> None:
        added = client.post("/scheduler/jobs", json=JOB)
        assert added.status_code == 200, added.get_json()
        for name in ("id", "func", "trigger", "minutes"):
            assert added.get_json()[name] == JOB[name]
        assert client.post("/scheduler/jobs", json=JOB).status_code == 409
        assert client.get("/scheduler/jobs/job1").get_json() == added.get_json()
        assert [job["id"] for job in client.get("/scheduler/jobs").get_json()] == ["job1"]
        assert client.delete("/scheduler/jobs/job1").status_code == 204
        assert client.get("/scheduler/jobs/job1").status_code == 404
        assert client.delete("/scheduler/jobs/job1").status_code == 404

    def test_nonsense_is_500(self, client: FlaskClient) -> None:
        assert client.post("/scheduler/jobs", json={"id": None}).status_code == 500
        client.post("/scheduler/jobs", json=JOB)
        assert client.patch("/scheduler/jobs/job1", json={"trigger": "invalid_trigger"}).status_code == 500

    def test_update(self, client: FlaskClient) -> None:
        client.post("/scheduler/jobs", json=JOB)
        change = {"kwargs": {"x": 1}, "trigger": "cron", "minute": "*/1", "start_date": "2035-01-01"}
        found = client.patch("/scheduler/jobs/job1", json=change).get_json()
        assert (found["kwargs"], found["trigger"], found["minute"]) == ({"x": 1}, "cron", "*/1")
        assert found["start_date"] == found["next_run_time"] == "2035-01-01T00:00:00+00:00"
        assert client.patch("/scheduler/jobs/other", json=change).status_code == 404

    def test_pause_resume_run(self, client: FlaskClient) -> None:
        client.post("/scheduler/jobs", json=JOB)
        assert client.post("/scheduler/jobs/job1/pause").get_json()["next_run_time"] is None
        assert client.post("/scheduler/jobs/job1/resume").get_json()["next_run_time"] is not None
        assert client.post("/scheduler/jobs/job1/run").status_code == 200
        for verb in ("pause", "resume", "run"):
            assert client.post(f"/scheduler/jobs/other/{verb}").status_code == 404

    def test_added_jobs_survive_a_restart(self, client: FlaskClient, app: Flask, scheduler: APScheduler) -> None:
        client.post("/scheduler/jobs", json={**JOB, "trigger": "interval", "minutes": None, "seconds": 1})
        scheduler.start()
        wait_until(lambda: jobs.seen, "the added job runs")
        with app.test_request_context(), pytest.raises(ConflictingIdError):
            scheduler.add_job(**JOB)

    def test_prefixes(self, app: Flask) -> None:
        app.config.update(SCHEDULER_API_PREFIX="/api", SCHEDULER_ENDPOINT_PREFIX="jobs.")
        APScheduler(app=app)
        assert app.test_client().get("/api/jobs").status_code == 200
        assert "jobs.get_scheduler_info" in app.view_functions

    def test_without_an_auth_hook_only_this_machine_may(self, client: FlaskClient) -> None:
        assert client.get("/scheduler/jobs", environ_base={"REMOTE_ADDR": "10.0.0.7"}).status_code == 403
        assert client.get("/scheduler/jobs", headers={"X-Forwarded-For": "10.0.0.7"}).status_code == 403

    @pytest.mark.parametrize(
        ("credentials", "status"), [(b"test:test", 200), (b"guest:guest", 401), (b"none", 401), (None, 401)]
    )
    def test_basic_auth(self, app: Flask, credentials: bytes | None, status: int) -> None:
        scheduler = APScheduler()
        scheduler.auth = HTTPBasicAuth()
        scheduler.authenticate(lambda auth: (auth["username"], auth["password"]) == ("test", "test"))
        scheduler.init_app(app)
        headers = {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"} if credentials else {}
        answer = app.test_client().get("/scheduler", headers=headers, environ_base={"REMOTE_ADDR": "10.0.0.7"})
        assert answer.status_code == status
        if status == 401:
            assert answer.headers["WWW-Authenticate"] == 'Basic realm="Authentication Required"'
