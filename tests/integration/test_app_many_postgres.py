"""Ten thousand jobs and a million runs on PostgreSQL: what a page costs is counted in blocks that the server looks at.

Each statement that a page sends is planned and played once more, by EXPLAIN (ANALYZE, BUFFERS), on a connection of our
own: a block is 8 KB, in memory or on disk, and no load of the machine disturbs the count.
"""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from flask import Flask
from sqlalchemy import event

from tests.integration.test_app_many import JOBS, PAGES, RUNS_EACH
from tests.support.databases import postgres  # noqa: F401 - a fixture
from tests.support.history import fill
from tests.support.postgres import PostgresServer
from tests.unit.app.conftest import Visitor, as_user, make_app
from whalefall.scheduler import of

pytestmark = [pytest.mark.heavy, pytest.mark.timeout(900)]


BLOCKS = 10_000  # at most, for a page; the history has four times as many
BLOCKS_OF_HEALTH = 50_000  # its alarms look at the last run of each job: four blocks of an index, ten thousand times


class Meter:
    """What the server does for this application."""

    def __init__(self, app: Flask, url: str) -> None:
        self.connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
        self.said: list[tuple[str, Any]] = []
        event.listen(of(app).engine, "before_cursor_execute", self._note)

    def _note(self, connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "WITH")):
            self.said.append((statement, parameters))

    def plans_of(self, visitor: Visitor, path: str) -> list[dict[str, Any]]:
        self.said.clear()
        answer = visitor.get(path)
        assert answer.status_code in (200, 503), path  # 503: health, because nobody leads here
        return [self.plan(statement, parameters) for statement, parameters in self.said]

    def plan(self, statement: str, parameters: Any = None) -> dict[str, Any]:
        row = self.connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", parameters).fetchone()
        assert row is not None
        plan: dict[str, Any] = row[0][0]["Plan"]
        return plan


def blocks(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def reads_all_runs(plan: dict[str, Any]) -> bool:
    here = plan["Node Type"] == "Seq Scan" and plan["Relation Name"] == "wf_run"
    return here or any(map(reads_all_runs, plan.get("Plans", [])))


@pytest.fixture(scope="module")
def many(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Visitor, Meter]]:  # noqa: F811 - pytest's way
    url = postgres.new_database()
    app = make_app(tmp_path_factory.mktemp("many"), database_url=url)
    fill(of(app).ledger, jobs=JOBS, runs_each=RUNS_EACH)
    meter = Meter(app, url)
    yield as_user(app, "admin"), meter
    meter.connection.close()
    of(app).engine.dispose()


def test_the_meter_sees_a_look_at_every_run(many: tuple[Visitor, Meter]) -> None:
    _, meter = many
    everything = meter.plan("SELECT sum(length(output) + length(error)) FROM wf_run WHERE run_id > %s", ("0",))
    assert blocks(everything) > 3 * BLOCKS
    meter.connection.execute("SET max_parallel_workers_per_gather = 0")
    assert reads_all_runs(meter.plan("SELECT sum(length(output)) FROM wf_run"))


def test_no_page_reads_the_whole_history(many: tuple[Visitor, Meter]) -> None:
    visitor, meter = many
    visitor.get("/scheduler")  # the day's counters read its runs once; then they are kept
    plans = {path: meter.plans_of(visitor, path) for path, _, _ in PAGES}
    assert [path for path, found in plans.items() if any(map(reads_all_runs, found))] == []
    costs = {path: sum(map(blocks, found)) for path, found in plans.items()}
    limits = {"/api/v1/health": BLOCKS_OF_HEALTH}
    assert {path: cost for path, cost in costs.items() if cost > limits.get(path, BLOCKS)} == {}


def test_paging_to_the_end_costs_no_more_than_the_first_page(many: tuple[Visitor, Meter]) -> None:
    visitor, meter = many
    oldest = visitor.get("/api/v1/scheduler/runs?order=oldest&limit=100").json["data"][-1]["run_id"]
    last = meter.plans_of(visitor, f"/api/v1/scheduler/runs?limit=50&before={oldest}")
    assert sum(map(blocks, last)) < 100
