"""`make bench-scheduler`: 10,000 jobs due in the same second, one job alone, 100,000 jobs idle; beside APScheduler.

On SQLite and PostgreSQL, each scene in a process and a database of its own. Writes
docs/explanation/measurements-scheduler.md; asserts no times.

    .venv/bin/python -m bench.scheduler [--quick] [--only sqlite|postgresql]
"""

import argparse
import contextlib
import itertools
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from bench.page import ROOT, Row, machine, table, write
from bench.scheduler_scenes import PATIENCE_S, THREADS, TOO_LATE, Result, quantile
from tests.support.postgres import PostgresServer, binaries

PAGE = ROOT / "docs" / "explanation" / "measurements-scheduler.md"
SCENE_S = 2 * PATIENCE_S + 60  # no scene takes longer, or it hangs
EVERY_S = 0.1  # between the fires of the lone job: the shortest interval there is


@dataclass(frozen=True, slots=True)
class Sizes:
    jobs: int = 10_000
    rounds: int = 3
    lead_s: float = 7.0  # to declare, add and read the jobs before they are due; if it is too short, thrice that
    fires: int = 400
    idle_jobs: int = 100_000
    idle_s: float = 20.0


QUICK = Sizes(jobs=1_000, rounds=1, lead_s=5.0, fires=50, idle_jobs=1_000, idle_s=3.0)


@dataclass(frozen=True, slots=True)
class Database:
    """Answers a new, empty database each time."""

    name: str
    new: Callable[[], str]
    tunable: bool = False  # is whalefall's engine another than SQLAlchemyJobStore's?


@contextmanager
def databases(only: str, directory: Path) -> Iterator[list[Database]]:
    with contextlib.ExitStack() as stack:
        found = []
        if only != "postgresql":
            numbers = itertools.count(1)
            found.append(Database("SQLite", lambda: f"sqlite:///{directory}/{next(numbers)}.db", tunable=True))
        if only != "sqlite":
            server = stack.enter_context(PostgresServer(fsync=True))
            found.append(Database("PostgreSQL", server.new_database))
        yield found


def scene(name: str, directory: Path, **arguments: Any) -> Result:
    """Plays it in a new process; what goes wrong there is said here."""
    environ = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DATA_DIR": str(directory),
        "RUN_DIR": str(directory / "run"),
        "ENABLE_SCHEDULER": "true",
    }
    command = [sys.executable, "-m", "bench.scheduler_scenes", name, json.dumps(arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, timeout=SCENE_S, check=True)
    result: Result = json.loads(done.stdout)
    return result


def crowd(name: str, database: Database, directory: Path, sizes: Sizes, **arguments: Any) -> Result:
    """A scene in which all jobs are due at one instant, that lies far enough ahead."""
    for lead_s in (sizes.lead_s, 3 * sizes.lead_s):
        try:
            return scene(name, directory, url=database.new(), jobs=sizes.jobs, lead_s=lead_s, **arguments)
        except subprocess.CalledProcessError as error:
            if error.returncode != TOO_LATE:
                raise
    raise SystemExit(f"{sizes.jobs} jobs could not be added within {3 * sizes.lead_s:g} s: the machine is too busy.")


def burst(database: Database, directory: Path, sizes: Sizes) -> str:
    rounds = [crowd("burst", database, directory, sizes) for _ in range(sizes.rounds)]
    ours = {name: statistics.median(each[name] for each in rounds) for name in rounds[0]}
    theirs = {"APScheduler, `SQLAlchemyJobStore(url=…)`": False}
    if database.tunable:
        theirs["APScheduler, its store on whalefall's engine (WAL)"] = True
    rows = [_burst_row(f"whalefall, median of {sizes.rounds}", ours, ours, sizes.jobs)]
    rows.append(
        _burst_row("whalefall, slowest", {name: max(each[name] for each in rounds) for name in ours}, ours, sizes.jobs)
    )
    for name, tuned in theirs.items():
        found = crowd("their_burst", database, directory, sizes, tuned=tuned)
        rows.append(_burst_row(name, found, ours, sizes.jobs))
    head = (
        "all on record",
        "jobs a second",
        "all started",
        "late p50",
        "p99",
        "all ends on record",
        "transactions to record",
    )
    title = f"{database.name}: {sizes.jobs:,} daily jobs due in the same second, {THREADS} threads"
    return table(title, head, rows)


def _burst_row(name: str, found: Result, ours: Result, jobs: int) -> Row:
    rate, our_rate = (each["jobs"] / each["recorded_s"] for each in (found, ours))
    if found["jobs"] < jobs:
        name += f": {found['jobs']:,.0f} of {jobs:,}"
    return (
        name,
        f"{found['recorded_s']:.2f} s",
        f"{rate:,.0f}" + (f" (whalefall: {our_rate / rate:.1f}x)" if rate != our_rate else ""),
        *(f"{found[key]:.2f} s" for key in ("started_s", "late_p50_s", "late_p99_s")),
        f"{found['ended_s']:.2f} s" if "ended_s" in found else "not kept",
        f"{found.get('transactions', found['jobs']):,.0f}",
    )


def alone(among: Sequence[Database], directory: Path, sizes: Sizes) -> str:
    rows = []
    for database in among:
        found = scene("alone", directory, url=database.new(), every_s=EVERY_S, fires=sizes.fires)
        late = sorted(found["lateness_s"])
        points = [quantile(late, share) for share in (0.5, 0.9, 0.99)]
        rows.append((database.name, *(f"{1000 * each:.1f} ms" for each in (*points, late[-1])), str(len(late))))
    return table(
        f"One job every {EVERY_S:g} s, nothing else due: how late", ("p50", "p90", "p99", "latest", "fires"), rows
    )


def idle(among: Sequence[Database], directory: Path, sizes: Sizes) -> str:
    """All at the same time: they do nothing, and it is CPU time that counts, not the clock."""
    scenes = [(database, jobs) for database in among for jobs in (0, sizes.idle_jobs)]
    with ThreadPoolExecutor(len(scenes)) as at_once:
        found = list(
            at_once.map(
                lambda one: scene("idle", directory, url=one[0].new(), jobs=one[1], watch_s=sizes.idle_s), scenes
            )
        )
    rows = [
        (
            f"{database.name}, {jobs:,} jobs",
            f"{1000 * each['cpu_s']:.0f} ms",
            f"{each['percent']:.2f} %",
            f"{each['declared_s']:.1f} s",
        )
        for (database, jobs), each in zip(scenes, found, strict=True)
    ]
    title = (
        f"{sizes.idle_s:g} s with nothing due: CPU time of the scheduler, and of the PostgreSQL processes that serve it"
    )
    return table(title, ("CPU time", "of one core", "until all were declared"), rows)


def where(load_before: float, directory: Path, among: Sequence[Database]) -> str:
    versions = [
        f"APScheduler {version('apscheduler')}",
        f"SQLAlchemy {version('sqlalchemy')}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
    if any(database.name == "PostgreSQL" for database in among):
        versions.append(_postgres_version())
    disk = f"databases on {_file_system(directory)}, where fsync of a page takes {1000 * _fsync_s(directory):.2f} ms"
    return machine(versions, load_before, disk)


def _postgres_version() -> str:
    found = binaries()
    assert found is not None
    said = subprocess.run([found / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return f"PostgreSQL {said.split()[2]}"


def _file_system(directory: Path) -> str:
    mounts = [part for part in psutil.disk_partitions(all=True) if directory.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype


def _fsync_s(directory: Path) -> float:
    """The median; on a disk that lies, or in memory, it is nothing."""
    took = []
    with (directory / "fsync").open("wb") as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            file.flush()
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took)


def main() -> None:
    arguments = argparse.ArgumentParser(prog="bench.scheduler", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="smaller and fewer, printed only")
    arguments.add_argument("--only", choices=["sqlite", "postgresql"], default="", help="one database, printed only")
    options = arguments.parse_args()
    sizes = QUICK if options.quick else Sizes()
    load_before, since = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="wfb-") as place, databases(options.only, Path(place)) as among:
        directory = Path(place)
        parts: list[str] = []
        for play in (
            *(lambda database=database: burst(database, directory, sizes) for database in among),
            lambda: alone(among, directory, sizes),
            lambda: idle(among, directory, sizes),
        ):
            parts.append(play())
            print(parts[-1], flush=True)
        parts.insert(0, where(load_before, directory, among))
        print(parts[0])
    print(f"{time.monotonic() - since:.0f} s in all", file=sys.stderr)
    if not options.quick and not options.only:
        write(PAGE, parts)


if __name__ == "__main__":
    main()
