"""The API and the pages as people reach them: through the real Nginx, through direct mode, in the real processes."""

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest
import requests

from tests.support.deployment import Deployment
from tests.support.waiting import wait_until
from tests.unit.app.test_monitoring import metrics_used

APPLICATION = '''
from flask import Flask
from whalefall import Scheduler, current_run
from whalefall.app import install

app = Flask(__name__)
scheduler = Scheduler(app)


@scheduler.task("cron", id="count", hour=4, minute=5)
def count(to: int = 3) -> None:
    """Counts aloud."""
    for number in range(1, to + 1):
        print(number)
        current_run.progress(number / to, f"at {number}")


@scheduler.task("cron", id="burn", hour=4, minute=5)
def burn() -> None:
    """Keeps a core busy until it is asked to stop."""
    while True:
        sum(range(100_000))
        current_run.raise_if_cancelled()


@app.get("/")
def home() -> str:
    return "the application's own page"


@app.get("/api/v1/orders/<int:number>")
def order(number: int) -> dict:
    return {"number": number}


install(app)
'''
PASSWORD = "correct horse battery"


class Browser:
    """A session that keeps its cookies and sends its CSRF token."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.trust_env = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.base + path, timeout=30, **options)

    def log_in(self, name: str = "admin", password: str = PASSWORD) -> "Browser":
        self.refresh()
        answer = self.ask("POST", "/api/v1/auth/login", json={"username": name, "password": password})
        assert answer.status_code == 200, answer.text
        self.session.headers["X-CSRFToken"] = answer.json()["data"]["csrf_token"]
        return self

    def refresh(self) -> None:
        token = self.ask("GET", "/api/v1/auth/csrf-token").json()["data"]["csrf_token"]
        self.session.headers["X-CSRFToken"] = token


@pytest.fixture(scope="module", params=["nginx", "direct"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    if request.param == "nginx" and not shutil.which("nginx"):
        pytest.skip("no nginx here; .ci/system-packages installs it")
    directory = tmp_path_factory.mktemp(request.param)
    (directory / "own.py").write_text(APPLICATION)
    options = {"NGINX_BINARY": ""} if request.param == "direct" else {}
    site = Deployment(directory, "own:app", HOST="0.0.0.0", WHALEFALL_ADMIN_PASSWORD=PASSWORD, **options)
    with site.start():
        yield site.until_ready()


@pytest.fixture
def through_nginx(site: Deployment) -> None:
    """For what has nothing to do with who forwards: once is enough."""
    if site.directory.name.startswith("direct"):
        pytest.skip("shown through Nginx")


@pytest.fixture
def admin(site: Deployment) -> Iterator[Browser]:
    with Browser(site.url("")) as browser:
        yield browser.log_in()


def own_address() -> str:
    """An address of this machine that is not loopback."""
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET and not address.address.startswith("127."):
                return address.address
    pytest.skip("this machine has no address but loopback")


def test_from_this_machine_one_may_look_without_a_login_and_change_nothing(site: Deployment) -> None:
    assert site.get("/api/v1/scheduler/jobs").status_code == 200
    assert site.get("/dashboard").status_code == 200
    with Browser(site.url("")) as browser:
        browser.refresh()
        assert browser.ask("POST", "/api/v1/scheduler/jobs/count/actions/pause", json={}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-For": "203.0.113.9"},
        {"Forwarded": "for=127.0.0.1"},
        {"X-Real-IP": "127.0.0.1"},
        {"Host": "evil.example"},
        {"Via": "1.1 proxy"},
    ],
    ids=lambda headers: next(iter(headers)),
)
def test_what_came_by_another_proxy_or_name_is_not_this_machine(site: Deployment, headers: dict[str, str]) -> None:
    if "X-Real-IP" in headers and "direct" in site.directory.name:
        pytest.skip("only our Nginx counts an X-Real-IP as a hop")
    for path in ("/api/v1/scheduler/jobs", "/api/v1/processes"):
        assert site.get(path, headers=headers).status_code == 401


def test_from_elsewhere_nothing_is_open_whatever_the_headers_claim(site: Deployment) -> None:
    base = f"http://{own_address()}:{site.port}"
    for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"Host": "localhost"}):
        for path in ("/api/v1/scheduler/jobs", "/api/v1/processes", "/api/v1/health"):
            assert requests.get(base + path, headers=headers, timeout=30).status_code == 401
        page = requests.get(f"{base}/dashboard", headers=headers, timeout=30, allow_redirects=False)
        assert page.headers["Location"].startswith("/login?")
    assert requests.get(f"{base}/api/v1/health/basic", timeout=30).status_code == 200


def test_one_login_counts_in_both_processes(admin: Browser) -> None:
    """/users is answered by the web process, the job by the scheduler's; cookie and token are the same."""
    assert admin.ask("GET", "/users").status_code == 200
    paused = admin.ask("POST", "/api/v1/scheduler/jobs/count/actions/pause", json={"reason": "test"})
    assert paused.json()["data"]["state"] == "STATE_PAUSED"
    assert "test" in admin.ask("GET", "/scheduler/jobs/count").text
    assert admin.ask("POST", "/api/v1/scheduler/jobs/count/actions/resume").status_code == 200
    trail = admin.ask("GET", "/api/v1/audit").json()["data"]
    assert [entry["action"] for entry in trail[:2]] == ["job.resume", "job.pause"]
    assert trail[0]["address"] == "127.0.0.1"


def test_a_run_can_be_started_and_watched_to_its_end(admin: Browser) -> None:
    body = {"kwargs": {"to": 5}, "reason": "to see it"}
    started = admin.ask("POST", "/api/v1/scheduler/jobs/count/actions/run", json=body).json()["data"]
    address = f"/api/v1/scheduler/runs/{started['run_id']}"
    wait_until(lambda: admin.ask("GET", address).json()["data"]["state"] == "succeeded", "the run has succeeded")
    run = admin.ask("GET", address).json()["data"]
    assert run["output"].split() == ["1", "2", "3", "4", "5"]
    assert (run["progress"], run["progress_text"]) == (1.0, "at 5")
    page = admin.ask("GET", f"/runs/{started['run_id']}").text
    assert "to see it" in page
    assert "admin" in page


@pytest.mark.usefixtures("through_nginx")
def test_pages_and_api_answer_while_a_job_burns_a_core(admin: Browser) -> None:
    run_id = admin.ask("POST", "/api/v1/scheduler/jobs/burn/actions/run", json={}).json()["data"]["run_id"]
    address = f"/api/v1/scheduler/runs/{run_id}"
    wait_until(lambda: admin.ask("GET", address).json()["data"]["state"] == "running", "the job burns")
    try:
        for _ in range(10):
            for path in ("/dashboard", "/scheduler", "/api/v1/scheduler/jobs", "/api/v1/health"):
                assert admin.ask("GET", path).status_code == 200, path
        assert admin.ask("GET", address).json()["data"]["state"] == "running"
    finally:
        assert admin.ask("POST", f"{address}/actions/cancel", json={}).status_code == 200
    wait_until(lambda: admin.ask("GET", address).json()["data"]["state"] == "cancelled", "the job has stopped")


def test_the_process_tree_has_states_memory_and_workers(site: Deployment, admin: Browser) -> None:
    data = admin.ask("GET", "/api/v1/processes").json()["data"]
    assert data["supervisor"]["state"] == "running"
    rows = {row["name"]: row for row in data["instances"]}
    assert set(rows) == set(site.rows())
    for row in rows.values():
        assert row["state"] == "ready"
        assert row["memory_bytes"] > 1_000_000
        assert row["workers"] >= 1
    page = admin.ask("GET", "/dashboard").text
    assert all(f">{name}</a>" in page for name in rows)
    lines = admin.ask("GET", "/api/v1/processes/scheduler/logs?lines=50").json()["data"]["lines"]
    assert all(name == "scheduler.1" for name, _ in lines)
    one = admin.ask("GET", "/processes/web.1").text
    workers = {child.pid for child in psutil.Process(rows["web.1"]["pid"]).children(recursive=True)}
    assert {int(pid) for pid in re.findall(r'id="w-(\d+)"', one)} == workers
    assert "Booting worker with pid" in one  # its last lines
    wait_until(
        lambda: admin.ask("GET", "/dashboard").text.count('<span class="sparked"><svg') == 2 * len(rows),
        "memory and CPU of each process are drawn",
        timeout_s=120,  # two samples, half a minute apart
    )


@pytest.mark.usefixtures("through_nginx")
def test_what_a_process_printed_runs_in_no_browser(site: Deployment, admin: Browser) -> None:
    """Nginx writes what visitors call themselves into its log, and the page shows its last lines."""
    site.get("/api/v1/scheduler/jobs", headers={"User-Agent": "<script>alert(7)</script>"})
    page = wait_until(
        lambda: "alert(7)" in (text := admin.ask("GET", "/processes/nginx.1").text) and text, "the line is shown"
    )
    assert "&lt;script&gt;alert(7)" in page
    assert "<script>alert(7)" not in page


@pytest.mark.usefixtures("through_nginx")
def test_an_administrator_can_restart_a_process(site: Deployment, admin: Browser) -> None:
    before = site.master("scheduler")
    answer = admin.ask("POST", "/api/v1/processes/scheduler/actions/restart", json={})
    assert answer.json()["data"]["accepted"] == ["scheduler.1"]
    site.until_replaced("scheduler", before)
    newest = admin.ask("GET", "/api/v1/audit").json()["data"][0]
    assert (newest["actor"], newest["action"], newest["target"]) == ("admin", "process.restart", "scheduler")
    before = site.master("web")
    assert admin.ask("POST", "/api/v1/processes/web/actions/reload", json={}).status_code == 200
    site.until_replaced("web", before)
    assert admin.ask("GET", "/api/v1/audit").json()["data"][0]["action"] == "process.reload"


@pytest.mark.usefixtures("through_nginx")
def test_a_crash_is_told_with_its_last_lines(site: Deployment, admin: Browser) -> None:
    before = site.master("scheduler")
    psutil.Process(before).kill()
    site.until_replaced("scheduler", before)
    report = admin.ask("GET", "/api/v1/processes/scheduler/dossiers").json()["data"][-1]
    assert report["pid"] == before
    assert "SIGKILL" in report["what"]
    assert any("gunicorn" in line for line in report["lines"])
    texts = [event["text"] for event in admin.ask("GET", "/api/v1/processes/events").json()["data"]]
    assert any("SIGKILL" in text for text in texts)
    page = admin.ask("GET", "/processes/scheduler.1").text
    assert "SIGKILL" in page
    assert "was killed by signal 9 (SIGKILL)" in admin.ask("GET", "/dashboard").text
    for path in ("/processes/scheduler.1", "/dashboard"):
        chinese = admin.ask("GET", path, headers={"Accept-Language": "zh-CN"}).text
        assert "被信号 9（SIGKILL）终止" in chinese, path  # noqa: RUF001 - Chinese
        assert "was killed" not in chinese, path
        assert not re.search(r"crash \d of|after its start", chinese), path


@pytest.mark.usefixtures("through_nginx")
def test_a_real_scrape_has_every_metric_that_dashboard_and_alerts_ask_for(admin: Browser) -> None:
    body = {"kwargs": {"to": 1}}
    run_id = admin.ask("POST", "/api/v1/scheduler/jobs/count/actions/run", json=body).json()["data"]["run_id"]
    address = f"/api/v1/scheduler/runs/{run_id}"
    wait_until(lambda: admin.ask("GET", address).json()["data"]["state"] == "succeeded", "the run has succeeded")

    def lacking() -> set[str]:
        scraped = admin.ask("GET", "/metrics").text
        with_values = re.findall(r"^(whalefall_\w+?)(?:_bucket|_sum|_count)?(?:\{| )", scraped, re.MULTILINE)
        return metrics_used() - set(with_values)

    wait_until(
        lambda: not lacking(), "the run is counted, a moment after it is on record", explain=lambda: str(lacking())
    )


@pytest.mark.parametrize("path", ["/api/v1/processes/nobody/logs", "/processes/nobody"])
def test_an_unknown_process_is_404(admin: Browser, path: str) -> None:
    assert admin.ask("GET", path).status_code == 404


def test_the_bare_prefix_is_a_redirect_that_keeps_the_query(site: Deployment) -> None:
    answer = site.get("/api/v1/scheduler?a=1", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (301, "/api/v1/scheduler/?a=1")


def test_every_answer_has_the_request_id_that_was_sent(site: Deployment) -> None:
    for path in ("/api/v1/health/basic", "/api/v1/scheduler/jobs", "/api/v1/nothing", "/login", "/"):
        answer = site.get(path, headers={"X-Request-ID": "request-number-7"})
        assert answer.headers["X-Request-ID"] == "request-number-7", path


def test_the_applications_own_addresses_stay_its_own(site: Deployment) -> None:
    home = site.get("/")
    assert home.text == "the application's own page"
    assert "Content-Security-Policy" not in home.headers
    assert site.get("/api/v1/orders/7").json() == {"number": 7}
    own_404 = site.get("/api/v1/orders/many")
    assert own_404.status_code == 404
    assert "text/html" in own_404.headers["Content-Type"]


def test_static_files_are_served_whoever_serves_them(site: Deployment) -> None:
    address = re.search(r'href="(/static/whalefall/whalefall\.css\?v=\w+)"', site.get("/login").text)
    assert address
    answer = site.get(address[1])
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/css")


@pytest.mark.usefixtures("through_nginx")
def test_when_the_scheduler_is_stopped_the_pages_say_so_and_stay_up(site: Deployment, admin: Browser) -> None:
    site.whalefall("stop", "scheduler")
    try:
        wait_until(lambda: admin.ask("GET", "/api/v1/health").status_code == 503, "web sees that nobody leads")
        assert "no scheduler leads" in admin.ask("GET", "/api/v1/health").json()["message"]
        assert admin.ask("GET", "/api/v1/health/ready").status_code == 200
        page = admin.ask("GET", "/scheduler")
        assert page.status_code == 200
        assert "In trouble" in page.text
    finally:
        site.whalefall("start", "scheduler")
        site.until_ready()


def test_the_settings_hold_for_the_setup_link_too(tmp_path: Path) -> None:
    """Without a password exactly one of three application processes prints the link, and it leads through Nginx."""
    site = Deployment(tmp_path)
    with site.start():
        site.until_ready()
        found = re.findall(r"(http://\S+/setup/\S+)", site.output())
        assert len(found) == 1, site.output()
        assert found[0].startswith(f"http://localhost:{site.port}/setup/")
        assert requests.get(found[0], timeout=30).status_code == 200
