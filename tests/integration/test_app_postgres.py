"""The app on PostgreSQL: the same pages, the same API, the same sentences as on SQLite."""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from tests.support.databases import postgres, postgres_url  # noqa: F401 - fixtures
from tests.support.postgres import PostgresServer
from tests.support.waiting import wait_until
from tests.unit.app.conftest import PASSWORD, Visitor, make_app
from tests.unit.app.test_pages import PAGES, PANELS
from whalefall.app import create_app
from whalefall.app.store import attempts, users
from whalefall.errors import UsageError
from whalefall.scheduler import of
from whalefall.scheduler.ledger.engine import writing
from whalefall.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture
def app(tmp_path: Path, postgres_url: str) -> Iterator[Flask]:  # noqa: F811 - pytest's way
    app = make_app(tmp_path, database_url=postgres_url)
    yield app
    of(app).engine.dispose()


@pytest.fixture
def admin(app: Flask) -> Visitor:
    return Visitor(app).log_in("admin")


def test_everything_that_can_be_done_can_be_done_here(app: Flask, admin: Visitor) -> None:
    jobs = "/api/v1/scheduler/jobs"
    assert admin.put(f"{jobs}/greet", json={"cron_expression": "15 4 * * *"}).status_code == 200
    assert admin.post(f"{jobs}/fail/actions/pause", json={"reason": "鲸 🐋", "minutes": 30}).status_code == 200
    assert of(app).start()
    try:
        run_id = admin.post(f"{jobs}/greet/actions/run", json={"reason": "鲸"}).json["data"]["run_id"]
        address = f"/api/v1/scheduler/runs/{run_id}"
        wait_until(lambda: admin.get(address).json["data"]["state"] == "succeeded", "the run has succeeded")
        wait_until(lambda: admin.get("/api/v1/health").status_code == 200, "the scheduler is healthy")
        assert admin.get(address).json["data"]["output"] == "hello whale\n"
        for path in [*PAGES, *PANELS, f"/runs/{run_id}", "/scheduler?q=GREET", "/metrics"]:
            assert admin.get(path).status_code == 200, path
        for path in ("runs?job_id=greet", "fires", "state", "jobs/greet/fires"):
            assert admin.get(f"/api/v1/scheduler/{path}").status_code == 200
        # More than this one at a full minute: the built-in jobs fire, too.
        assert re.search(r"[1-9]\d*</strong> succeeded", admin.get("/scheduler").text)
    finally:
        of(app).stop(5)
    assert admin.post("/api/v1/users", json={"name": "ahab", "password": PASSWORD}).status_code == 200
    again = admin.post("/api/v1/users", json={"name": "ahab", "password": PASSWORD})
    assert (again.status_code, again.json["message_code"]) == (400, "VALIDATION_ERROR")
    token = admin.post("/api/v1/tokens", json={"name": "script", "role": "admin", "days": 1}).json["data"]
    bearer = {"Authorization": f"Bearer {token['secret']}"}
    assert Visitor(app).get("/api/v1/audit", headers=bearer).status_code == 200
    assert admin.post(f"/api/v1/tokens/{token['id']}/actions/revoke").status_code == 200
    assert Visitor(app).get("/api/v1/audit", headers=bearer).status_code == 401
    actions = [entry["action"] for entry in admin.get("/api/v1/audit").json["data"]]
    assert actions[:4] == ["token.revoke", "token.make", "user.add", "job.run"]


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_what_postgresql_cannot_store_is_refused_with_a_sentence(admin: Visitor, text: str) -> None:
    answer = admin.post("/api/v1/scheduler/jobs/greet/actions/pause", json={"reason": text})
    assert (answer.status_code, answer.json["message_code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("path", ["/runs?job_id=a%00b", "/runs?before=%00", "/scheduler?q=%00", "/login?next=%00"])
def test_no_address_brings_such_text_to_the_database(admin: Visitor, path: str) -> None:
    assert admin.get(path).status_code in (302, 400)
    assert admin.get(path.replace("/runs", "/api/v1/scheduler/runs")).status_code in (302, 400)
    for name in ("/runs/%00", "/scheduler/jobs/%00", "/setup/%00", "/processes/%00"):
        assert admin.get(name).status_code == 404


def test_nor_does_a_form(app: Flask) -> None:
    visitor = Visitor(app).with_token()
    form = {"csrf_token": visitor.token, "username": "a\0b", "password": "x"}
    assert visitor.post("/login", data=form).status_code == 400
    assert visitor.post("/api/v1/auth/login", data=form).status_code == 400


def test_wrong_passwords_lock_here_too(app: Flask) -> None:
    visitor = Visitor(app, "198.51.100.9").with_token()
    for _ in range(attempts.FAILURES_MAX):
        visitor.post("/api/v1/auth/login", json={"username": "admin", "password": "wrong password"})
    answer = visitor.post("/api/v1/auth/login", json={"username": "admin", "password": PASSWORD})
    assert answer.status_code == 429


def test_exactly_one_of_three_processes_prints_the_setup_link(
    tmp_path: Path,
    postgres_url: str,  # noqa: F811 - pytest's way
    capsys: pytest.CaptureFixture[str],
) -> None:
    settings = Settings(data_dir=str(tmp_path), run_dir=str(tmp_path), secret_key="k" * 40, database_url=postgres_url)
    apps = [create_app(settings) for _ in range(3)]
    assert len(re.findall(r"/setup/\S+", capsys.readouterr().err)) == 1
    for app in apps:
        of(app).engine.dispose()


def test_a_database_that_is_gone_is_503_and_basic_health_is_200(
    app: Flask,
    admin: Visitor,
    postgres: PostgresServer,  # noqa: F811 - pytest's way
) -> None:
    name = of(app).engine.url.database
    with postgres.connect("postgres") as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            _everything_says_so(admin)
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def _everything_says_so(admin: Visitor) -> None:
    assert admin.get("/api/v1/health/basic").status_code == 200
    assert admin.get("/api/v1/health/ready").status_code == 503
    for path in ("/api/v1/scheduler/jobs", "/api/v1/users"):
        answer = admin.get(path)
        assert (answer.status_code, answer.json["message_code"]) == (503, "DATABASE_UNAVAILABLE")
    page = admin.get("/scheduler")
    assert page.status_code == 503
    assert "Start it, or mend DATABASE_URL." in page.text


def test_two_administrators_cannot_take_the_role_from_one_another_at_once(
    app: Flask,
    postgres: PostgresServer,  # noqa: F811 - pytest's way
) -> None:
    """Two real connections: the second change waits for the first, and then sees that nobody else would be left."""
    engine = of(app).engine
    users.add(engine, "second", PASSWORD, "admin")
    refused: list[str] = []

    def demote_admin() -> None:
        try:
            users.set_role(engine, "admin", "view")
        except UsageError as error:
            refused.append(str(error))

    other = threading.Thread(target=demote_admin)
    with writing(engine) as connection:
        users.change_within(connection, "second", role="view")
        other.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = %s"
        with postgres.connect("postgres") as looking:
            wait_until(
                lambda: not other.is_alive() or looking.execute(waits, [engine.url.database]).fetchone()[0],
                "the other change waits for this one, or has passed it",
            )
    other.join(30)
    assert [user.name for user in users.everyone(engine) if user.role == "admin"] == ["admin"]
    assert "last administrator" in refused[0]
