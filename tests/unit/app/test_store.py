"""The app's tables: the migrations arrive where tables.py says, on the database that is really used."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import inspect

from whalefall.app.jobs import look_at_host, prune_samples, sample_host
from whalefall.app.store import results, samples
from whalefall.app.store.engine import engine
from whalefall.app.store.tables import metadata
from whalefall.scheduler import of
from whalefall.scheduler.ledger.records import new_run_id


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
    before = results._first_id(datetime.now(UTC) - timedelta(milliseconds=1))
    after = results._first_id(datetime.now(UTC) + timedelta(seconds=60))
    assert before <= new_run_id() < after


def test_todays_counts_are_in_the_strip(app, admin) -> None:
    run_id = admin.post("/api/v1/scheduler/jobs/greet/actions/run", json={}).json["data"]["run_id"]
    admin.post(f"/api/v1/scheduler/runs/{run_id}/actions/cancel")
    counts = results.counts_since(of(app).engine, datetime.now(UTC) - timedelta(hours=1))
    assert counts == {"cancelled": 1}
    found = results.last_results(of(app).engine, ["greet", "fail"], 5)
    assert [result.state for result in found["greet"]] == ["cancelled"]
    assert found["fail"] == ()
