"""A real site whose ledger gets into trouble, while it runs or before it starts: people are told what and how to mend
it, pages that need no ledger are served, and when it is over jobs fire again by themselves, each instant once.
"""

import collections
import html
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support import troubles
from tests.support.deployment import Deployment
from tests.support.postgres import PostgresServer, binaries
from tests.support.troubles import Trouble
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]

APPLICATION = '''
import os

from flask import Flask
from whalefall import Scheduler, current_run
from whalefall.app import install

app = Flask(__name__)
app.config.update(
    SCHEDULER_LEASE_TTL_S=4.0, SCHEDULER_RENEW_EVERY_S=1.0, SCHEDULER_RUN_LEASE_S=5.0, SCHEDULER_BACKOFF_MAX_S=2.0
)
scheduler = Scheduler(app)
fires = os.open(os.path.join(os.path.dirname(__file__), "fires"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def write_down():
    """One write(2), so that it is there or not."""
    line = f"{current_run.job_id} {current_run.scheduled_at.isoformat()} {current_run.attempt}\\n"
    os.write(fires, line.encode())


@scheduler.task("interval", id="every", seconds=1, catch_up="all", overlap="allow")
def every() -> None:
    """Each missed instant is caught up."""
    write_down()


@scheduler.task("interval", id="last", seconds=1, on_crash="rerun")
def last() -> None:
    """Of the missed ones the newest; if its runner dies it may run twice."""
    write_down()


@app.get("/")
def front() -> str:
    return "We are open."


install(app)
'''
# Busy timeouts of 10 s, backoffs, a lease that runs out, a connection to a server that is gone; and a busy machine.
_SOON_S = 120.0


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """Its own: it is stopped."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with PostgresServer() as server:
        yield server


@pytest.fixture
def locked(tmp_path: Path) -> Trouble:
    return troubles.Locked(tmp_path)


@pytest.fixture
def damaged(tmp_path: Path) -> Trouble:
    return troubles.Damaged(tmp_path)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Trouble]:
    with troubles.mounted(troubles.small_disk(tmp_path)) as disk:
        yield troubles.FullDisk(disk)


@pytest.fixture
def read_only_disk(tmp_path: Path) -> Iterator[Trouble]:
    trouble = troubles.ReadOnlyDisk(tmp_path)
    yield trouble
    trouble.close()


@pytest.fixture
def stopped(server: PostgresServer) -> Trouble:
    return troubles.Stopped(server)


@pytest.fixture
def in_recovery(server: PostgresServer) -> Trouble:
    return troubles.InRecovery(server)


@pytest.fixture(params=["locked", "damaged", "full_disk", "read_only_disk", "stopped", "in_recovery"])
def trouble(request: pytest.FixtureRequest) -> Trouble:
    found: Trouble = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def site(tmp_path: Path, trouble: Trouble) -> Iterator[Deployment]:
    """Not started yet."""
    if not shutil.which("nginx"):
        pytest.skip("no nginx here; .ci/system-packages installs it")
    (tmp_path / "shop.py").write_text(APPLICATION)
    site = Deployment(tmp_path, "shop:app", **trouble.environ)
    try:
        yield site
    finally:
        site.__exit__()


def fired(site: Deployment, job: str = "") -> list[tuple[str, datetime]]:
    """What the jobs wrote down themselves."""
    file = site.directory / "fires"
    lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return [(line[0], datetime.fromisoformat(line[1])) for line in lines if job in ("", line[0])]


def until(site: Deployment, condition: Callable[[], Any], what: str) -> Any:
    return wait_until(condition, what, _SOON_S, site.story)


def fires_again(site: Deployment) -> None:
    since = datetime.now(UTC)
    for job in ("every", "last"):
        until(site, lambda job=job: any(at > since for _, at in fired(site, job)), f"{job} fires again")


def says(answer: requests.Response, trouble: Trouble) -> bool:
    return answer.status_code == 503 and trouble.told in answer.json()["message"]


def serves_and_tells(site: Deployment, trouble: Trouble) -> None:
    """What is asked of a site whose ledger is in trouble."""
    ready = "/api/v1/health/ready"
    until(site, lambda: says(site.get(ready), trouble), f"readiness says: {trouble.told}\n{site.get(ready).text}")
    for path in ("/", "/api/v1/health/basic", "/api/v1/health/live", "/static/whalefall/whalefall.css"):
        assert site.get(path).status_code == 200, path
    told = trouble.told.lower()
    until(site, lambda: told in site.whalefall("health").stdout.lower(), "`health` says it")
    assert site.whalefall("health").returncode == 0, "the site itself is well"
    said = site.whalefall("check").stdout
    assert told in said.lower(), said
    assert "ok: " in said
    assert_sentences(site, trouble)
    assert "Traceback" not in site.output(), site.output()


def assert_sentences(site: Deployment, trouble: Trouble) -> None:
    """Pages and API that do need the ledger: what can be read is shown, the rest says what is wrong."""
    # Without a disk for its lock the scheduler does not even start; then Nginx speaks for it.
    starts = site.rows()["scheduler.1"]["state"] == "ready"
    pages = ("/login", "/dashboard", "/scheduler", "/runs")
    for path in (*pages, "/metrics"):
        page = site.get(path)
        assert page.status_code in (200, 503), f"{path}: {page.status_code} {page.text}"
        if not trouble.readable and path in pages:
            assert page.status_code == 503, path
            assert trouble.told in html.unescape(page.text), f"{path}: {page.text}"
    for path in ("/api/v1/scheduler/jobs", "/api/v1/scheduler/runs", "/api/v1/health"):
        answer = site.get(path)
        if answer.status_code == 502 and not starts:
            assert "does not answer right now" in answer.json()["message"]
        else:
            assert says(answer, trouble) or (trouble.readable and answer.status_code in (200, 503)), answer.text


def test_while_it_runs(site: Deployment, trouble: Trouble) -> None:
    site.start().until_ready()
    fires_again(site)
    trouble.begin()
    serves_and_tells(site, trouble)
    pids = {name: row["pid"] for name, row in site.rows().items()}
    trouble.end()
    fires_again(site)
    assert pids == {name: row["pid"] for name, row in site.rows().items()}, "nothing was restarted"
    all_is_well(site)


def all_is_well(site: Deployment) -> None:
    until(site, lambda: site.get("/api/v1/health").status_code == 200, "everything is well")
    assert site.get("/api/v1/health/ready").status_code == 200
    assert site.get("/login").status_code == 200
    assert site.whalefall("health").stdout.startswith("ok")
    assert site.stop() == 0
    twice = [fire for fire, count in collections.Counter(fired(site)).items() if count > 1]
    assert not twice, f"doubled: {twice}"
    report = site.whalefall("ledger", "verify")
    assert report.returncode == 0, report.stdout


def test_before_it_starts(site: Deployment, trouble: Trouble) -> None:
    site.start().until_ready()
    fires_again(site)
    assert site.stop() == 0
    trouble.begin()
    site.start().until(lambda rows: rows and rows["nginx.1"]["state"] == "ready", "the site serves without a ledger")
    serves_and_tells(site, trouble)
    trouble.end()
    fires_again(site)
    all_is_well(site)


@pytest.mark.parametrize("trouble", ["stopped"], indirect=True)
def test_before_it_has_ever_started(site: Deployment, trouble: Trouble) -> None:
    """The first administrator's link is made when it can be."""
    trouble.begin()
    site.start().until(lambda rows: rows and rows["nginx.1"]["state"] == "ready", "the site serves without a ledger")
    serves_and_tells(site, trouble)
    assert "/setup/" not in site.output()
    trouble.end()
    fires_again(site)
    until(site, lambda: site.get("/login").status_code == 200 and "/setup/" in site.output(), "the link is printed")
    all_is_well(site)
