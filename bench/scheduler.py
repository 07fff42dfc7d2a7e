"""10,000 jobs due in the same second: how long until all are on record, until all have started, and how late they were.

Beside it, in the same run, APScheduler 3.11 with its SQLAlchemyJobStore on the same database. Prints; asserts nothing.

    .venv/bin/python bench/scheduler.py [--jobs 10000] [--postgres postgresql://…] [--idle 100000]
"""

import argparse
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from apscheduler.events import EVENT_JOB_EXECUTED
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask
from sqlalchemy import text

from whalefall import Scheduler, current_run
from whalefall.scheduler import SchedulerState, of
from whalefall.scheduler.ledger.engine import make_engine
from whalefall.settings import Settings

_LEAD_S = 3.0  # between the start of the scheduler and the common instant
started: list[float] = []
_lateness: list[float] = []


def work() -> None:
    """Nothing but the note that it was here."""
    now = time.time()
    started.append(now)
    if current_run:
        _lateness.append(now - current_run.scheduled_at.timestamp())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--idle", type=int, default=100_000)
    parser.add_argument("--postgres", default="", help="URL; without one a server is started from the Debian package")
    parser.add_argument("--only", choices=["sqlite", "postgres"], default="")
    options = parser.parse_args()
    for name, url in databases(options):
        print(f"\n{name}")
        ours = burst(url(), options.jobs)
        theirs = their_burst(url(), options.jobs)
        print(f"  on record, against APScheduler's rate: {theirs['all started'] / ours['all on record']:.1f} x")
        punctual(url())
        idle(url(), options.idle)


def databases(options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    directory = Path(tempfile.mkdtemp(prefix="wfbench"))
    if options.only != "postgres":
        names = iter(range(100))
        yield "SQLite (WAL, synchronous=FULL)", lambda: f"sqlite:///{directory}/{next(names)}.db"
    if options.only == "sqlite":
        return
    if options.postgres:
        yield "PostgreSQL", lambda: options.postgres
        return
    from tests.support.postgres import PostgresServer  # noqa: PLC0415 - only when no URL is given

    with PostgresServer(fsync=True) as server:
        yield "PostgreSQL (fsync on)", server.new_database


@contextmanager
def scheduling(url: str, scheduler: Scheduler, **config: Any) -> Iterator[SchedulerState]:
    app = Flask("bench")
    app.config.update(SCHEDULER_DATABASE_URL=url, SCHEDULER_THREADS=10, **config)
    scheduler.init_app(app, Settings.load({"ENABLE_SCHEDULER": "true"}))
    state = of(app)
    try:
        yield state
    finally:
        state.stop(2)
        state.ledger.engine.dispose()


def burst(url: str, jobs: int) -> dict[str, float]:
    started.clear()
    _lateness.clear()
    instant = (datetime.now(UTC) + timedelta(seconds=_LEAD_S + jobs / 3000)).replace(microsecond=0)
    scheduler = Scheduler()
    for number in range(jobs):
        scheduler.task("date", id=f"job{number}", run_date=instant)(work)
    with scheduling(url, scheduler) as state:
        state.start()
        on_record = threading.Thread(target=_watch_record, args=(state, jobs, instant.timestamp(), result := {}))
        on_record.start()
        _wait_for(jobs)
        on_record.join()
    result["all started"] = max(started) - instant.timestamp()
    late = sorted(_lateness)
    result["late p50"], result["late p99"] = late[len(late) // 2], late[int(len(late) * 0.99)]
    _show(f"whalefall, {jobs} jobs at once", result)
    return result


def _watch_record(state: SchedulerState, jobs: int, instant: float, result: dict[str, float]) -> None:
    engine = make_engine(state.database_url)
    while True:
        with engine.connect().execution_options(whalefall_read=True) as connection:
            if connection.execute(text("SELECT count(*) FROM wf_run")).scalar_one() >= jobs:
                result["all on record"] = time.time() - instant
                break
        time.sleep(0.02)
    engine.dispose()


def their_burst(url: str, jobs: int) -> dict[str, float]:
    started.clear()
    store = SQLAlchemyJobStore(engine=make_engine(url))
    instant = (datetime.now(UTC) + timedelta(seconds=_LEAD_S + jobs / 500)).replace(microsecond=0)
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, job_defaults={"misfire_grace_time": None}, timezone="UTC"
    )
    scheduler.add_listener(lambda event: None, EVENT_JOB_EXECUTED)
    for number in range(jobs):
        scheduler.add_job(work, "date", id=f"job{number}", run_date=instant)
    scheduler.start()
    _wait_for(jobs)
    scheduler.shutdown()
    store.engine.dispose()
    result = {"all started": max(started) - instant.timestamp()}
    _show(f"APScheduler {jobs} jobs at once", result)
    return result


def punctual(url: str) -> None:
    """One job a second and nothing else due."""
    started.clear()
    _lateness.clear()
    scheduler = Scheduler()
    scheduler.task("interval", id="tick", seconds=0.25)(work)
    with scheduling(url, scheduler) as state:
        state.start()
        _wait_for(100)
    late = sorted(_lateness)
    _show("alone, each 0.25 s", {"late p50": late[len(late) // 2], "late p99": late[int(len(late) * 0.99)]})


def idle(url: str, jobs: int) -> None:
    """CPU seconds of ten idle seconds, with none and with many jobs."""
    scheduler = Scheduler()
    for number in range(jobs):
        scheduler.task("cron", id=f"job{number}", month=1, day=1)(work)
    with scheduling(url, scheduler) as state:
        began = time.monotonic()
        state.start()
        while not state.ledger.jobs():
            time.sleep(0.5)
        print(f"  {jobs} idle jobs: declared in {time.monotonic() - began:.1f} s", end="")
        time.sleep(1)
        before = _cpu_s()
        time.sleep(10)
        print(f", CPU while idle {(_cpu_s() - before) * 10:.1f} %")


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _wait_for(count: int) -> None:
    while len(started) < count:
        time.sleep(0.02)


def _show(what: str, figures: dict[str, float]) -> None:
    print(f"  {what}: " + ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in figures.items()))


if __name__ == "__main__":
    main()
