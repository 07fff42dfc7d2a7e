"""The app's tables: the migrations arrive where tables.py says, on the database that is really used."""

import threading
import time
from datetime import UTC, datetime, timedelta

import psutil
from sqlalchemy import event, inspect, update

from tests.support.waiting import wait_until
from whalefall.app.jobs import HostCpu, look_at_host, prune_samples, sample_host
from whalefall.app.store import samples
from whalefall.app.store.engine import engine
from whalefall.app.store.tables import metadata
from whalefall.scheduler import of
from whalefall.scheduler.ledger import overview
from whalefall.scheduler.ledger.engine import reading, writing
from whalefall.scheduler.ledger.records import new_run_id
from whalefall.scheduler.ledger.schema import job, run


def test_the_migrations_make_the_tables_that_the_code_expects(app) -> None:
    inspector = inspect(of(app).engine)
    for table in metadata.sorted_tables:
        found = {column["name"]: column for column in inspector.get_columns(table.name)}
        assert set(found) == {column.name for column in table.columns}, table.name
        for column in table.columns:
            expected = column.type.compile(of(app).engine.dialect)
            assert str(found[column.name]["type"]) == expected, (table.name, column.name)
            assert found[column.name]["nullable"] == column.nullable, (table.name, column.name)
        indexes = {index["name"] for index in inspector.get_indexes(table.name)}
        assert {index.name for index in table.indexes} <= indexes


def test_the_built_in_jobs_write_and_prune_samples_of_this_host(app) -> None:
    with app.app_context():
        sample_host()
        import socket

        host = socket.gethostname()
        old = look_at_host()
        samples.write(engine(), host, samples.HostSample(datetime.now(UTC) - timedelta(days=30), *_values(old)))
        assert len(samples.since(engine(), datetime.now(UTC) - timedelta(days=60), host)) == 2
        prune_samples()
        found = samples.since(engine(), datetime.now(UTC) - timedelta(days=60), host)
        assert samples.since(engine(), datetime.now(UTC) - timedelta(days=60), "another host") == []
    assert len(found) == 1
    assert 0 < found[0].memory_used < found[0].memory_total


def _values(sample: samples.HostSample) -> list[float]:
    return [getattr(sample, name) for name in samples.HostSample.__slots__[1:]]


def test_counts_start_at_the_first_id_of_that_moment() -> None:
    before = overview._first_id(datetime.now(UTC) - timedelta(milliseconds=1))
    after = overview._first_id(datetime.now(UTC) + timedelta(seconds=60))
    assert before <= new_run_id(datetime.now(UTC)) < after


def test_todays_counts_are_in_the_strip(app, admin) -> None:
    run_id = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"]
    admin.post(f"/api/v1/scheduler/runs/{run_id}/actions/cancel")
    with reading(of(app).engine) as connection:
        counts = overview.counts_since(connection, datetime.now(UTC) - timedelta(hours=1))
        found = overview.last_results(connection, ["greet", "fail"], 5)
    assert counts == {"cancelled": 1}
    assert [result.state for result in found["greet"]] == ["cancelled"]
    assert found["fail"] == ()


def plan_of(connection, query: str, *values: object) -> str:
    return " | ".join(row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", tuple(values)))


def test_what_pages_ask_of_many_runs_follows_an_index(app) -> None:
    """With a million runs on record a scan of the table is what makes a page hang."""
    asked: list[tuple[str, tuple]] = []
    engine_ = of(app).engine
    event.listen(engine_, "before_cursor_execute", lambda *a: asked.append((a[2], a[3])))
    now = datetime.now(UTC)
    with reading(engine_) as connection:
        overview.last_results(connection, ["greet"], 20)
        overview.counts_since(connection, now)
        overview.counts_since(connection, now, now - timedelta(hours=1), now)
        overview.running_ids(connection, 50)
        overview.soonest_ids(connection, now, 200)
        overview.troubled_ids(connection, now, now, 20)
        looks = [(statement, values) for statement, values in asked if "FROM wf_run" in statement]
        plans = {statement: plan_of(connection, statement, *values) for statement, values in looks}
    assert len(plans) >= 4
    for statement, plan in plans.items():
        assert "SCAN wf_run" not in plan or "USING" in plan, (statement, plan)


def test_the_page_of_jobs_is_filtered_ordered_and_cut_in_the_database(app) -> None:
    with reading(of(app).engine) as connection:
        assert overview.page_of_ids(connection, "", 2, 0) == (["check_ledger", "fail"], 5)
        assert overview.page_of_ids(connection, "", 2, 2) == (["greet", "prune_samples"], 5)
        assert overview.page_of_ids(connection, "SAYS hello", 9, 0) == (["greet"], 1)
        assert overview.page_of_ids(connection, "%", 9, 0) == ([], 0)


def test_what_needs_attention_is_found_wherever_it_is(app, admin) -> None:
    engine_ = of(app).engine
    now = datetime.now(UTC)
    with writing(engine_) as connection:
        connection.execute(update(job).where(job.c.job_id == "greet").values(broken_reason="ModuleNotFoundError: x"))
        connection.execute(update(job).where(job.c.job_id == "fail").values(next_fire_at=now - timedelta(minutes=10)))
    with reading(engine_) as connection:
        found = overview.troubled_ids(connection, now - timedelta(minutes=1), now - timedelta(days=1), 20)
    assert {"fail", "greet"} <= set(found)  # and sample_host, on a slow day
    page = admin.get("/scheduler?q=sample").text
    assert "cannot be run: ModuleNotFoundError: x" in page
    assert "is overdue since" in page


def test_a_failure_is_told_with_its_last_words_wherever_it_is_listed(app, admin) -> None:
    """One who sees that a job failed wants to know what of, before any click."""
    assert of(app).start()  # first: what the template's jobs missed since it was made is on record before, not after
    try:
        started = admin.post("/api/v1/scheduler/jobs/fail/actions/run", json={}).json["data"]["run_id"]
        address = f"/api/v1/scheduler/runs/{started}"
        wait_until(lambda: admin.get(address).json["data"]["state"] == "failed", "the run has failed")
    finally:
        of(app).stop(5)
    for path in ("/dashboard", "/scheduler", "/runs", "/scheduler/jobs/fail"):
        page = admin.get(path).text
        assert "ValueError: as it was told to" in page, path
        assert "Traceback" not in page, path
    assert f"/runs/{started}" in attention(admin)
    assert "ValueError: as it was told to" in attention(admin)
    with writing(of(app).engine) as connection:  # as the sweeper writes it of a runner that was killed
        connection.execute(update(run).values(state="lost", error="", reason="lost: its runner ab:1 stopped reporting"))
    assert "lost: its runner ab:1 stopped reporting" in attention(admin)


def attention(visitor) -> str:
    """What stands under "Needs attention" of the job that fails."""
    return visitor.get("/scheduler").text.partition('id="a-failing-fail"')[2].partition("</li>")[0]


def test_the_hosts_cpu_is_the_same_for_every_thread_that_looks() -> None:
    """psutil answers 0 to the first look of a thread, and Gunicorn's threads take turns."""
    cpu = HostCpu()
    end = time.process_time() + 2 * (psutil.cpu_count() or 1)
    while time.process_time() < end and cpu.percent() == 0:
        sum(range(10_000))  # keeps a core busy until there is something to tell
    found: list[float] = []
    thread = threading.Thread(target=lambda: found.append(cpu.percent()))
    thread.start()
    thread.join()
    assert 0 < found[0] <= 100
