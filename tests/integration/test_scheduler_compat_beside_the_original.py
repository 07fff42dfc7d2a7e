"""The drop-in beside the package that it replaces: every public name, every parameter, every answer of the REST API."""

import importlib
import inspect
import types
from collections.abc import Iterator
from typing import Any

import flask_apscheduler
import pytest
from flask import Config, Flask
from flask.testing import FlaskClient

from tests.integration import scheduled_jobs as jobs
from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
from tests.support.flaskapp import QUICK
from tests.support.waiting import wait_until
from whalefall.compat import flask_apscheduler as ours
from whalefall.compat.flask_apscheduler.auth import HTTPBasicAuth
from whalefall.scheduler import of

MODULES = ["", ".api", ".auth", ".json", ".scheduler", ".utils"]
# Its constructor's first argument is APScheduler's own scheduler: taken, and said to be of no use.
CONFIGURATION = {"SCHEDULER_API_ENABLED": True, "SCHEDULER_TIMEZONE": "UTC"}
WHO = {"REMOTE_ADDR": "127.0.0.1"}


def pair(module: str) -> tuple[types.ModuleType, types.ModuleType]:
    return importlib.import_module(f"flask_apscheduler{module}"), importlib.import_module(f"{ours.__name__}{module}")


def public(thing: Any, home: str) -> dict[str, Any]:
    """What a user may have imported or called: not the modules and names that it has from elsewhere."""
    return {
        name: value
        for name, value in vars(thing).items()
        if not name.startswith("_")
        and not isinstance(value, types.ModuleType)
        and getattr(value, "__module__", home).startswith(home)
    }


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_there_with_every_parameter(module: str) -> None:
    theirs, mine = pair(module)
    names = public(theirs, theirs.__name__)
    assert names, module
    for name, value in names.items():
        assert hasattr(mine, name), f"{module}.{name}"
        if inspect.isfunction(value):
            assert_takes(getattr(mine, name), value, f"{module}.{name}")
        if inspect.isclass(value):
            for member, there in public(value, theirs.__name__).items():
                if inspect.isfunction(there):
                    here = inspect.getattr_static(getattr(mine, name), member, None)
                    assert inspect.isfunction(here), f"{module}.{name}.{member}"
                    assert_takes(here, there, f"{module}.{name}.{member}")
                elif name != "APScheduler":  # whose properties are asked of an instance, below
                    assert hasattr(getattr(mine, name), member), f"{module}.{name}.{member}"
    states = ("STATE_PAUSED", "STATE_RUNNING", "STATE_STOPPED")
    assert module or [getattr(mine, name) for name in states] == [getattr(theirs, name) for name in states]


def assert_takes(here: Any, there: Any, where: str) -> None:
    """The original's parameters, in its order and with its defaults; more may follow."""
    mine, theirs = ([*inspect.signature(each).parameters.values()] for each in (here, there))
    for index, wanted in enumerate(theirs):
        assert index < len(mine), f"{where} has no {wanted.name}"
        assert (mine[index].name, mine[index].kind) == (wanted.name, wanted.kind), where
        if wanted.default is not wanted.empty:
            assert mine[index].default == wanted.default, f"{where}({wanted.name})"


def test_every_attribute_of_an_instance_is_there_with_its_value() -> None:
    theirs, mine = flask_apscheduler.APScheduler(), ours.APScheduler()
    for name, value in vars(theirs).items():
        if not name.startswith("_"):
            assert getattr(mine, name) == value, name
    for app, scheduler in ((Flask("theirs"), theirs), (Flask("mine"), mine)):
        scheduler.init_app(app)
    properties = [name for name, value in vars(type(theirs)).items() if isinstance(value, property)]
    assert {"host_name", "running", "scheduler", "state", "task"} <= {*properties}
    for name in properties:
        assert hasattr(mine, name), name
    assert (mine.host_name, mine.running, mine.state) == (theirs.host_name, theirs.running, theirs.state)


def make(kind: Any, url: str, **configuration: Any) -> tuple[Flask, Any]:
    app = Flask("shop")
    app.config.update(QUICK, SCHEDULER_DATABASE_URL=url, **CONFIGURATION, **configuration)
    scheduler = kind()
    scheduler.init_app(app)
    return app, scheduler


@pytest.fixture
def both(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FlaskClient]]:
    """The same application twice, one over each of the two."""
    monkeypatch.setenv("ENABLE_SCHEDULER", "true")
    jobs.seen.clear()
    (their_app, their_scheduler), (our_app, _) = (
        make(kind, sqlite_url) for kind in (flask_apscheduler.APScheduler, ours.APScheduler)
    )
    yield [their_app.test_client(), our_app.test_client()]
    if their_scheduler.running:
        their_scheduler.shutdown(wait=False)
    of(our_app).stop(1.0)
    of(our_app).ledger.engine.dispose()


class Overheard(Config):
    """A configuration that remembers what it was asked for."""

    asked: set[str]

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)


class ListeningFlask(Flask):
    config_class = Overheard


def test_every_key_of_the_configuration_that_the_original_reads_is_read(sqlite_url: str) -> None:
    asked: list[set[str]] = []
    for kind in (flask_apscheduler.APScheduler, ours.APScheduler):
        app = ListeningFlask("shop")
        app.config.asked = set()  # type: ignore[attr-defined]
        app.config.update(SCHEDULER_DATABASE_URL=sqlite_url, SCHEDULER_API_ENABLED=True)
        scheduler = kind()
        scheduler.init_app(app)
        if kind is ours.APScheduler:
            scheduler.add_job("a", jobs.talk, trigger="cron", hour=1)
        asked.append({key for key in app.config.asked if key.startswith("SCHEDULER_") or key == "JOBS"})  # type: ignore[attr-defined]
    theirs, mine = asked
    assert len(theirs) == 12
    assert theirs - mine == set()


def test_what_the_keys_mean(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    class Doorkeeper(HTTPBasicAuth):
        www_authenticate_realm = "the yard"

    app = Flask("shop")
    app.config.update(
        SCHEDULER_DATABASE_URL=sqlite_url,
        SCHEDULER_VIEWS_ENABLED=True,  # the older name of SCHEDULER_API_ENABLED
        SCHEDULER_TIMEZONE="Asia/Tokyo",
        SCHEDULER_AUTH=Doorkeeper(),
        SCHEDULER_EXECUTORS={"default": {"type": "threadpool", "max_workers": 3}},
        SCHEDULER_JOBSTORES={"default": "what was there before"},
        SCHEDULER_JOBS=[{"id": "mine", "func": jobs.talk, "trigger": "cron", "hour": 1}],
        JOBS=[{"id": "not", "func": jobs.talk, "trigger": "cron", "hour": 1}],
    )
    scheduler = ours.APScheduler(app=app)
    [job] = scheduler.get_jobs()
    assert job.id == "mine"
    assert str(job.trigger.timezone) == "Asia/Tokyo"
    assert of(app).tuning.threads == 3
    assert "SCHEDULER_JOBSTORES is not used" in caplog.text
    answer = app.test_client().get("/scheduler", environ_overrides=WHO)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Basic realm="the yard"')
    of(app).ledger.engine.dispose()


INTERVAL = {"id": "a", "func": f"{jobs.__name__}:talk", "trigger": "interval", "hours": 3, "minutes": 10}
CRON = {"id": "b", "func": f"{jobs.__name__}:talk", "trigger": {"type": "cron", "day_of_week": "0-4", "hour": 6}}
DATE = {"id": "c", "func": f"{jobs.__name__}:talk", "trigger": "date", "run_date": "2035-01-01T12:00:00"}
CONVERSATION: list[tuple[str, str, Any]] = [
    ("GET", "", None),
    ("GET", "/jobs", None),
    ("POST", "/shutdown", None),  # it does not run yet
    ("POST", "/start", None),
    ("POST", "/start", None),  # it runs already
    ("GET", "", None),
    ("POST", "/jobs", INTERVAL),
    ("POST", "/jobs", INTERVAL),
    ("POST", "/jobs", CRON),
    ("POST", "/jobs", DATE),
    ("POST", "/jobs", {"id": "d"}),
    ("POST", "/jobs", {"id": "d", "func": "no_such_module:work", "trigger": "date"}),
    ("POST", "/jobs", {"id": "d", "func": f"{jobs.__name__}:talk", "trigger": "moon"}),
    ("POST", "/jobs", {"id": "d", "func": f"{jobs.__name__}:talk", "trigger": "date", "args": [1]}),
    ("GET", "/jobs/a", None),
    ("GET", "/jobs/b", None),
    ("GET", "/jobs/c", None),
    ("GET", "/jobs/nobody", None),
    ("PATCH", "/jobs/a", {"trigger": "interval", "seconds": 90}),
    ("PATCH", "/jobs/a", {"name": "A", "max_instances": 4, "misfire_grace_time": 30}),
    ("PATCH", "/jobs/a", {"args": [1]}),
    ("PATCH", "/jobs/a", {"trigger": "moon"}),
    ("PATCH", "/jobs/a", {"surprise": 1}),
    ("PATCH", "/jobs/nobody", {"name": "A"}),
    ("POST", "/jobs/a/pause", None),
    ("POST", "/jobs/a/resume", None),
    ("POST", "/jobs/nobody/pause", None),
    ("POST", "/jobs/nobody/resume", None),
    ("POST", "/jobs/nobody/run", None),
    ("POST", "/pause", None),
    ("POST", "/resume", None),
    ("DELETE", "/jobs/b", None),
    ("DELETE", "/jobs/b", None),
    ("GET", "/jobs/b", None),
    ("POST", "/shutdown", {"wait": False}),
    ("GET", "", None),
    ("PUT", "/jobs/a", None),
    ("GET", "/nowhere", None),
]
# Said in docs/how-to/move-from-flask-apscheduler.md, or times that depend on when the test runs.
DIFFERENT = {"error_message", "next_run_time", "start_date", "misfire_grace_time", "day_of_week"}


def test_the_rest_api_answers_the_same(both: list[FlaskClient]) -> None:
    for method, path, body in CONVERSATION:
        theirs, mine = (
            client.open(f"/scheduler{path}", method=method, json=body, environ_overrides=WHO) for client in both
        )
        said = (method, path, body, theirs.get_data(), mine.get_data())
        assert mine.status_code == theirs.status_code, said
        assert mine.mimetype == theirs.mimetype, said
        if theirs.mimetype == "application/json":
            assert plain(mine.get_json()) == plain(theirs.get_json()), said


def plain(answer: Any) -> Any:
    """Without the values that may differ; their names stay."""
    if isinstance(answer, list):
        return sorted((plain(each) for each in answer), key=lambda each: each["id"])
    return {name: ... if name in DIFFERENT else value for name, value in answer.items()}


def test_a_job_that_both_run(both: list[FlaskClient]) -> None:
    for client in both:
        jobs.seen.clear()
        body = {**INTERVAL, "func": f"{jobs.__name__}:remember", "hours": 0, "minutes": 0, "seconds": 1, "args": ["x"]}
        assert client.post("/scheduler/start", environ_overrides=WHO).status_code == 204
        assert client.post("/scheduler/jobs", json=body, environ_overrides=WHO).status_code == 200
        wait_until(lambda: jobs.seen[:2] == ["x", "x"], f"{client.application} ran it twice")
        assert client.post("/scheduler/shutdown", environ_overrides=WHO).status_code == 204


def test_the_original_lets_anybody_in_and_ours_this_machine_only(both: list[FlaskClient]) -> None:
    """Each route, asked from elsewhere: where the original would run whatever it is told."""
    theirs, mine = both
    elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
    asked = 0
    for rule in mine.application.url_map.iter_rules():
        if not rule.rule.startswith("/scheduler"):
            continue
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = rule.rule.replace("<job_id>", "a")
            for client, refused in ((theirs, False), (mine, True)):
                answer = client.open(path, method=method, json={}, environ_overrides=elsewhere)
                assert (answer.status_code == 403) is refused, (method, path, answer.status_code)
            for header in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
                through = mine.open(path, method=method, json={}, environ_overrides=WHO, headers={header: "192.0.2.7"})
                assert through.status_code == 403, "a proxy on this machine does not make the visitor local"
            assert mine.open(path, method=method, json={}, environ_overrides=WHO).status_code != 403
            asked += 1
    assert asked == 13
