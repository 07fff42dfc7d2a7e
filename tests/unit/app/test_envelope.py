"""One shape for every answer under /api, whatever goes wrong; and one request id from end to end."""

import json
import re

import pytest

from tests.unit.app.conftest import Visitor
from tests.unit.app.test_access_table import address_of, routes

SUCCESS = {"success", "error", "message", "timestamp"}
ERROR = SUCCESS | {"error_id", "category", "severity", "message_code", "recoverable", "suggestions", "context"}


def check(answer) -> None:
    body = answer.json
    if answer.status_code < 400:
        assert SUCCESS <= set(body) <= SUCCESS | {"data", "meta"}
        assert (body["success"], body["error"]) == (True, False)
        return
    assert ERROR <= set(body) <= ERROR | {"extra"}
    assert (body["success"], body["error"]) == (False, True)
    assert re.fullmatch(r"[A-Z_]+", body["message_code"])
    assert len(body["message"]) > 10
    assert body["context"]["request_id"] == answer.headers["X-Request-ID"]
    assert body["context"]["url"] == answer.request.path


@pytest.mark.parametrize("who", ["stranger", "viewer", "admin"])
def test_every_operation_answers_in_the_envelope(request, app, who) -> None:
    visitor: Visitor = request.getfixturevalue(who)
    for method, rule, path in sorted(routes(app)):
        if rule.startswith("/api/") and not rule.endswith(("openapi.json", "docs", "logout")):
            check(visitor.ask(method, address_of(path), json=None if method == "GET" else {}))


FAILURES = [
    ("GET", "/api", {}, 404, "INVALID_REQUEST"),
    ("GET", "/api/v1/nothing", {}, 404, "INVALID_REQUEST"),
    ("GET", "/api/v2/scheduler/jobs", {}, 404, "INVALID_REQUEST"),
    ("GET", "/api/v1/scheduler/jobs/", {}, 404, "INVALID_REQUEST"),
    ("GET", "/api/v1/scheduler/../../users", {}, 404, "INVALID_REQUEST"),
    ("DELETE", "/api/v1/health/basic", {}, 405, "METHOD_NOT_ALLOWED"),
    ("POST", "/api/v1/users", {"data": "x", "content_type": "text/plain"}, 415, "UNSUPPORTED_MEDIA_TYPE"),
    ("POST", "/api/v1/users", {"data": "{", "content_type": "application/json"}, 400, "INVALID_REQUEST"),
    ("POST", "/api/v1/users", {"data": b"\xff", "content_type": "application/json"}, 400, "INVALID_REQUEST"),
    ("POST", "/api/v1/users", {"data": "[" * 50_000, "content_type": "application/json"}, 400, "INVALID_REQUEST"),
    ("POST", "/api/v1/users", {"data": "9" * 6_000, "content_type": "application/json"}, 400, "INVALID_REQUEST"),
    (
        "POST",
        "/api/v1/users",
        {"data": '{"name": NaN}', "content_type": "application/json"},
        400,
        "INVALID_REQUEST",
    ),
    ("POST", "/api/v1/users", {"json": [1]}, 400, "VALIDATION_ERROR"),
    ("POST", "/api/v1/users", {"json": "text"}, 400, "VALIDATION_ERROR"),
    ("POST", "/api/v1/users", {"json": {"name": "a\0b", "password": "long enough"}}, 400, "VALIDATION_ERROR"),
    ("POST", "/api/v1/users", {"json": {"name": "a\ud800", "password": "long enough"}}, 400, "VALIDATION_ERROR"),
    ("POST", "/api/v1/users", {"json": {"name": "x", "password": "short"}}, 400, "VALIDATION_ERROR"),
    ("POST", "/api/v1/users", {"json": {"name": "x" * 70_000}}, 413, "PAYLOAD_TOO_LARGE"),
    ("POST", "/api/v1/nothing", {"data": b"x" * 3_000_000}, 404, "INVALID_REQUEST"),
    ("GET", "/api/v1/scheduler/runs?limit=many", {}, 400, "VALIDATION_ERROR"),
    ("GET", "/api/v1/scheduler/runs?limit=0", {}, 400, "VALIDATION_ERROR"),
    ("GET", "/api/v1/scheduler/runs?surprise=1", {}, 400, "VALIDATION_ERROR"),
    ("GET", "/api/v1/audit?before=99999999999999999999999", {}, 400, "VALIDATION_ERROR"),
    ("POST", "/api/v1/tokens/99999999999999999999999/actions/revoke", {"json": {}}, 404, "RESOURCE_NOT_FOUND"),
    ("GET", "/api/v1/processes", {}, 503, "SUPERVISOR_UNAVAILABLE"),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: f"{failure[3]} {failure[0]} {failure[1]}"[:60])
def test_every_failure_answers_in_the_envelope(looking_admin, failure) -> None:
    method, path, options, status, code = failure
    answer = looking_admin.ask(method, path, **options)
    check(answer)
    assert (answer.status_code, answer.json["message_code"]) == (status, code)


def test_405_names_the_methods_that_there_are(admin) -> None:
    assert "GET" in admin.ask("DELETE", "/api/v1/health/basic").headers["Allow"]


def test_a_bug_is_an_envelope_without_its_insides(app, admin) -> None:
    def buggy() -> None:
        raise RuntimeError("the password is hunter2")

    buggy.whalefall_needs = app.view_functions["whalefall_health.ping"].whalefall_needs  # type: ignore[attr-defined]
    app.view_functions["whalefall_health.ping"] = buggy
    answer = admin.get("/api/v1/health/ping")
    check(answer)
    assert answer.status_code == 500
    assert "hunter2" not in answer.text


def test_a_request_id_is_kept_and_a_malformed_one_replaced(stranger) -> None:
    kept = stranger.get("/api/v1/health/ping", headers={"X-Request-ID": "abc-123.DEF"})
    assert kept.headers["X-Request-ID"] == "abc-123.DEF"
    for bad in ("a b", "<script>", "x" * 200, "a\tb"):
        made = stranger.get("/api/v1/health/ping", headers={"X-Request-ID": bad}).headers["X-Request-ID"]
        assert re.fullmatch("[0-9a-f]{32}", made)


def test_secrets_in_a_query_are_not_repeated(stranger) -> None:
    assert "hunter2" not in stranger.get("/api/v1/scheduler/jobs?password=hunter2").text


def test_no_answer_of_ours_may_run_foreign_script_or_be_framed(app, admin) -> None:
    for method, _, path in routes(app):
        if method != "GET":
            continue
        headers = admin.get(address_of(path)).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Cache-Control"] in ("no-store", "no-cache", "private, no-cache"), path


def test_the_openapi_document_names_every_operation_once(app, stranger) -> None:
    document = stranger.get("/api/v1/openapi.json").json
    documented = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if method != "parameters"
    }
    existing = {
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule))
        for method, rule, _ in routes(app)
        if rule.startswith("/api/") and not rule.endswith(("openapi.json", "docs"))
    }
    assert documented == existing
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations if isinstance(operation, dict)]
    assert len(names) == len(set(names))
    json.dumps(document)


def test_the_docs_page_has_a_switch(make, stranger) -> None:
    assert stranger.get("/api/v1/docs").status_code == 404
    page = Visitor(make(api_docs=True)).get("/api/v1/docs")
    assert page.status_code == 200
    assert "/api/v1/scheduler/jobs/{job_id}/actions/pause" in page.text


def test_looking_without_a_login_has_a_switch(make, local) -> None:
    assert local.get("/api/v1/scheduler/jobs").status_code == 200
    closed = Visitor(make(view_from_this_machine=False), "127.0.0.1", "localhost")
    assert closed.get("/api/v1/scheduler/jobs").status_code == 401
    assert closed.get("/api/v1/health/basic").status_code == 200
