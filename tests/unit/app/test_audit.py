"""Every change leaves a trace: who, when, from where, what, before and after. Made from the URL map, so that a new
change cannot be forgotten.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.app.conftest import FAR_AWAY, PASSWORD, Visitor
from tests.unit.app.test_access_table import routes


def _run(admin: Visitor) -> str:
    run_id: str = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"]
    return run_id


def _paused(admin: Visitor) -> str:
    admin.post("/api/v1/scheduler/jobs/greet/actions/pause", json={"reason": "the sea"})
    return "greet"


def _edited(admin: Visitor) -> str:
    admin.put("/api/v1/scheduler/jobs/greet", json={"cron_expression": "15 4 * * *"})
    return "greet"


def _ended(admin: Visitor) -> str:
    run_id = _run(admin)
    admin.post(f"/api/v1/scheduler/runs/{run_id}/actions/cancel")
    return run_id


def _token(admin: Visitor) -> str:
    return str(admin.post("/api/v1/tokens", json={"name": "deploy"}).json["data"]["id"])


def _greet(_: Visitor) -> str:
    return "greet"


def _viewer(_: Visitor) -> str:
    return "viewer"


Prepare = Callable[[Visitor], str]
CRON = {"cron_expression": "5 5 * * *"}
NEW_PASSWORD = {"current_password": PASSWORD, "new_password": "another good one"}
# (method, route): what makes its target, the body, the action, and which of before and after it must have.
CHANGES: dict[tuple[str, str], tuple[Prepare, dict[str, Any], str, str]] = {
    ("PUT", "/api/v1/scheduler/jobs/<job_id>"): (_greet, CRON, "job.edit", "before after"),
    ("POST", "/api/v1/scheduler/jobs/<job_id>/actions/edit"): (_greet, CRON, "job.edit", "before after"),
    ("DELETE", "/api/v1/scheduler/jobs/<job_id>"): (_greet, {}, "job.delete", "before"),
    ("POST", "/api/v1/scheduler/jobs/<job_id>/actions/pause"): (_greet, {}, "job.pause", "before after"),
    ("POST", "/api/v1/scheduler/jobs/<job_id>/actions/resume"): (_paused, {}, "job.resume", "before after"),
    ("POST", "/api/v1/scheduler/jobs/<job_id>/actions/reset"): (_edited, {}, "job.reset", "before after"),
    ("POST", "/api/v1/scheduler/jobs/<job_id>/actions/run"): (_greet, {"reason": "why"}, "job.run", "after"),
    ("POST", "/api/v1/scheduler/jobs/actions/reload"): (_greet, {}, "jobs.reload", "after"),
    ("POST", "/api/v1/scheduler/runs/<run_id>/actions/cancel"): (_run, {}, "run.cancel", "before after"),
    ("POST", "/api/v1/scheduler/runs/<run_id>/actions/rerun"): (_ended, {}, "run.rerun", "after"),
    ("POST", "/api/v1/auth/login"): (_greet, {"username": "admin", "password": PASSWORD}, "login", ""),
    ("POST", "/api/v1/auth/logout"): (_greet, {}, "logout", ""),
    ("POST", "/api/v1/auth/password"): (_greet, NEW_PASSWORD, "user.password", ""),
    ("POST", "/api/v1/users"): (_greet, {"name": "ahab", "password": PASSWORD}, "user.add", "after"),
    ("PUT", "/api/v1/users/<name>"): (_viewer, {"role": "admin"}, "user.edit", "before after"),
    ("POST", "/api/v1/users/<name>/actions/edit"): (_viewer, {"role": "admin"}, "user.edit", "before after"),
    ("POST", "/api/v1/tokens"): (_greet, {"name": "deploy"}, "token.make", "after"),
    ("POST", "/api/v1/tokens/<int:token_id>/actions/revoke"): (_token, {}, "token.revoke", "before"),
}
# Through the real supervisor, or as a form: each has a test of its own.
ELSEWHERE = {
    ("POST", "/api/v1/processes/<name>/actions/restart"),
    ("POST", "/api/v1/processes/<name>/actions/reload"),
    ("POST", "/login"),
    ("POST", "/logout"),
    ("POST", "/setup/<token>"),
}


def test_the_table_has_every_change(app) -> None:
    existing = {(method, rule) for method, rule, _ in routes(app) if method != "GET"}
    assert existing == CHANGES.keys() | ELSEWHERE


@pytest.mark.parametrize("change", CHANGES, ids=" ".join)
def test_a_change_leaves_who_when_from_where_before_and_after(app, admin, change) -> None:
    (method, rule), (prepare, body, action, told) = change, CHANGES[change]
    target = prepare(admin)
    path = rule.partition("<")[0] + target + rule.partition(">")[2] if "<" in rule else rule
    answer = admin.ask(method, path, json=body, headers={"X-Request-ID": "request-number-7"})
    assert answer.status_code == 200, answer.json
    reader = Visitor(app).log_in("admin", NEW_PASSWORD["new_password"] if "password" in rule else PASSWORD)
    entry = next(
        entry for entry in reader.get("/api/v1/audit").json["data"] if entry["request_id"] == "request-number-7"
    )
    assert (entry["actor"], entry["address"], entry["action"]) == ("admin", FAR_AWAY, action)
    assert datetime.now(UTC) - datetime.fromisoformat(entry["at"]) < timedelta(minutes=5)
    assert {name for name in ("before", "after") if entry[name] is not None} == set(told.split())
    assert entry["before"] != entry["after"] or not told
    assert PASSWORD not in str(entry)
    assert entry["action"] in reader.get("/audit").text


def test_the_forms_leave_the_same_traces(app, admin, stranger) -> None:
    token = stranger.with_token().token
    stranger.post("/login", data={"csrf_token": token, "username": "admin", "password": "wrong"})
    stranger.post("/login", data={"csrf_token": token, "username": "admin", "password": PASSWORD})
    stranger.with_token().post("/logout", data={"csrf_token": stranger.token})
    done = [(entry["action"], entry["actor"]) for entry in admin.get("/api/v1/audit").json["data"][:3]]
    assert done == [("logout", "admin"), ("login", "admin"), ("login.failed", "nobody")]
