"""/api/v1/scheduler/**: the original platform's contract, with its mistakes mended."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.app.conftest import Visitor, as_user, fail
from whalefall import Scheduler
from whalefall.scheduler import of

LIST_FIELDS = [
    "id",
    "task_id",
    "name",
    "task_name",
    "description",
    "next_run_time",
    "last_run_time",
    "trigger_type",
    "trigger_args",
    "state",
    "is_builtin",
    "editable_fields",
    "func",
    "args",
    "kwargs",
]
DETAIL_FIELDS = [
    "id",
    "name",
    "next_run_time",
    "trigger",
    "func",
    "args",
    "kwargs",
    "misfire_grace_time",
    "max_instances",
    "coalesce",
]


def test_the_list_has_every_job_by_id_with_the_fields_of_the_contract(viewer) -> None:
    jobs = viewer.get("/api/v1/scheduler/jobs").json["data"]
    assert [job["id"] for job in jobs] == ["check_ledger", "fail", "greet", "prune_samples", "sample_host"]
    for job in jobs:
        assert set(LIST_FIELDS) <= set(job)
    greet = jobs[2]
    assert (greet["task_id"], greet["name"], greet["task_name"]) == ("greet", "Greet", "Greet")
    assert greet["description"] == "Says hello to somebody."
    assert greet["func"] == "greet"
    assert greet["kwargs"] == {"name": "whale"}
    assert greet["state"] == "STATE_RUNNING"
    assert greet["trigger_type"] == "cron"
    assert set(greet["trigger_args"]) == {"second", "minute", "hour", "day", "month", "day_of_week", "year"}
    assert datetime.fromisoformat(greet["next_run_time"]).tzinfo is not None
    assert greet["last_run_time"] is None
    assert jobs[3]["is_builtin"] is True


def test_the_detail_has_the_fields_of_the_contract(viewer) -> None:
    job = viewer.get("/api/v1/scheduler/jobs/greet").json["data"]
    assert set(DETAIL_FIELDS) <= set(job)
    assert job["trigger"].startswith("cron[")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "jobs/{id}", None),
        ("PUT", "jobs/{id}", {"trigger_type": "cron", "cron_expression": "* * * * *"}),
        ("DELETE", "jobs/{id}", None),
        ("GET", "jobs/{id}/fires", None),
        ("POST", "jobs/{id}/actions/pause", {}),
        ("POST", "jobs/{id}/actions/resume", {}),
        ("POST", "jobs/{id}/actions/reset", {}),
        ("POST", "jobs/{id}/actions/edit", {"cron_expression": "* * * * *"}),
        ("POST", "jobs/{id}/actions/run", {}),
        ("GET", "runs/{id}", None),
        ("POST", "runs/{id}/actions/cancel", {}),
        ("POST", "runs/{id}/actions/rerun", {}),
    ],
)
def test_an_unknown_id_is_404_in_every_verb(looking_admin, method, path, body) -> None:
    for unknown in ("nobody", "%00", "a" * 3000):
        answer = looking_admin.ask(method, "/api/v1/scheduler/" + path.format(id=unknown), json=body)
        assert answer.status_code == 404
        assert answer.json["message_code"] == "RESOURCE_NOT_FOUND"


def test_every_scheduler_route_of_a_process_without_scheduler_is_409_and_says_why(make) -> None:
    app = make(enable_scheduler=False)
    admin = Visitor(app).log_in("admin")
    for rule in app.url_map.iter_rules():
        if not rule.rule.startswith("/api/v1/scheduler/"):
            continue
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            path = rule.rule.replace("<job_id>", "greet").replace("<run_id>", "nobody")
            answer = admin.ask(method, path, json=None if method == "GET" else {})
            assert answer.status_code == 409, (method, rule.rule)
            assert answer.json["message_code"] == "CONSTRAINT_VIOLATION"
            assert "ENABLE_SCHEDULER" in answer.json["message"]


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("15 4 * * *", {"second": "0", "minute": "15", "hour": "4"}),
        ("30 15 4 * * *", {"second": "30", "minute": "15", "hour": "4"}),
        ("30 15 4 1 1 * 2031", {"second": "30", "day": "1", "month": "1", "year": "2031"}),
        ("0 9 * * mon-fri", {"day_of_week": "mon-fri"}),
    ],
)
def test_a_trigger_can_be_edited_with_five_six_or_seven_fields(admin, expression, fields) -> None:
    body = {"trigger_type": "cron", "cron_expression": expression}
    answer = admin.put("/api/v1/scheduler/jobs/greet", json=body)
    assert answer.status_code == 200
    job = admin.get("/api/v1/scheduler/jobs/greet").json["data"]
    assert job["source"] == "edited"
    assert {name: job["trigger_args"][name] for name in fields} == fields


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"trigger_type": "cron"},
        {"trigger_type": "interval", "cron_expression": "* * * * *"},
        {"trigger_type": "cron", "cron_expression": "* * * *"},
        {"trigger_type": "cron", "cron_expression": "61 * * * *"},
        {"trigger_type": "cron", "cron_expression": "* * * * * * * *"},
        {"trigger_type": "cron", "cron_expression": 7},
        {"trigger_type": "cron", "cron_expression": None},
        {"trigger_type": "cron", "cron_expression": "* * * * *", "surprise": 1},
        {"trigger_type": "cron", "cron_expression": "0 0 31 2 *"},
    ],
)
def test_a_trigger_that_means_nothing_is_400_and_changes_nothing(looking_admin, body) -> None:
    before = looking_admin.get("/api/v1/scheduler/jobs/greet").json["data"]
    answer = looking_admin.put("/api/v1/scheduler/jobs/greet", json=body)
    assert answer.status_code == 400
    assert answer.json["message_code"] == "VALIDATION_ERROR"
    assert looking_admin.get("/api/v1/scheduler/jobs/greet").json["data"] == before


def test_edits_and_pauses_survive_a_reload_and_a_reset_undoes_the_edit(admin) -> None:
    admin.put("/api/v1/scheduler/jobs/greet", json={"cron_expression": "15 4 * * *"})
    admin.post("/api/v1/scheduler/jobs/fail/actions/pause", json={"reason": "hands off"})
    report = admin.post("/api/v1/scheduler/jobs/actions/reload", json={}).json["data"]
    assert report["reloaded_count"] == len(report["reloaded"]) == 5
    assert report["deleted_count"] == len(report["deleted"]) == 0
    jobs = {job["id"]: job for job in admin.get("/api/v1/scheduler/jobs").json["data"]}
    assert jobs["greet"]["source"] == "edited"
    assert jobs["greet"]["trigger_args"]["hour"] == "4"
    assert (jobs["fail"]["state"], jobs["fail"]["pause_reason"]) == ("STATE_PAUSED", "hands off")
    reset = admin.post("/api/v1/scheduler/jobs/greet/actions/reset").json["data"]
    assert (reset["source"], reset["trigger_args"]["hour"]) == ("code", "2")


def test_a_pause_may_have_an_end_and_resume_undoes_it(admin) -> None:
    until = datetime.now(UTC) + timedelta(hours=2)
    paused = admin.post("/api/v1/scheduler/jobs/greet/actions/pause", json={"until": until.isoformat()}).json["data"]
    assert paused["state"] == "STATE_PAUSED"
    assert datetime.fromisoformat(paused["paused_until"]) == until
    resumed = admin.post("/api/v1/scheduler/jobs/greet/actions/resume").json["data"]
    assert resumed["state"] == "STATE_RUNNING"


@pytest.mark.parametrize("until", ["2001-01-01T00:00:00+00:00", "2031-01-01T00:00:00", "soon", 5])
def test_a_pause_cannot_end_in_the_past_or_at_no_known_instant(looking_admin, until) -> None:
    answer = looking_admin.post("/api/v1/scheduler/jobs/greet/actions/pause", json={"until": until})
    assert answer.status_code == 400
    assert "until" in answer.json["message"]


def test_a_pause_has_one_end(looking_admin) -> None:
    body = {"minutes": 5, "until": "2099-01-01T00:00:00+00:00"}
    answer = looking_admin.post("/api/v1/scheduler/jobs/greet/actions/pause", json=body)
    assert (answer.status_code, answer.json["message_code"]) == (400, "VALIDATION_ERROR")


def test_a_run_can_be_started_looked_at_and_taken_back(admin) -> None:
    body = {"kwargs": {"name": "you"}, "reason": "to see"}
    started = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json=body).json["data"]
    assert started["manual_job_id"] == started["run_id"]
    run = admin.get(f"/api/v1/scheduler/runs/{started['run_id']}").json["data"]
    assert (run["job_id"], run["source"], run["created_by"]) == ("greet", "manual", "admin")
    assert run["state"] == "queued"
    cancelled = admin.post(f"/api/v1/scheduler/runs/{started['run_id']}/actions/cancel").json["data"]
    assert cancelled["state"] == "cancelled"
    again = admin.post(f"/api/v1/scheduler/runs/{started['run_id']}/actions/cancel")
    assert again.status_code == 409


def test_a_run_can_be_run_again_with_the_arguments_that_it_had(admin) -> None:
    body = {"kwargs": {"name": "you"}, "reason": "to see"}
    old_id = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json=body).json["data"]["run_id"]
    admin.post(f"/api/v1/scheduler/runs/{old_id}/actions/cancel")
    answer = admin.post(f"/api/v1/scheduler/runs/{old_id}/actions/rerun", json={})
    new_id = answer.json["data"]["run_id"]
    assert new_id != old_id
    run = admin.get(f"/api/v1/scheduler/runs/{new_id}").json["data"]
    assert (run["job_id"], run["state"], run["reason"]) == ("greet", "queued", f"again, after {old_id}")
    assert of(admin.app).ledger.run(new_id).args == {"name": "you"}
    entry = admin.get("/api/v1/audit").json["data"][0]
    assert (entry["action"], entry["target"], entry["after"]) == ("run.rerun", old_id, {"run_id": new_id})


def test_the_same_key_never_makes_a_second_run(admin) -> None:
    bodies = [{"dedupe": "order 7"}, {"dedupe": "order 7"}, {"dedupe": "order 8"}]
    ids = [admin.post("/api/v1/scheduler/jobs/greet/actions/run", json=body).json["data"]["run_id"] for body in bodies]
    assert ids[0] == ids[1] != ids[2]


def test_arguments_that_the_function_does_not_take_are_400(admin) -> None:
    answer = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={"kwargs": {"nam": "typo"}})
    assert answer.status_code == 400
    assert "nam" in answer.json["message"]


def test_runs_are_paged_by_key_without_gaps_or_repeats(admin) -> None:
    wanted = [admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"] for _ in range(7)]
    found, before = [], None
    while True:
        page = admin.get(
            "/api/v1/scheduler/runs", query_string={"limit": 3, "before": before} if before else {"limit": 3}
        )
        found += [run["run_id"] for run in page.json["data"]]
        before = page.json["meta"]["next"]
        if before is None:
            break
    assert found == wanted[::-1]


def test_jobs_can_be_listed_page_by_page_and_by_a_part_of_their_name(looking_admin) -> None:
    everything = looking_admin.get("/api/v1/scheduler/jobs").json
    assert "meta" not in everything
    found, offset = [], 0
    while offset is not None:
        page = looking_admin.get(f"/api/v1/scheduler/jobs?limit=2&offset={offset}").json
        assert len(page["data"]) <= 2
        assert page["meta"]["count"] == len(everything["data"])
        found += page["data"]
        offset = page["meta"]["next"]
    assert found == everything["data"]
    assert [job["id"] for job in looking_admin.get("/api/v1/scheduler/jobs?q=GREE").json["data"]] == ["greet"]
    assert looking_admin.get("/api/v1/scheduler/jobs?q=nothing").json["data"] == []


def test_runs_can_be_read_from_the_oldest_on_and_new_ones_asked_for(admin) -> None:
    def start() -> str:
        return admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"]

    def page(query: str) -> tuple[list[str], str | None]:
        answer = admin.get(f"/api/v1/scheduler/runs?{query}").json
        return [run["run_id"] for run in answer["data"]], answer["meta"]["next"]

    started = [start() for _ in range(3)]
    assert page("order=oldest&limit=2") == (started[:2], started[1])
    assert page(f"order=oldest&limit=2&after={started[1]}") == (started[2:], None)
    assert page(f"state=queued&order=oldest&after={started[0]}")[0] == started[1:]
    assert page(f"after={started[2]}") == ([], None)
    newest = start()
    assert page(f"after={started[2]}") == ([newest], None)
    assert page(f"job_id=greet&before={newest}&after={started[0]}")[0] == [started[2], started[1]]


def test_runs_can_be_filtered(admin) -> None:
    run_id = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"]
    admin.post(f"/api/v1/scheduler/runs/{run_id}/actions/cancel")
    admin.post("/api/v1/scheduler/jobs/fail/actions/run", json={})
    ask = lambda **query: [  # noqa: E731
        run["job_id"] for run in admin.get("/api/v1/scheduler/runs", query_string=query).json["data"]
    ]
    assert ask(job_id="greet") == ["greet"]
    assert ask(state="queued") == ["fail"]
    assert ask(source="schedule") == []


def test_a_preview_shows_the_next_fires_of_another_expression_and_changes_nothing(viewer) -> None:
    fires = viewer.get(
        "/api/v1/scheduler/jobs/greet/fires", query_string={"cron_expression": "0 12 * * *", "count": 3}
    ).json["data"]["fires"]
    assert [datetime.fromisoformat(fire).hour for fire in fires] == [12, 12, 12]
    assert viewer.get("/api/v1/scheduler/jobs/greet").json["data"]["source"] == "code"


def test_a_preview_says_what_the_clocks_will_do_to_the_job(make) -> None:
    extra = Scheduler()
    extra.task("cron", id="nightly", minute=30, hour=2, timezone="Europe/Berlin", dst_fold="both")(fail)
    app = make()
    of(app).declarations.update(extra.declarations)
    of(app).reconcile()
    visitor = as_user(app, "admin")
    found = visitor.get("/api/v1/scheduler/jobs/nightly/fires").json["data"]["odd_nights"]
    assert len(found) == 2
    [spring] = [
        night
        for night in found
        if night.endswith("it would run at 03:00. There is no 02:30 in that night (dst_gap='run').")
    ]
    [autumn] = [
        night
        for night in found
        if night.endswith("it would run twice. There are two 02:30 in that night (dst_fold='both').")
    ]
    assert spring[5:8] == "03-"
    assert autumn[5:8] == "10-"
    other = {"cron_expression": "30 12 * * *"}
    assert visitor.get("/api/v1/scheduler/jobs/nightly/fires", query_string=other).json["data"]["odd_nights"] == []
    page = visitor.get("/scheduler/jobs/nightly/edit").text
    assert "When the clocks change" in page
    assert "it would run twice. There are two 02:30 in that night" in page
    assert "When the clocks change" not in visitor.get("/scheduler/jobs/nightly/edit?cron_expression=30 12 * * *").text
    chinese = visitor.get("/scheduler/jobs/nightly/edit", headers={"Accept-Language": "zh-CN"}).text
    assert "会运行两次" in chinese


def test_polling_an_unchanged_list_costs_no_body(viewer) -> None:
    first = viewer.get("/api/v1/scheduler/jobs")
    second = viewer.get("/api/v1/scheduler/jobs", headers={"If-None-Match": first.headers["ETag"]})
    assert second.status_code == 304
    assert second.data == b""


def test_every_change_is_in_the_audit_trail_with_before_and_after(admin) -> None:
    admin.put("/api/v1/scheduler/jobs/greet", json={"cron_expression": "15 4 * * *"})
    entry = admin.get("/api/v1/audit").json["data"][0]
    assert (entry["actor"], entry["action"], entry["target"]) == ("admin", "job.edit", "greet")
    assert entry["address"] == "203.0.113.9"
    assert entry["before"]["source"] == "code"
    assert entry["after"]["source"] == "edited"


def test_a_form_without_javascript_comes_back_to_its_page_with_the_sentence(admin) -> None:
    form = {"csrf_token": admin.token, "next": "/scheduler/jobs/greet", "reason": "by hand", "minutes": "30"}
    accept = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}
    answer = admin.post("/api/v1/scheduler/jobs/greet/actions/pause", data=form, headers=accept)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/scheduler/jobs/greet")
    page = admin.get("/scheduler/jobs/greet").text
    assert "&#39;greet&#39; is paused." in page
    assert "by hand" in page


def test_upcoming_fires_are_listed_and_a_busy_job_is_a_band(viewer) -> None:
    fires = {one["job_id"]: one for one in viewer.get("/api/v1/scheduler/fires?hours=48").json["data"]}
    assert len(fires["greet"]["fires"]) == 2
    assert fires["greet"]["is_dense"] is False
    assert fires["sample_host"]["is_dense"] is True
    assert next(iter(fires)) == "sample_host"
    assert "greet" in viewer.get("/scheduler/timeline").text


def test_jobs_that_fire_at_the_same_instant_are_named(admin) -> None:
    admin.put("/api/v1/scheduler/jobs/fail", json={"cron_expression": "30 2 * * *"})
    page = admin.get("/scheduler/timeline").text
    together = page[page.index("collisions-title") :]
    assert together.index("/scheduler/jobs/fail") < together.index("/scheduler/jobs/greet")
