"""`install` into somebody's own application, with everything that such an application may have already."""

import flask_login
import pytest
from flask import Flask, session
from flask_smorest import Api, Blueprint
from flask_wtf import CSRFProtect

from tests.unit.app.conftest import PASSWORD, Visitor, settings_for
from whalefall import Scheduler
from whalefall.app import install
from whalefall.app.store import tokens
from whalefall.scheduler import of


def work() -> None:
    """Nothing to do."""


class Person(flask_login.UserMixin):
    def __init__(self, name: str) -> None:
        self.id = name
        self.is_staff = name == "staff"


@pytest.fixture
def theirs(tmp_path):
    """Their login, their CSRF protection, their API, their 404, their `/`, their session cookie."""
    app = Flask("theirs")
    app.config.update(SECRET_KEY="their own secret", API_TITLE="their API", API_VERSION="1", OPENAPI_VERSION="3.0.3")
    app.config["WHALEFALL_ROLE_OF"] = lambda user: "admin" if user.is_staff else "view"
    Api(app).register_blueprint(Blueprint("orders", "orders", url_prefix="/api/v1/orders"))
    CSRFProtect(app)
    manager = flask_login.LoginManager(app)
    manager.user_loader(Person)
    app.register_error_handler(404, lambda _error: ("their own 404", 404))

    @app.get("/")
    def home() -> str:
        return "their home"

    @app.get("/as/<name>")
    def become(name: str) -> str:
        flask_login.login_user(Person(name))
        session["theirs"] = "kept"
        return name

    @app.post("/their-form")
    def form() -> str:
        return "done"

    scheduler = Scheduler()
    scheduler.init_app(app, settings_for(tmp_path))
    install(app, settings_for(tmp_path))
    yield app
    of(app).engine.dispose()


def test_their_addresses_errors_and_headers_stay_theirs(theirs) -> None:
    visitor = Visitor(theirs)
    assert visitor.get("/").text == "their home"
    assert "Content-Security-Policy" not in visitor.get("/").headers
    for path in ("/nothing", "/api/v1/orders/nothing", "/api/v2"):
        assert visitor.get(path).text == "their own 404"
    assert visitor.get("/api/v1/scheduler/nothing").json["message_code"] == "INVALID_REQUEST"
    assert theirs.config["SESSION_COOKIE_NAME"] == "session"


def test_a_slash_too_many_leads_to_our_page_unless_it_is_theirs(theirs) -> None:
    theirs.add_url_rule("/dashboard/", "their_dashboard", lambda: "their dashboard")
    visitor = Visitor(theirs)
    assert visitor.get("/scheduler/").headers["Location"] == "/scheduler"
    assert visitor.get("/dashboard/").text == "their dashboard"
    assert visitor.get("/nothing/").text == "their own 404"


def test_their_users_count_with_the_role_that_they_are_given(theirs) -> None:
    staff, other = Visitor(theirs), Visitor(theirs)
    staff.get("/as/staff")
    other.get("/as/someone")
    for visitor in (staff, other):
        visitor.with_token()
        assert visitor.get("/scheduler").status_code == 200
    assert staff.post("/api/v1/scheduler/jobs/actions/reload", json={}).status_code == 200
    assert other.post("/api/v1/scheduler/jobs/actions/reload", json={}).status_code == 403
    login = staff.post("/api/v1/auth/login", json={"username": "admin", "password": PASSWORD})
    assert login.status_code == 409
    assert "login of its own" in login.json["message"]


def test_nobody_is_shown_their_way_in(theirs) -> None:
    theirs.login_manager.login_view = "home"
    assert Visitor(theirs).get("/scheduler").headers["Location"].startswith("/?next=")


def test_without_a_rule_for_their_users_nobody_may_anything(theirs) -> None:
    del theirs.config["WHALEFALL_ROLE_OF"]
    visitor = Visitor(theirs)
    visitor.get("/as/staff")
    assert visitor.get("/api/v1/scheduler/jobs").status_code == 403


def test_their_csrf_protection_still_guards_their_forms_and_lets_our_tokens_in(theirs) -> None:
    visitor = Visitor(theirs)
    assert visitor.post("/their-form").status_code == 400
    secret = tokens.make(of(theirs).engine, "script", "admin", created_by="test", days=1)[1]
    answer = visitor.post(
        "/api/v1/scheduler/jobs/actions/reload", json={}, headers={"Authorization": f"Bearer {secret}"}
    )
    assert answer.status_code == 200
    assert visitor.post("/api/v1/scheduler/jobs/actions/reload", json={}).status_code == 401


def test_two_applications_in_one_process_do_not_mix(tmp_path) -> None:
    apps = []
    for name in ("one", "other"):
        app = Flask(name)
        scheduler = Scheduler()
        scheduler.init_app(app, settings_for(tmp_path / name))
        scheduler.task("cron", id=f"job_of_{name}", hour=1)(work)
        install(app, settings_for(tmp_path / name))
        of(app).reconcile()
        apps.append(app)
    for app, name in zip(apps, ("one", "other"), strict=True):
        jobs = Visitor(app).log_in("admin").get("/api/v1/scheduler/jobs").json["data"]
        assert [job["id"] for job in jobs] == [f"job_of_{name}"]
        of(app).engine.dispose()
