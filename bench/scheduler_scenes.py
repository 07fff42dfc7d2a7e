"""ONE SCENE OF THE SCHEDULER'S BENCH, in a process of its own: what it says is one line of JSON.

A process for each, so that no scene inherits another's memory, threads or caches. Nobody looks on while something is
measured: each contestant notes the moment in its own path, after the commit and in the job's first line, and the
ledger is read when all is over, to see that the work was done.

    python -m bench.scheduler_scenes SCENE '{"url": …}'
"""

import json
import logging
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask
from sqlalchemy import text

from whalefall import Scheduler, current_run
from whalefall.scheduler import SchedulerState, of
from whalefall.scheduler.ledger.engine import make_engine, reading
from whalefall.settings import Settings

PATIENCE_S = 150.0  # for a burst to end
SPARE_S = 1.0  # all must be ready this long before the common instant
THREADS = 10  # of both contestants
THEIR_PATIENCE_S = 60.0  # on a busy machine it takes minutes; then its rate is that of this minute
SETTLE_S = 3.0  # before CPU time is counted
TOO_LATE = 75  # EX_TEMPFAIL of sysexits.h

Result = dict[str, Any]


class Notes:
    """When the jobs' first lines were reached. `work` is what both contestants run."""

    def __init__(self) -> None:
        self.started: list[float] = []
        self.lateness_s: list[float] = []
        self.wanted = sys.maxsize
        self.complete = threading.Event()

    def wait(self) -> None:
        if not self.complete.wait(PATIENCE_S):
            raise TimeoutError(f"{len(self.started)} of {self.wanted} jobs had started after {PATIENCE_S:.0f} s")


notes = Notes()


def work() -> None:
    notes.started.append(time.time())
    if len(notes.started) >= notes.wanted:
        notes.complete.set()


def punctual() -> None:
    notes.lateness_s.append(time.time() - current_run.scheduled_at.timestamp())
    work()


class Steps:
    """When whalefall reached a step last, and how often."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.times: dict[str, int] = {}

    def reached(self, step: str) -> None:
        self.last[step] = time.time()
        self.times[step] = self.times.get(step, 0) + 1


@contextmanager
def _scheduling(url: str, scheduler: Scheduler, steps: Steps | None = None) -> Iterator[SchedulerState]:
    app = Flask("bench", root_path=str(Path(__file__).parent))
    app.config.update(SCHEDULER_DATABASE_URL=url, SCHEDULER_THREADS=THREADS)
    scheduler.init_app(app, Settings.load())
    state = of(app)
    state.checkpoints = steps or state.checkpoints
    try:
        yield state
    finally:
        state.stop(5)
        state.ledger.engine.dispose()


def burst(url: str, jobs: int, lead_s: float) -> Result:
    """`jobs` daily jobs, all due at the same second of the clock."""
    instant = _instant(lead_s)
    scheduler = Scheduler()
    for number in range(jobs):
        scheduler.task("cron", id=f"job{number}", **_daily(instant), timezone="UTC")(work)
    notes.wanted = jobs
    steps = Steps()
    with _scheduling(url, scheduler, steps) as state:
        state.start()
        _in_time(instant)
        notes.wait()
        assert state.runtime is not None
        assert state.runtime.roster.wait_until_empty(PATIENCE_S), "the ends of all runs were not recorded"
        recorded = _recorded(state)
    assert recorded == (jobs, jobs, 1, jobs), f"{jobs} due; runs, jobs, instants, succeeded: {recorded}"
    assert min(notes.started) >= instant.timestamp(), "a job started before its time"
    return _burst(instant, steps.last["fire.committed"]) | {
        "ended_s": steps.last["finish.committed"] - instant.timestamp(),
        "transactions": steps.times["fire.committed"],
    }


def _recorded(state: SchedulerState) -> tuple[int, ...]:
    """Runs, jobs that have one, instants, and runs that succeeded."""
    query = (
        "SELECT count(*), count(DISTINCT job_id), count(DISTINCT scheduled_at), "
        "sum(CASE state WHEN 'succeeded' THEN 1 ELSE 0 END) FROM wf_run"
    )
    with reading(state.ledger.engine) as connection:
        return tuple(int(count) for count in connection.execute(text(query)).one())


class NotingStore(SQLAlchemyJobStore):
    """APScheduler's store as it is, but for the moment after each write, and for many new jobs in one transaction."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.recorded: list[float] = []
        self._waiting: list[dict[str, Any]] | None = []

    def add_job(self, job: Any) -> None:
        assert self._waiting is not None
        due = job.next_run_time.timestamp()
        state = pickle.dumps(job.__getstate__(), self.pickle_protocol)
        self._waiting.append({"id": job.id, "next_run_time": due, "job_state": state})

    def write_added(self) -> None:
        """Preparing is not measured; one by one it takes as long as the scene."""
        with self.engine.begin() as connection:
            connection.execute(self.jobs_t.insert(), self._waiting)
        self._waiting = None

    def update_job(self, job: Any) -> None:
        super().update_job(job)  # one transaction
        self.recorded.append(time.time())


def their_burst(url: str, jobs: int, lead_s: float, *, tuned: bool = False) -> Result:
    """The same in APScheduler, as far as it comes in a minute.

    `tuned`: on whalefall's engine (SQLite: WAL), which is not what its users have.
    """
    instant = _instant(lead_s)
    store = NotingStore(engine=make_engine(url)) if tuned else NotingStore(url=url)
    scheduler = BackgroundScheduler(
        jobstores={"default": store}, job_defaults={"misfire_grace_time": None}, timezone="UTC"
    )
    for number in range(jobs):
        scheduler.add_job(work, "cron", id=f"job{number}", **_daily(instant))
    notes.wanted = jobs
    scheduler.start(paused=True)
    store.write_added()
    scheduler.resume()
    _in_time(instant)
    deadline = instant.timestamp() + THEIR_PATIENCE_S
    while len(store.recorded) < jobs and time.time() < deadline:
        notes.complete.wait(0.1)  # until all have started; the last record follows, or is before it
        time.sleep(0.1)
    recorded = store.recorded.copy()
    _say({**_burst(instant, recorded[-1]), "jobs": len(recorded)})
    os._exit(0)  # its shutdown would wait for all jobs of the pass that goes on


def _instant(lead_s: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=lead_s)


def _daily(instant: datetime) -> dict[str, int]:
    return {"hour": instant.hour, "minute": instant.minute, "second": instant.second}


def _in_time(instant: datetime) -> None:
    """On a slow machine, adding the jobs may take until they are due: then nothing was measured."""
    if instant.timestamp() - time.time() < SPARE_S:
        os._exit(TOO_LATE)  # with all its threads, whatever they do


def _burst(instant: datetime, recorded: float) -> Result:
    due = instant.timestamp()
    late = sorted(each - due for each in notes.started)
    return {
        "jobs": len(late),
        "recorded_s": recorded - due,
        "started_s": late[-1],
        "late_p50_s": quantile(late, 0.5),
        "late_p99_s": quantile(late, 0.99),
    }


def alone(url: str, every_s: float, fires: int) -> Result:
    """One job, and nothing else due. The first fires, of a process that has just begun, are not counted."""
    scheduler = Scheduler()
    scheduler.task("interval", id="tick", seconds=every_s)(punctual)
    warm = int(SETTLE_S / every_s)
    notes.wanted = fires + warm
    with _scheduling(url, scheduler) as state:
        state.start()
        notes.wait()
    return {"lateness_s": notes.lateness_s[warm:]}


def idle(url: str, jobs: int, watch_s: float) -> Result:
    """CPU seconds of this process, and of the database's processes that serve it, while nothing is due."""
    scheduler = Scheduler()
    for number in range(jobs):
        scheduler.task("cron", id=f"job{number}", month=1, day=1)(work)
    with _scheduling(url, scheduler) as state:
        began = time.monotonic()
        state.start()
        _until(lambda: len(state.ledger.page_of_job_ids("", 1, 0)[0]) == min(jobs, 1))
        declared_s = time.monotonic() - began
        time.sleep(SETTLE_S)
        processes = [psutil.Process().pid, *_servers_of(url)]
        before = _cpu_s(processes)
        time.sleep(watch_s)
        used_s = _cpu_s(processes) - before
    return {"declared_s": declared_s, "cpu_s": used_s, "percent": 100 * used_s / watch_s}


def _servers_of(url: str) -> list[int]:
    """PostgreSQL's processes that serve this database: `postgres: user database host(port) idle`."""
    if not url.startswith("postgresql"):
        return []
    name = url.rpartition("/")[2]
    titles = {process.pid: " ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])}
    return [pid for pid, title in titles.items() if title.startswith("postgres: ") and f" {name} " in title]


def _cpu_s(pids: Sequence[int]) -> float:
    """Of all their threads, in nanoseconds' precision: the ticks of stat(5) are too coarse here."""
    files = (path for pid in pids for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[0]) for path in files) / 1e9


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE_S:.0f} s")
        time.sleep(0.1)  # nothing is measured by now, or nothing has begun


def quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


SCENES: dict[str, Callable[..., Result]] = {
    "burst": burst,
    "their_burst": their_burst,
    "alone": alone,
    "idle": idle,
}


def main() -> None:
    logging.basicConfig(level=logging.WARNING)
    name, arguments = sys.argv[1:]
    _say(SCENES[name](**json.loads(arguments)))


def _say(result: Result) -> None:
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
