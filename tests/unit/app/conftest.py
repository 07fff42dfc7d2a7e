"""A real application on a real ledger in a temporary SQLite file; migrated once, then copied for each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from whalefall import Scheduler
from whalefall.app import create_app
from whalefall.app.store import sessions, users
from whalefall.scheduler import of
from whalefall.settings import Settings

PASSWORD = "correct horse battery"
FAR_AWAY = "203.0.113.9"


def greet(name: str = "world") -> None:
    """Says hello to somebody."""
    print(f"hello {name}")  # noqa: T201


def fail() -> None:
    """Always fails."""
    raise ValueError("as it was told to")


def settings_for(directory: Path, **changes: Any) -> Settings:
    return Settings(
        data_dir=str(directory),
        run_dir=str(directory / "run"),
        secret_key="a key that only the tests know",
        admin_password=PASSWORD,
        **changes,
    )


def make_app(directory: Path, **changes: Any) -> Flask:
    """The built-in application with two more jobs, its ledger reconciled as a scheduler's start does."""
    app = create_app(settings_for(directory, **changes))
    extra = Scheduler()
    extra.task("cron", id="greet", name="Greet", minute=30, hour=2, kwargs={"name": "whale"})(greet)
    extra.task("interval", id="fail", minutes=5)(fail)
    of(app).declarations.update(extra.declarations)
    of(app).reconcile()
    return app


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("template")
    app = make_app(directory)
    with app.app_context():
        users.add(of(app).engine, "viewer", PASSWORD, "view")
    of(app).engine.dispose()
    return directory


@pytest.fixture
def make(template: Path, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Applications on one copy of the template: several of them are several processes of one site."""
    made: list[Flask] = []
    data = tmp_path / "data"
    shutil.copytree(template, data)

    def build(**changes: Any) -> Flask:
        app = make_app(data, **changes)
        made.append(app)
        return app

    yield build
    for app in made:
        of(app).engine.dispose()


@pytest.fixture(scope="module")
def shared(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One application for a module's tests that only look."""
    data = tmp_path_factory.mktemp("shared") / "data"
    shutil.copytree(template, data)
    app = make_app(data)
    yield app
    of(app).engine.dispose()


@pytest.fixture(scope="module")
def looking_admin(shared: Flask) -> "Visitor":
    return as_user(shared, "admin")


@pytest.fixture
def app(make: Callable[..., Flask]) -> Flask:
    return make()


class Visitor:
    """A browser or a script: keeps its cookies, and its CSRF token when it has asked for one."""

    def __init__(self, app: Flask, address: str = FAR_AWAY, host: str = "whale.example") -> None:
        self.app = app
        self.client: FlaskClient = app.test_client()
        self.environ = {"REMOTE_ADDR": address}
        self.base_url = f"http://{host}"
        self.token = ""

    def ask(self, method: str, path: str, **options: Any) -> Any:
        headers = dict(options.pop("headers", {}))
        if self.token and method not in ("GET", "HEAD") and "X-CSRFToken" not in headers:
            headers["X-CSRFToken"] = self.token
        environ = self.environ | options.pop("environ", {})
        return self.client.open(  # buffered: a file that is sent is closed again
            path,
            method=method,
            headers=headers,
            environ_overrides=environ,
            base_url=self.base_url,
            buffered=True,
            **options,
        )

    def get(self, path: str, **options: Any) -> Any:
        return self.ask("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        return self.ask("POST", path, **options)

    def put(self, path: str, **options: Any) -> Any:
        return self.ask("PUT", path, **options)

    def with_token(self) -> "Visitor":
        self.token = self.get("/api/v1/auth/csrf-token").json["data"]["csrf_token"]
        return self

    def log_in(self, name: str, password: str = PASSWORD) -> "Visitor":
        answer = self.with_token().post("/api/v1/auth/login", json={"username": name, "password": password})
        assert answer.status_code == 200, answer.json
        self.token = answer.json["data"]["csrf_token"]
        return self


def as_user(app: Flask, name: str) -> Visitor:
    """A visitor with the session that a login would have made; test_login.py shows that it does."""
    visitor = Visitor(app)
    with app.app_context():
        key = sessions.begin(of(app).engine, users.by_name(of(app).engine, name))
    domain = visitor.base_url.removeprefix("http://")
    with visitor.client.session_transaction(base_url=visitor.base_url) as session:
        session.update(_user_id=key, _fresh=True, _permanent=True)
    assert visitor.client.get_cookie("whalefall_session", domain=domain)
    return visitor.with_token()


@pytest.fixture
def stranger(app: Flask) -> Visitor:
    return Visitor(app)


@pytest.fixture
def local(app: Flask) -> Visitor:
    return Visitor(app, "127.0.0.1", "localhost")


@pytest.fixture
def viewer(app: Flask) -> Visitor:
    return as_user(app, "viewer")


@pytest.fixture
def admin(app: Flask) -> Visitor:
    return as_user(app, "admin")
