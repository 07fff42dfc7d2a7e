"""Ten thousand jobs and a million runs: what a page costs is counted in steps of the database, which no load disturbs.

A step is one instruction of SQLite's virtual machine (sqlite.org/opcode.html). Reading one row takes five or more, so a
look at every run of the history is several million.
"""

from collections.abc import Iterator

import pytest
from flask import Flask
from sqlalchemy import event, text

from tests.support.history import fill
from tests.unit.app.conftest import Visitor, as_user, make_app
from whalefall.scheduler import of

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]  # a million rows take a while on a busy machine

JOBS, RUNS_EACH = 10_000, 100
COUNTED_IN = 1_000
# (path, at most so many thousand steps, at most so many statements)
PAGES = [
    ("/dashboard", 50, 30),
    ("/scheduler", 1_000, 150),
    ("/scheduler?q=job09&page=3", 1_000, 150),
    ("/scheduler?page=200", 1_000, 150),
    ("/scheduler/timeline", 1_000, 2_000),
    ("/scheduler/jobs/job00007", 100, 60),
    ("/scheduler/jobs/job00007/edit", 50, 60),
    ("/runs", 50, 20),
    ("/runs?state=failed", 50, 20),
    ("/runs?state=queued", 50, 20),
    ("/runs?source=manual", 50, 20),
    ("/runs?job_id=job05000", 50, 20),
    ("/api/v1/scheduler/runs?order=oldest", 50, 20),
    ("/api/v1/scheduler/jobs?limit=100&offset=9000", 500, 30),
    ("/api/v1/scheduler/state", 50, 30),
    ("/api/v1/health", 500, 30),  # its alarms look at the last run of each job
]


class Meter:
    """Counts what the database does for this application."""

    def __init__(self, app: Flask) -> None:
        self.thousands = self.statements = 0
        event.listen(of(app).engine, "before_cursor_execute", self._note)

    def _note(self, connection, *_: object) -> None:
        self.statements += 1
        connection.connection.driver_connection.set_progress_handler(self._step, COUNTED_IN)

    def _step(self) -> int:
        self.thousands += 1
        return 0  # go on

    def cost_of(self, visitor: Visitor, path: str) -> tuple[int, int]:
        self.thousands = self.statements = 0
        answer = visitor.get(path)
        assert answer.status_code in (200, 503), path  # 503: health, because nobody leads here
        return self.thousands, self.statements

    def cost_of_every_run(self, app: Flask) -> int:
        """What a look at each of them costs."""
        self.thousands = 0
        with of(app).engine.connect() as connection:
            connection.execute(text("SELECT sum(length(output) + length(error)) FROM wf_run")).one()
        return self.thousands


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    app = make_app(tmp_path_factory.mktemp("many"))
    fill(of(app).ledger, jobs=JOBS, runs_each=RUNS_EACH)
    yield app
    of(app).engine.dispose()


def test_no_page_reads_the_whole_history(app: Flask) -> None:
    visitor, meter = as_user(app, "admin"), Meter(app)
    assert meter.cost_of_every_run(app) > 5_000, "the meter would not see a page that reads everything"
    meter.cost_of(visitor, "/scheduler")  # the day's counters read its runs once; then they are kept
    costs = {path: meter.cost_of(visitor, path) for path, _, _ in PAGES}
    limits = {path: (steps, statements) for path, steps, statements in PAGES}
    assert {path: cost for path, cost in costs.items() if any(map(int.__gt__, cost, limits[path]))} == {}
    assert visitor.get("/runs").text.count("<tr id=") == 50


def test_paging_to_the_end_costs_no_more_than_the_first_page(app: Flask) -> None:
    visitor, meter = as_user(app, "admin"), Meter(app)
    first, _ = meter.cost_of(visitor, "/api/v1/scheduler/runs?limit=50")
    oldest = visitor.get("/api/v1/scheduler/runs?order=oldest&limit=100").json["data"][-1]["run_id"]
    last, _ = meter.cost_of(visitor, f"/api/v1/scheduler/runs?limit=50&before={oldest}")
    assert last <= first + 5


def test_the_whole_list_of_jobs_is_one_reading_of_them_and_not_of_their_runs(app: Flask) -> None:
    visitor, meter = as_user(app, "admin"), Meter(app)
    steps, statements = meter.cost_of(visitor, "/api/v1/scheduler/jobs")
    assert steps < 3_000
    assert statements < 100
