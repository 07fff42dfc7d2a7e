"""Who may what: a table of role, route and method, made from the URL map, so that a new route cannot be forgotten."""

import re
from collections.abc import Iterator

import pytest
from flask import Flask

from tests.unit.app.conftest import Visitor
from whalefall.app.roles import Role, needed_by

# Everything that a stranger may do. A new open route has to be written down here.
OPEN = {
    ("GET", "/"),
    ("GET", "/login"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("GET", "/setup/<token>"),
    ("POST", "/setup/<token>"),
    ("GET", "/static/whalefall/<path:name>"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/docs"),
    ("GET", "/api/v1/auth/csrf-token"),
    ("GET", "/api/v1/auth/session"),
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/logout"),
    ("GET", "/api/v1/health/ping"),
    ("GET", "/api/v1/health/live"),
    ("GET", "/api/v1/health/basic"),
    ("GET", "/api/v1/health/ready"),
}
# Pages and answers that only administrators see; every change but one's own password is theirs, too.
ADMIN_READS = {
    "/users",
    "/tokens",
    "/audit",
    "/notices",
    "/api/v1/notices",
    "/api/v1/users",
    "/api/v1/tokens",
    "/api/v1/audit",
    "/scheduler/jobs/<job_id>/run",
    "/scheduler/jobs/<job_id>/pause",
    "/scheduler/jobs/<job_id>/edit",
}
VIEWER_CHANGES = {"/api/v1/auth/password"}


def routes(app: Flask) -> Iterator[tuple[str, str, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield (
                method,
                rule.rule,
                re.sub(r"<(?:[a-z]+:)?token_id>", "1", rule.rule).replace("<path:name>", "whale.svg"),
            )


def needed(method: str, rule: str) -> Role:
    if (method, rule) in OPEN:
        return Role.NONE
    if rule in ADMIN_READS or (method != "GET" and rule not in VIEWER_CHANGES):
        return Role.ADMIN
    return Role.VIEW


def address_of(path: str) -> str:
    return re.sub(r"<[a-z_:]+>", "greet", path)


def test_every_route_declares_what_this_table_says(app) -> None:
    declared = {(method, rule): needed_by(app.view_functions[found.endpoint]) for method, rule, found in _rules(app)}
    assert declared == {key: needed(*key) for key in declared}


def _rules(app: Flask):
    for rule in app.url_map.iter_rules():
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            yield method, rule.rule, rule


def test_nothing_in_the_table_is_made_up(app) -> None:
    existing = {(method, rule) for method, rule, _ in routes(app)}
    assert existing >= OPEN
    assert {rule for _, rule in existing} >= ADMIN_READS | VIEWER_CHANGES


@pytest.mark.parametrize("who", ["stranger", "viewer", "local", "admin"])
def test_every_route_refuses_whom_it_must(request, app, who) -> None:
    """Without a CSRF token, so that nothing is changed: only who-may-what is asked here."""
    visitor: Visitor = request.getfixturevalue(who)
    visitor.token = ""
    role = {"stranger": Role.NONE, "viewer": Role.VIEW, "local": Role.VIEW, "admin": Role.ADMIN}[who]
    wrong = []
    for method, rule, path in routes(app):
        answer = visitor.ask(method, address_of(path), headers={"Accept": "application/json"})
        if refused(answer) is role.may(needed(method, rule)):
            wrong.append(f"{who}: {method} {rule} → {answer.status}")
        assert answer.status_code < 500 or answer.status_code == 503, (method, rule, answer.status)
    assert not wrong, "\n".join(wrong)


def refused(answer) -> bool:
    """Refused for who it is: 401, 403 for the role, or shown the way in. A missing CSRF token is another matter."""
    if answer.status_code == 302:
        return answer.headers["Location"].startswith("/login?")
    if answer.status_code == 403 and answer.is_json:
        return answer.json["message_code"] == "PERMISSION_REQUIRED"
    if answer.status_code == 403:
        return "X-CSRFToken" not in answer.text
    return answer.status_code == 401


@pytest.mark.parametrize("who", ["stranger", "viewer", "local", "admin"])
def test_no_change_is_made_without_a_csrf_token(request, app, who) -> None:
    visitor: Visitor = request.getfixturevalue(who)
    for method, rule, path in routes(app):
        if method == "GET":
            continue
        for sent in ({}, {"X-CSRFToken": "forged"}):
            visitor.token = ""
            answer = visitor.ask(method, address_of(path), headers={"Accept": "application/json", **sent})
            assert answer.status_code in (401, 403), (method, rule, answer.status)


def test_a_route_without_a_rule_is_closed(app, admin) -> None:
    def forgotten() -> str:
        return "everything"

    app.view_functions["whalefall_pages.dashboard"] = forgotten
    assert admin.get("/dashboard").status_code == 403
