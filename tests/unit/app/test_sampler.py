"""Samples of the processes, and what is forgotten: of all serving processes one writes each slot."""

import socket
import time
from datetime import UTC, datetime, timedelta

from sqlalchemy import insert, select, update

from tests.support.waiting import wait_until
from tests.unit.app.conftest import Visitor
from whalefall.app import sampler
from whalefall.app.store import audit, process_samples, samples, sessions, tables, users
from whalefall.scheduler import of

HOST = socket.gethostname()
NOON = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)


def test_of_several_processes_one_writes_each_slot(make) -> None:
    web, scheduler = make(enable_scheduler=False), make(enable_scheduler=True)
    taken = []
    for moment in (NOON + timedelta(seconds=31), NOON + timedelta(seconds=59), NOON + timedelta(seconds=60)):
        for app in (web, scheduler):
            with app.app_context():
                taken.append(sampler.take(moment))
    assert taken == [True, False, False, False, True, False]


def test_the_lines_of_a_process_are_those_of_this_host_in_order_of_time(app) -> None:
    engine = of(app).engine
    for minute, memory in ((2, 300), (0, 100), (1, 200)):
        at = NOON + timedelta(minutes=minute)
        process_samples.write(engine, HOST, at, [{"name": "web.1", "memory_bytes": memory, "cpu_percent": None}])
        process_samples.write(engine, "another", at, [{"name": "web.1", "memory_bytes": 1, "cpu_percent": 1.0}])
    found = process_samples.since(engine, NOON - timedelta(minutes=1), HOST)
    assert found == {"web.1": process_samples.Lines((100, 200, 300), (None, None, None))}
    assert process_samples.since(engine, NOON + timedelta(minutes=1), HOST)["web.1"].memory_bytes == (300,)


def test_the_hour_forgets_what_is_old_and_nothing_else(make) -> None:
    app = make(audit_days=30)
    engine, now = of(app).engine, datetime.now(UTC)
    change = audit.Change("ahab", "local", "job.run", "greet", "-")
    for _ in range(2):
        audit.write(engine, change)
    ids = [entry.id for entry in audit.page(engine)]
    session = sessions.begin(engine, users.by_name(engine, "viewer"))
    idle = sessions.begin(engine, users.by_name(engine, "viewer"))
    with engine.begin() as connection:
        old = update(tables.audit).where(tables.audit.c.id == ids[1]).values(at=now - timedelta(days=31))
        connection.execute(old)
        long_ago = update(tables.sessions).where(tables.sessions.c.key_hash == sessions.digest(idle))
        connection.execute(long_ago.values(last_seen_at=now - timedelta(hours=2)))
        connection.execute(
            insert(tables.process_samples).values(host=HOST, at=now - timedelta(days=2), name="web.1", memory_bytes=1)
        )
    with app.app_context():
        sampler.tidy(now)
    assert [entry.id for entry in audit.page(engine)] == [ids[0]]
    assert sessions.find(engine, session, timedelta(hours=1))
    with engine.connect() as connection:
        assert len(connection.execute(select(tables.sessions)).all()) == 1
        assert connection.execute(select(tables.process_samples)).all() == []


def test_an_application_of_ones_own_gets_samples_of_its_host_too(make, monkeypatch) -> None:
    """No job of ours is in it, so the thread writes them; it starts with the first request, and once."""
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/27")
    app = make()
    state = app.extensions["whalefall"]
    app.extensions["whalefall"] = type(state)(state.settings, state.run_dir, time.time(), is_builtin=False)
    visitor = Visitor(app)
    visitor.get("/login")
    visitor.get("/login")
    long_ago = datetime.now(UTC) - timedelta(minutes=1)
    try:
        wait_until(lambda: samples.since(of(app).engine, long_ago, HOST), "a sample was written")
    finally:
        sampler.stop(app)
    assert len(samples.since(of(app).engine, long_ago, HOST)) == 1
