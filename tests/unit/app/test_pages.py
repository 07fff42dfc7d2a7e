"""The pages: they render for whom they are, in both languages, and nothing that is stored runs in a browser."""

import re
from html.parser import HTMLParser
from urllib.parse import quote

import pytest

from tests.support.waiting import wait_until
from tests.unit.app.conftest import PASSWORD, Visitor
from whalefall import Scheduler
from whalefall.app import create_app
from whalefall.app.store.tables import users
from whalefall.scheduler import of
from whalefall.settings import Settings

EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>\'"&'
PAGES = [
    "/dashboard",
    "/scheduler",
    "/scheduler/timeline",
    "/runs",
    "/notices",
    "/users",
    "/tokens",
    "/audit",
    "/me",
    "/scheduler/jobs/greet",
]
PANELS = [f"/scheduler/jobs/greet/{panel}" for panel in ("run", "pause", "edit")]


class Reader(HTMLParser):
    """Collects what a browser would see: tags, attributes, ids, labels."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))


def read(page) -> Reader:
    reader = Reader()
    reader.feed(page.text)
    return reader


@pytest.mark.parametrize("path", PAGES + PANELS)
@pytest.mark.parametrize("language", ["en", "zh-CN,zh;q=0.9,en;q=0.5"])
def test_every_page_renders_in_both_languages(looking_admin, path, language) -> None:
    page = looking_admin.get(path, headers={"Accept-Language": language})
    assert page.status_code == 200
    assert f'<html lang="{"zh-Hans" if "zh" in language else "en"}">' in page.text
    assert "{{" not in page.text


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh-TW,zh-Hant", "zh-Hans"),
        ("zh-SG", "zh-Hans"),
        ("de, zh;q=0.8, en;q=0.3", "zh-Hans"),
        ("", "en"),
        ("fr", "en"),
    ],
)
def test_the_browser_chooses_the_language(shared, accepted, language) -> None:
    page = Visitor(shared).get("/login", headers={"Accept-Language": accepted} if accepted else {})
    assert f'<html lang="{language}">' in page.text


@pytest.mark.parametrize("path", [*PAGES, *PANELS, "/login", "/nothing"])
def test_every_page_can_be_used_without_seeing_it(looking_admin, shared, path) -> None:
    """Headings, one main, every field and button with a name, no id twice; what axe would complain about first."""
    tags = read((Visitor(shared) if path == "/login" else looking_admin).get(path)).tags
    names = [tag for tag, _ in tags]
    assert names.count("main") == 1
    assert names.count("h1") == 1
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for tag, attributes in tags:
        if tag == "img":
            assert "alt" in attributes
        for name in ("aria-labelledby", "aria-describedby"):
            if name in attributes and attributes[name] != "dialog-title":
                assert set((attributes[name] or "").split()) <= set(ids), (path, attributes[name])


@pytest.mark.parametrize("path", [*PAGES, *PANELS, "/login"])
def test_no_page_has_inline_script_style_or_handlers(looking_admin, shared, path) -> None:
    for tag, attributes in read((Visitor(shared) if path == "/login" else looking_admin).get(path)).tags:
        assert tag != "style"
        assert tag != "script" or attributes.get("src")
        assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_every_form_that_changes_something_carries_a_token(looking_admin) -> None:
    for path in PAGES + PANELS:
        page = looking_admin.get(path).text
        for form in re.findall(r"<form\b[^>]*method=\"post\".*?</form>", page, re.DOTALL):
            assert 'name="csrf_token"' in form


def test_a_viewer_sees_no_buttons_that_would_be_refused(viewer, local) -> None:
    for visitor in (viewer, local):
        for path in ("/dashboard", "/scheduler", "/scheduler/jobs/greet"):
            assert "/actions/" not in visitor.get(path).text
            assert "data-dialog" not in visitor.get(path).text


def test_a_stranger_is_shown_the_way_in_and_back(app, stranger) -> None:
    answer = stranger.get("/runs?state=failed")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/login?next=/runs?state%3Dfailed"


def test_nothing_that_is_stored_runs_in_a_browser(app, admin) -> None:
    """XSS: job names, descriptions, arguments, reasons, outputs, errors, user agents, token names."""
    evil = Scheduler()

    def job(name: str = EVIL) -> None:
        print(EVIL)  # noqa: T201
        raise ValueError(EVIL)

    globals()["evil_job"] = job
    job.__module__, job.__qualname__ = __name__, "evil_job"
    evil.task("interval", id="evil'\"&<b>", name=EVIL, description=EVIL, kwargs={"name": EVIL}, hours=1)(job)
    of(app).declarations.update(evil.declarations)
    of(app).reconcile()
    quoted = "/scheduler/jobs/evil'%22&%3Cb%3E"
    started = admin.post(f"/api/v1{quoted}/actions/run", json={"reason": EVIL, "kwargs": {"name": EVIL}})
    assert started.status_code == 200, started.json
    assert of(app).start()
    try:
        address = f"/api/v1/scheduler/runs/{started.json['data']['run_id']}"
        wait_until(lambda: admin.get(address).json["data"]["state"] == "failed", "the run has failed")
    finally:
        of(app).stop(5)
    run_of_it = admin.get(address).json["data"]
    assert EVIL in run_of_it["output"]
    assert EVIL in run_of_it["error"]
    admin.post(f"/api/v1{quoted}/actions/pause", json={"reason": EVIL})
    admin.post("/api/v1/tokens", json={"name": EVIL})
    run = f"/runs/{started.json['data']['run_id']}"
    for path in [
        "/dashboard",
        "/scheduler",
        "/runs",
        run,
        quoted,
        f"{quoted}/run",
        f"{quoted}/edit",
        f"{quoted}/pause",
        "/scheduler/timeline",
        "/notices",
        "/tokens",
        "/audit",
    ]:
        page = admin.get(path)
        assert page.status_code == 200, path
        tags = read(page).tags
        assert not [tag for tag, attributes in tags if tag == "script" and not attributes.get("src")], path
        assert not [tag for tag, attributes in tags if tag == "b" or attributes.get("src") == "x"], path
        assert not [attributes for _, attributes in tags if any(name.startswith("on") for name in attributes)], path
    answer = admin.get(f"/scheduler?q={EVIL}")
    assert "<script>alert" not in answer.text
    failed = admin.post("/login", data={"csrf_token": admin.token, "username": EVIL, "password": "x"})
    assert "<script>alert" not in failed.text


@pytest.mark.parametrize(
    "path",
    [
        "/login?next={evil}",
        "/runs?job_id={evil}",
        "/runs?state={evil}&before={evil}",
        "/scheduler/timeline?x={evil}",
        "/audit?before={evil}",
        "/processes/{evil}",
        "/scheduler/jobs/{evil}",
        "/runs/{evil}",
        "/setup/{evil}",
        "/{evil}",
        "/api/v1/{evil}",
        "/scheduler/jobs/greet/edit?cron_expression={evil}",
    ],
)
def test_nothing_in_an_address_or_a_header_is_repeated_raw(looking_admin, path) -> None:
    evil = quote(EVIL, safe="")
    answer = looking_admin.get(path.format(evil=evil), headers={"User-Agent": EVIL, "Referer": EVIL})
    assert "<script>alert" not in answer.text or answer.mimetype == "application/json"
    assert "<img src=x" not in answer.text or answer.mimetype == "application/json"
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_missing_page_says_so_in_the_sites_clothes(stranger, admin) -> None:
    page = stranger.get("/nothing", headers={"Accept-Language": "zh-CN"})
    assert page.status_code == 404
    assert "此地址没有页面。" in page.text
    assert admin.get("/runs/no-such-run").status_code == 404
    assert admin.get("/scheduler/jobs/nobody").status_code == 404


def test_a_database_that_refuses_is_a_page_not_a_crash(app, admin) -> None:
    with of(app).engine.begin() as connection:
        users.drop(connection)
    page = admin.get("/dashboard")
    assert page.status_code == 503
    assert "refuses: a table of ours is missing; restore the file from a backup (no such table: wf_user)." in page.text


def test_a_job_is_listed_with_the_id_that_the_command_line_wants(looking_admin) -> None:
    page = looking_admin.get("/scheduler").text
    assert "Says hello to somebody." in page
    assert '<code class="muted id">greet</code>' in page


def test_who_failed_to_log_in_is_no_user(app, admin) -> None:
    visitor = Visitor(app).with_token()
    visitor.post("/api/v1/auth/login", json={"username": "ahab", "password": "wrong"})
    page = admin.get("/audit").text
    assert '<td class="anywhere" data-label="Who">\N{EN DASH}</td>' in page
    assert ">nobody<" not in page


def test_the_root_leads_to_the_dashboard(stranger) -> None:
    assert stranger.get("/").headers["Location"] == "/dashboard"


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/scheduler/", "/scheduler"),
        ("/dashboard/", "/dashboard"),
        ("/runs/?state=failed&job_id=a%26b", "/runs?state=failed&job_id=a%26b"),
        ("/scheduler/jobs/greet/", "/scheduler/jobs/greet"),
    ],
)
def test_a_slash_too_many_leads_to_the_page(stranger, path, there) -> None:
    answer = stranger.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (308, there)


def test_a_slash_leads_nowhere_else(stranger) -> None:
    for path in ("/nothing/", "/scheduler//", "/api/v1/health/", "/metrics/"):
        assert stranger.get(path).status_code == 404, path
    assert stranger.post("/scheduler/").status_code == 404


def test_the_edit_panel_previews_old_and_new_fires_and_explains_a_bad_expression(looking_admin) -> None:
    good = looking_admin.get("/scheduler/jobs/greet/edit?cron_expression=0 12 * * *").text
    assert good.count("02:30:00 UTC</time>") == good.count("12:00:00 UTC</time>") == 10
    bad = looking_admin.get("/scheduler/jobs/greet/edit?cron_expression=0 99 * * *")
    assert bad.status_code == 200
    assert 'class="message bad"' in bad.text


def test_assets_asked_for_by_their_digest_never_change(stranger) -> None:
    page = stranger.get("/login").text
    address = re.search(r'href="(/static/whalefall/whalefall\.css\?v=[0-9a-f]{12})"', page)[1]
    assert "immutable" in stranger.get(address).headers["Cache-Control"]
    assert "immutable" not in stranger.get("/static/whalefall/whalefall.css?v=0").headers.get("Cache-Control", "")
    assert stranger.get("/static/whalefall/../../factory.py").status_code == 404


def test_a_login_page_of_a_site_without_users_says_where_the_link_is(tmp_path, capsys) -> None:
    app = create_app(Settings(data_dir=str(tmp_path), run_dir=str(tmp_path), secret_key="k" * 40))
    assert "whalefall users setup-link" in Visitor(app).get("/login").text
    of(app).engine.dispose()


def test_the_password_page_is_for_those_who_have_one(viewer, local) -> None:
    assert 'name="new_password"' in viewer.get("/me").text
    assert 'name="new_password"' not in local.get("/me").text
    assert PASSWORD not in viewer.get("/me").text
