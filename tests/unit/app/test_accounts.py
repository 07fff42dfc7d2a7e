"""Users, API tokens, the first administrator, and the functions behind `whalefall users`."""

import dataclasses
import re
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import update

from tests.unit.app.conftest import PASSWORD, Visitor, settings_for
from whalefall.app import commands, create_app
from whalefall.app.store import setup, users
from whalefall.app.store.tables import api_tokens
from whalefall.errors import UsageError
from whalefall.scheduler import of
from whalefall.settings import Settings


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Settings:
    """A site that was never started."""
    monkeypatch.delenv("WHALEFALL_URL", raising=False)
    return Settings(data_dir=str(tmp_path), run_dir=str(tmp_path), secret_key="k" * 40, port=5000)


def test_of_all_processes_that_start_first_exactly_one_prints_the_link(empty, capsys) -> None:
    apps = [create_app(empty) for _ in range(3)]
    printed = re.findall(r"http://localhost:5000/setup/(\S+)", capsys.readouterr().err)
    assert len(printed) == 1
    visitor = Visitor(apps[2])
    page = visitor.get(f"/setup/{printed[0]}")
    assert page.status_code == 200
    token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]
    form = {"csrf_token": token, "username": "Ishmael", "password": PASSWORD, "repeat": PASSWORD}
    answer = visitor.post(f"/setup/{printed[0]}", data=form)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/dashboard")
    session = visitor.get("/api/v1/auth/session").json["data"]
    assert session["user"]["username"] == "ishmael"
    assert session["permissions"] == ["view", "admin"]
    # Once only.
    assert Visitor(apps[0]).get(f"/setup/{printed[0]}").status_code == 404
    for app in apps:
        of(app).engine.dispose()


def test_a_later_start_prints_no_second_link_while_the_first_one_works(empty, capsys) -> None:
    engine = of(create_app(empty)).engine
    assert "/setup/" in capsys.readouterr().err
    create_app(empty)
    assert "/setup/" not in capsys.readouterr().err
    link = commands.new_setup_link(empty)
    assert setup.is_valid(engine, link.rpartition("/")[2])
    engine.dispose()


def test_the_link_is_dead_as_soon_as_there_is_a_user(empty, capsys) -> None:
    app = create_app(empty)
    engine = of(app).engine
    token = re.findall(r"/setup/(\S+)", capsys.readouterr().err)[0]
    users.add(engine, "ahab", PASSWORD, "admin")
    assert Visitor(app).get(f"/setup/{token}").status_code == 404
    with pytest.raises(UsageError, match="was used or has expired"):
        setup.use_link(engine, token, "mallory", PASSWORD)
    engine.dispose()


@pytest.mark.parametrize(
    ("slip", "complaint"),
    [
        (("ishmael", "short", "short"), "too short"),
        (("", PASSWORD, PASSWORD), "no user name"),
        (("<script>", PASSWORD, PASSWORD), "no user name"),
        (("ishmael", PASSWORD, "another"), "passwords differ"),
    ],
)
def test_a_slip_on_the_setup_page_does_not_use_the_link_up(empty, capsys, slip, complaint) -> None:
    app = create_app(empty)
    link = re.search(r"/setup/(\S+)", capsys.readouterr().err)[1]
    visitor = Visitor(app)
    token = re.search(r'name="csrf_token" value="([^"]+)"', visitor.get(f"/setup/{link}").text)[1]
    form = {"csrf_token": token, **dict(zip(("username", "password", "repeat"), slip, strict=True))}
    answer = visitor.post(f"/setup/{link}", data=form)
    assert answer.status_code == 400
    assert complaint in answer.text
    assert visitor.get(f"/setup/{link}").status_code == 200
    of(app).engine.dispose()


def test_there_is_no_default_password_and_a_given_one_makes_admin(empty, tmp_path, capsys) -> None:
    app = create_app(empty)
    assert users.lacks_admin(of(app).engine)
    of(app).engine.dispose()
    other = create_app(settings_for(tmp_path / "other"))
    assert [(user.name, user.role) for user in users.everyone(of(other).engine)] == [("admin", "admin")]
    of(other).engine.dispose()


def test_a_first_user_who_may_only_look_leaves_the_link_for_the_administrator(empty, capsys) -> None:
    commands.add_user(empty, "admin", PASSWORD, "view")
    settings = dataclasses.replace(empty, admin_password="a password of the environment")  # its name is taken
    app = create_app(settings)
    printed = capsys.readouterr().err
    assert "No administrator exists yet. " in printed
    link = re.search(r"/setup/(\S+)", printed)[1]
    assert setup.use_link(of(app).engine, link, "ahab", PASSWORD).role == "admin"
    assert not setup.is_valid(of(app).engine, link)
    of(app).engine.dispose()


def test_users_can_be_managed_without_a_running_site(template, tmp_path) -> None:
    shutil.copytree(template, tmp_path / "data")
    settings = settings_for(tmp_path / "data")
    commands.add_user(settings, "Queequeg", PASSWORD, "view")
    assert [user.name for user in commands.list_users(settings)] == ["admin", "queequeg", "viewer"]
    commands.set_password(settings, "queequeg", "a different password")
    app = create_app(settings)
    assert Visitor(app).log_in("queequeg", "a different password")
    with pytest.raises(UsageError, match="already a user 'queequeg'"):
        commands.add_user(settings, "queequeg", PASSWORD)
    with pytest.raises(UsageError, match="no user 'ahab'"):
        commands.set_password(settings, "ahab", PASSWORD)
    with pytest.raises(UsageError, match="There is an administrator already"):
        commands.new_setup_link(settings)
    of(app).engine.dispose()


def test_administrators_add_change_and_disable_users(app, admin) -> None:
    made = admin.post("/api/v1/users", json={"name": "Starbuck", "password": PASSWORD}).json["data"]
    assert (made["name"], made["role"], made["is_enabled"]) == ("starbuck", "view", True)
    starbuck = Visitor(app).log_in("starbuck")
    assert admin.put("/api/v1/users/starbuck", json={"role": "admin"}).json["data"]["role"] == "admin"
    assert starbuck.get("/api/v1/users").status_code == 401  # the old session ended with the old role
    assert admin.put("/api/v1/users/starbuck", json={"is_enabled": False}).json["data"]["is_enabled"] is False
    refused = Visitor(app).with_token().post("/api/v1/auth/login", json={"username": "starbuck", "password": PASSWORD})
    assert refused.status_code == 401


@pytest.mark.parametrize("change", [{"role": "view"}, {"is_enabled": False}])
def test_the_last_administrator_cannot_be_taken_away(admin, change) -> None:
    answer = admin.put("/api/v1/users/admin", json=change)
    assert answer.status_code == 400
    assert "last administrator" in answer.json["message"]
    assert admin.get("/api/v1/users").status_code == 200


def make_token(admin: Visitor, **body: object) -> dict:
    return admin.post("/api/v1/tokens", json={"name": "deploy script", **body}).json["data"]


def test_a_token_acts_with_its_role_without_cookie_or_csrf(app, admin) -> None:
    bearer = {"Authorization": f"Bearer {make_token(admin, role='admin')['secret']}"}
    script = Visitor(app)
    assert script.post("/api/v1/scheduler/jobs/greet/actions/pause", json={}, headers=bearer).status_code == 200
    assert admin.get("/api/v1/audit").json["data"][0]["actor"] == "admin/deploy script"
    reader = {"Authorization": f"Bearer {make_token(admin, role='view')['secret']}"}
    assert script.get("/api/v1/scheduler/jobs", headers=reader).status_code == 200
    assert script.post("/api/v1/scheduler/jobs/greet/actions/pause", json={}, headers=reader).status_code == 403


@pytest.mark.parametrize(("change", "read", "write"), [({"is_enabled": False}, 401, 401), ({"role": "view"}, 200, 403)])
def test_a_token_can_do_no_more_than_who_made_it_can_do_now(app, admin, change, read, write) -> None:
    users.add(of(app).engine, "maker", PASSWORD, "admin")
    maker = Visitor(app).log_in("maker")
    bearer = {"Authorization": f"Bearer {make_token(maker, role='admin')['secret']}"}
    script = Visitor(app)
    pause = "/api/v1/scheduler/jobs/greet/actions/pause"
    assert script.post(pause, json={}, headers=bearer).status_code == 200
    child = script.post("/api/v1/tokens", json={"name": "child", "role": "admin"}, headers=bearer).json["data"]
    assert admin.put("/api/v1/users/maker", json=change).status_code == 200
    of_child = {"Authorization": f"Bearer {child['secret']}"}
    assert script.post(pause, json={}, headers=of_child).status_code == write
    assert script.get("/api/v1/scheduler/jobs", headers=bearer).status_code == read
    assert script.post(pause, json={}, headers=bearer).status_code == write


def test_another_scheme_than_bearer_is_the_business_of_a_proxy_in_front(admin) -> None:
    basic = {"Authorization": "Basic c2l0ZTpwYXNz"}
    assert admin.get("/api/v1/scheduler/jobs", headers=basic).status_code == 200


def test_a_tokens_secret_is_shown_once_and_kept_only_as_a_hash(app, admin) -> None:
    secret = make_token(admin)["secret"]
    assert secret.startswith("whf_")
    assert secret not in admin.get("/api/v1/tokens").text
    assert secret not in admin.get("/tokens").text
    with of(app).engine.connect() as connection:
        assert secret not in str(connection.execute(api_tokens.select()).all())


def test_a_revoked_expired_or_invented_token_is_refused_even_from_this_machine(app, admin, local) -> None:
    revoked, expired = make_token(admin), make_token(admin, days=1)
    admin.post(f"/api/v1/tokens/{revoked['id']}/actions/revoke", json={})
    with of(app).engine.begin() as connection:
        past = datetime.now(UTC) - timedelta(seconds=1)
        connection.execute(update(api_tokens).where(api_tokens.c.id == expired["id"]).values(expires_at=past))
    for secret in (revoked["secret"], expired["secret"], "whf_invented", "", "Basic"):
        answer = local.get("/api/v1/scheduler/jobs", headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code == 401


def test_a_token_cannot_change_a_password(app, admin) -> None:
    bearer = {"Authorization": f"Bearer {make_token(admin, role='admin')['secret']}"}
    body = {"current_password": PASSWORD, "new_password": "another long password"}
    assert Visitor(app).post("/api/v1/auth/password", json=body, headers=bearer).status_code == 409


def test_the_audit_trail_is_paged_by_key(admin) -> None:
    for _ in range(4):
        admin.post("/api/v1/scheduler/jobs/greet/actions/pause", json={})
    first = admin.get("/api/v1/audit?limit=2").json
    second = admin.get(f"/api/v1/audit?limit=2&before={first['meta']['next']}").json
    ids = [entry["id"] for entry in first["data"] + second["data"]]
    assert ids == sorted(ids, reverse=True)
    assert len(set(ids)) == 4
