"""Sessions: CSRF, fixation, lockout, where one is sent, and what ends a session."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update

from tests.unit.app.conftest import FAR_AWAY, PASSWORD, Visitor
from whalefall.app.store import attempts, tables, users
from whalefall.scheduler import of


def test_a_login_answers_with_the_session_and_its_new_token(stranger) -> None:
    before = stranger.with_token().token
    answer = stranger.post("/api/v1/auth/login", json={"username": "admin", "password": PASSWORD})
    data = answer.json["data"]
    assert data["authenticated"] is True
    assert data["auth_model"] == "session"
    assert data["permissions"] == ["view", "admin"]
    assert data["user"]["username"] == "admin"
    assert data["csrf_token"] != before


def test_the_session_cookie_has_its_name_and_flags(stranger) -> None:
    answer = stranger.with_token().post("/api/v1/auth/login", json={"username": "admin", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("whalefall_session=")
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie


def test_behind_tls_the_cookie_is_secure(app) -> None:
    visitor = Visitor(app, "127.0.0.1", "whale.example")
    headers = {"X-Forwarded-For": FAR_AWAY, "X-Forwarded-Proto": "https"}
    answer = visitor.get("/api/v1/auth/csrf-token", headers=headers)
    assert "Secure" in answer.headers["Set-Cookie"]
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_session_and_token_of_one_process_work_in_the_other(make) -> None:
    web, scheduler = make(enable_scheduler=False), make(enable_scheduler=True)
    visitor = Visitor(web).log_in("admin")
    other = Visitor(scheduler)
    other.token = visitor.token
    cookie = visitor.client.get_cookie("whalefall_session", domain="whale.example")
    other.client.set_cookie("whalefall_session", cookie.value, domain="whale.example")
    assert other.post("/api/v1/scheduler/jobs/greet/actions/pause", json={}).status_code == 200


def test_a_session_from_before_the_login_is_thrown_away(app, stranger) -> None:
    """Session fixation: whatever an attacker planted in the cookie is gone after the login."""
    stranger.with_token()
    planted = stranger.token
    stranger.log_in("admin")
    answer = stranger.post("/api/v1/scheduler/jobs/greet/actions/pause", json={}, headers={"X-CSRFToken": planted})
    assert answer.status_code == 403
    assert answer.json["message_code"] == "CSRF_INVALID"


def test_another_sites_form_is_refused_even_with_a_token(admin) -> None:
    answer = admin.post("/api/v1/auth/logout", headers={"Sec-Fetch-Site": "cross-site"}, json={})
    assert answer.json["message_code"] == "CSRF_INVALID"


def test_wrong_name_and_wrong_password_sound_the_same(stranger) -> None:
    stranger.with_token()
    answers = [
        stranger.post("/api/v1/auth/login", json={"username": name, "password": "wrong password"})
        for name in ("admin", "nobody")
    ]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].json["message"] == answers[1].json["message"]


def test_after_five_wrong_passwords_the_right_one_has_to_wait(app, stranger) -> None:
    stranger.with_token()
    for _ in range(attempts.FAILURES_MAX):
        stranger.post("/api/v1/auth/login", json={"username": "admin", "password": "wrong password"})
    answer = stranger.post("/api/v1/auth/login", json={"username": "admin", "password": PASSWORD})
    assert answer.status_code == 429
    assert answer.json["message_code"] == "RATE_LIMITED"
    assert 0 < int(answer.headers["Retry-After"]) <= attempts.LOCKOUT.total_seconds()
    # A stranger cannot lock the administrator out from elsewhere.
    assert Visitor(app, "198.51.100.7").log_in("admin").get("/users").status_code == 200


def test_one_address_cannot_try_name_after_name(stranger) -> None:
    stranger.with_token()
    answers = [
        stranger.post("/api/v1/auth/login", json={"username": f"user{number}", "password": "wrong password"})
        for number in range(attempts.RATE_MAX + 1)
    ]
    assert [answer.status_code for answer in answers] == [401] * attempts.RATE_MAX + [429]


def test_a_whole_office_can_log_in_from_behind_one_address(app) -> None:
    for _ in range(attempts.RATE_MAX + 2):
        Visitor(app).log_in("viewer")


def test_an_invented_forwarding_header_is_no_way_around_the_limit(stranger) -> None:
    stranger.with_token()
    for number in range(attempts.FAILURES_MAX):
        headers = {"X-Forwarded-For": f"192.0.2.{number}"}
        body = {"username": "admin", "password": "wrong password"}
        stranger.post("/api/v1/auth/login", json=body, headers=headers)
    answer = stranger.post("/api/v1/auth/login", json={"username": "admin", "password": PASSWORD})
    assert answer.status_code == 429


def test_logging_out_ends_the_session(admin) -> None:
    admin.post("/api/v1/auth/logout", json={})
    assert admin.get("/api/v1/auth/session").json["data"]["authenticated"] is False


def copy_of(visitor: Visitor, app) -> Visitor:
    """Somebody else with the same cookie."""
    thief = Visitor(app, "198.51.100.66")
    cookie = visitor.client.get_cookie("whalefall_session", domain="whale.example")
    thief.client.set_cookie("whalefall_session", cookie.value, domain="whale.example")
    return thief


@pytest.mark.parametrize("way", ["/logout", "/api/v1/auth/logout"])
def test_a_copied_cookie_is_dead_in_both_processes_after_the_logout(make, way) -> None:
    web, scheduler = make(enable_scheduler=False), make(enable_scheduler=True)
    visitor, elsewhere = Visitor(web).log_in("admin"), Visitor(web).log_in("admin")
    thieves = [copy_of(visitor, web), copy_of(visitor, scheduler)]
    assert [thief.get("/api/v1/processes").status_code for thief in thieves] == [503, 503]  # let in; nobody supervises
    visitor.post(way, data={"csrf_token": visitor.token})
    assert [thief.get("/api/v1/processes").status_code for thief in thieves] == [401, 401]
    assert elsewhere.get("/api/v1/users").status_code == 200  # another session of the same user goes on


def test_a_session_ends_when_it_was_idle_for_its_lifetime_whatever_the_cookie_says(app, admin) -> None:
    with of(app).engine.begin() as connection:
        connection.execute(update(tables.sessions).values(last_seen_at=datetime.now(UTC) - timedelta(seconds=3_599)))
    assert admin.get("/api/v1/users").status_code == 200  # and is noted as seen
    with of(app).engine.begin() as connection:
        [seen] = connection.execute(select(tables.sessions.c.last_seen_at)).scalars()
        assert datetime.now(UTC) - seen < timedelta(minutes=5)
        connection.execute(update(tables.sessions).values(last_seen_at=datetime.now(UTC) - timedelta(seconds=3_601)))
    assert admin.get("/api/v1/users").status_code == 401


def test_a_session_that_was_planted_before_the_login_is_not_the_one_after_it(app, stranger) -> None:
    """Session fixation: the attacker's own session, put into the victim's browser, does not become the victim's."""
    attacker = Visitor(app, "198.51.100.66").log_in("viewer")
    cookie = attacker.client.get_cookie("whalefall_session", domain="whale.example")
    stranger.client.set_cookie("whalefall_session", cookie.value, domain="whale.example")
    stranger.log_in("admin")
    assert stranger.get("/api/v1/users").status_code == 200
    assert attacker.get("/api/v1/auth/session").json["data"]["authenticated"] is False
    assert copy_of(attacker, app).get("/api/v1/users").status_code == 401


def test_the_cookie_is_of_no_use_to_who_reads_the_database(app, stranger) -> None:
    stranger.log_in("viewer")
    with stranger.client.session_transaction(base_url=stranger.base_url) as session:
        key = session["_user_id"]
    with of(app).engine.connect() as connection:
        assert key not in str(connection.execute(select(tables.sessions)).all())


@pytest.mark.parametrize("change", [users.set_password, users.disable])
def test_a_changed_password_or_a_disabled_user_ends_every_session(app, viewer, change) -> None:
    arguments = ("another long password",) if change is users.set_password else ()
    change(of(app).engine, "viewer", *arguments)
    assert viewer.get("/api/v1/auth/session").json["data"]["authenticated"] is False
    assert viewer.get("/api/v1/scheduler/jobs").status_code == 401


def test_one_can_change_ones_own_password_and_stays_logged_in(app, viewer) -> None:
    body = {"current_password": PASSWORD, "new_password": "another long password"}
    answer = viewer.post("/api/v1/auth/password", json=body)
    assert answer.status_code == 200
    assert viewer.get("/api/v1/auth/session").json["data"]["authenticated"] is True
    assert Visitor(app).log_in("viewer", "another long password")


def form_token(page) -> str:
    return re.search(r'name="csrf_token" value="([^"]+)"', page.text)[1]


@pytest.mark.parametrize(
    ("wanted", "lands_on"),
    [
        ("/runs?state=failed", "/runs?state=failed"),
        ("//evil.example/", "/dashboard"),
        ("/\\evil.example/", "/dashboard"),
        ("https://evil.example/", "/dashboard"),
        ("javascript:alert(1)", "/dashboard"),
        ("/\t/evil.example", "/dashboard"),
        ("/runs\r\nSet-Cookie: a=b", "/dashboard"),
        ("", "/dashboard"),
    ],
)
def test_the_login_form_sends_nobody_to_another_site(stranger, wanted, lands_on) -> None:
    token = form_token(stranger.get("/login", query_string={"next": wanted}))
    form = {"csrf_token": token, "next": wanted, "username": "admin", "password": PASSWORD}
    answer = stranger.post("/login", data=form)
    assert answer.status_code == 303
    assert answer.headers["Location"] == lands_on
    assert stranger.get("/dashboard").status_code == 200


def test_the_login_form_says_what_was_wrong(stranger) -> None:
    token = form_token(stranger.get("/login"))
    answer = stranger.post("/login", data={"csrf_token": token, "username": "admin", "password": "wrong password"})
    assert answer.status_code == 401
    assert "The user name or the password is wrong." in answer.text
