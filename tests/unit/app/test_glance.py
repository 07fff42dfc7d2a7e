"""What a team lead sees at a glance: the strip, what needs attention, what runs now, why it ran, what it died of."""

import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from tests.support.waiting import wait_until
from tests.unit.app.conftest import Visitor, as_user
from whalefall import Scheduler, current_run
from whalefall.app.pages.scheduler import JobRow, needs_attention, remaining_s
from whalefall.scheduler import of
from whalefall.scheduler.ledger import overview
from whalefall.scheduler.ledger.engine import reading, writing
from whalefall.scheduler.ledger.overview import Result

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
gate = threading.Event()


def work() -> None:
    """Works until the test opens the gate."""
    current_run.progress(0.4, "page 2 of 5")
    logging.getLogger("shop").warning("booked order 7")
    gate.wait(60)


@pytest.fixture
def led(app: Flask) -> Iterator[Flask]:
    """With a scheduler that leads, and a job that waits for the gate."""
    gate.clear()
    extra = Scheduler()
    extra.task("cron", id="work", name="Work", hour=3)(work)
    of(app).declarations.update(extra.declarations)
    of(app).reconcile()
    assert of(app).start()
    try:
        wait_until(lambda: of(app).admin.health().healthy, "somebody leads")
        yield app
    finally:
        gate.set()
        of(app).stop(20)


def words(page: str) -> str:
    """What stands on the page, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def run(visitor: Visitor, job_id: str, state: str, **body: Any) -> str:
    """A run of the job, in the state that it shall come to."""
    run_id: str = visitor.post(f"/api/v1/scheduler/jobs/{job_id}/actions/run", json=body).json["data"]["run_id"]
    address = f"/api/v1/scheduler/runs/{run_id}"
    wait_until(lambda: visitor.get(address).json["data"]["state"] == state, f"{job_id} is {state}")
    return run_id


COUNTED = ("succeeded", "failed", "missed", "skipped")


def shown_of_today(visitor: Visitor) -> dict[str, int]:
    found = re.findall(rf"(\d+) ({'|'.join(COUNTED)})\b", words(visitor.get("/scheduler").text))
    return {word: int(number) for number, word in found}


def recorded_of_today(app: Flask) -> dict[str, int]:
    with reading(of(app).engine) as connection:
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        counts = overview.counts_since(connection, midnight)
    return {word: counts[word] for word in COUNTED}


def test_the_strip_tells_leader_term_tick_standby_backlog_next_fire_and_today(
    led: Flask, make: Callable[..., Flask]
) -> None:
    admin = as_user(led, "admin")
    run(admin, "greet", "succeeded")
    run(admin, "fail", "failed")
    page = admin.get("/scheduler").text
    strip = words(page.partition('<section class="strip"')[2].partition("</section>")[0])
    assert re.search(r"Scheduler Ticking last tick [\d.]+ m?s ago", strip), strip
    assert f"Leader {socket.gethostname()} term 1 · no standby" in strip
    assert re.search(r"Next fire 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC nothing is late", strip), strip
    assert 'data-when="due"' in page
    wait_until(lambda: shown_of_today(admin) == recorded_of_today(led), "the strip counts what is on record")
    assert shown_of_today(admin)["failed"] >= 1
    second = make()
    assert of(second).start()
    try:
        wait_until(lambda: "1 standby: " in words(admin.get("/scheduler").text), "the strip names the standby")
    finally:
        of(second).stop(20)


def test_a_run_that_works_is_shown_with_its_progress_its_words_and_a_way_to_stop_it(led: Flask) -> None:
    admin, viewer = as_user(led, "admin"), as_user(led, "viewer")
    run_id = run(admin, "work", "running")
    wait_until(lambda: "page 2 of 5" in viewer.get("/scheduler").text, "the page has what the run said")
    row = admin.get("/scheduler").text.partition(f'id="n-{run_id}"')[2].partition("</li>")[0]
    assert 'value="0.400"' in row
    assert f'action="/api/v1/scheduler/runs/{run_id}/actions/cancel"' in row
    assert "actions/cancel" not in viewer.get("/scheduler").text
    wait_until(lambda: "booked order 7" in viewer.get(f"/runs/{run_id}").text, "its page has its output")
    gate.set()
    wait_until(lambda: f'id="n-{run_id}"' not in viewer.get("/scheduler").text, "it runs no more")


def test_a_runs_page_tells_why_it_ran_and_what_it_died_of(led: Flask) -> None:
    admin = as_user(led, "admin")
    page = admin.get(f"/runs/{run(admin, 'fail', 'failed', reason='to see it fail')}").text
    wrong = page.partition("What went wrong")[2].partition("</section>")[0]
    assert "Traceback (most recent call last)" in wrong
    assert "ValueError: as it was told to" in wrong
    assert "admin asked for it: to see it fail" in words(page)
    assert f"Run by {socket.gethostname()}" in words(page)


def test_a_runs_page_tells_why_it_did_not_run(app: Flask) -> None:
    admin = as_user(app, "admin")
    run_id = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"]
    admin.post(f"/api/v1/scheduler/runs/{run_id}/actions/cancel", json={})
    told = words(admin.get(f"/runs/{run_id}").text)
    assert "greet cancelled" in told
    assert "cancelled by admin before it started" in told


def test_a_jobs_page_plots_each_run_and_tells_what_is_usual(led: Flask) -> None:
    admin = as_user(led, "admin")
    for _ in range(3):
        run(admin, "greet", "succeeded")
    run(admin, "work", "running")
    page = admin.get("/scheduler/jobs/greet").text
    assert page.count('<rect class="bar good"') == page.count('<i class="dot good"') == 3
    assert re.search(r"Usually takes [\d.]+ m?s", words(page))
    assert page.count('id="r-') == 3
    assert "How long the runs took, the longest" in page


def test_runs_that_took_less_than_the_clock_can_tell_are_plotted_too(led: Flask) -> None:
    admin = as_user(led, "admin")
    run_id = run(admin, "greet", "succeeded")
    with writing(of(led).engine) as connection:
        connection.execute(text("UPDATE wf_run SET finished_at = started_at WHERE run_id = :id"), {"id": run_id})
    page = admin.get("/scheduler/jobs/greet").text
    assert page.count('<rect class="bar good"') == 1
    assert "the longest 0 ms" in page


def row(*durations_s: float, **job: Any) -> JobRow:
    """A job whose runs all succeeded and took so long."""
    known = {"source": "code", "next_run_time": None, "broken_reason": ""} | job
    ends = [(NOW, NOW + timedelta(seconds=duration_s)) for duration_s in durations_s]
    runs = tuple(Result(str(number), "succeeded", NOW, *both) for number, both in enumerate(ends))
    return JobRow(SimpleNamespace(id="a", **known), runs)


def test_only_what_took_much_longer_than_usual_is_slow() -> None:
    assert [item.kind for item in needs_attention(row(10, 10, 10, 31))] == ["slow"]
    assert needs_attention(row(10, 10, 10, 29)) == []
    assert needs_attention(row(0.01, 0.01, 0.9)) == []  # below a second nobody waits


@pytest.mark.parametrize(
    ("progress", "elapsed_s", "usual_s", "left_s"),
    [
        (0.5, 10, None, 10),
        (0.25, 10, 100, 30),  # what the run says of itself counts more than the past
        (0.01, 10, 100, 90),
        (None, 10, 100, 90),
        (None, 10, None, None),
        (None, 101, 100, None),
        (0.9, 1, None, None),  # too early to tell
    ],
)
def test_what_remains_is_told_from_progress_or_from_what_is_usual(
    progress: float | None, elapsed_s: float, usual_s: float | None, left_s: float | None
) -> None:
    told = remaining_s(
        SimpleNamespace(started_at=NOW - timedelta(seconds=elapsed_s), progress=progress),
        usual_s,
        NOW,
    )
    assert told == left_s
