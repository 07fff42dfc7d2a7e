"""/metrics through the real serve: two web workers, a scheduler, runs in processes of their own, and kills.

The witness is the ledger: what is counted is what stands there, whoever counted it and whoever of them still lives.
"""

import contextlib
import itertools
import os
import re
import shutil
import signal
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.support.deployment import Deployment
from tests.support.shell import Shell
from tests.support.waiting import wait_until

APPLICATION = """
import os
import time

from flask import Flask
from whalefall import Scheduler
from whalefall.app import install

app = Flask(__name__)
scheduler = Scheduler(app)
app.config.update(SCHEDULER_RUN_LEASE_S=3.0, SCHEDULER_SWEEP_EVERY_S=0.5, SCHEDULER_LEASE_TTL_S=3.0,
                  SCHEDULER_RENEW_EVERY_S=0.5)


@scheduler.task("interval", id="tick", seconds=1)
def tick() -> None:
    pass


@scheduler.task("interval", id="fails", seconds=1)
def fails() -> None:
    raise ValueError("as it was told to")


@scheduler.task("interval", id="apart", seconds=2, executor="process")
def apart() -> None:
    pass


@scheduler.task("interval", id="busy", seconds=1)
def busy() -> None:
    time.sleep(1.2)


@scheduler.task("cron", id="long", month=1, day=1)
def long() -> None:
    time.sleep(3600)


@app.get("/who")
def who() -> str:
    return str(os.getpid())


install(app)
"""

Samples = dict[tuple[str, ...], float]
_KINDS = ("_total", "_count", "_sum", "_bucket")


def scrape(site: Deployment) -> Samples:
    answer = site.get("/metrics")
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


def counters(samples: Samples) -> Samples:
    """What must never go down."""
    return {key: value for key, value in samples.items() if key[0].endswith(_KINDS)}


def counted(samples: Samples, name: str) -> Counter[tuple[str, ...]]:
    return Counter({key[1:]: int(value) for key, value in samples.items() if key[0] == name and value})


def rows(site: Deployment, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{site.directory}/var/whalefall.db?mode=ro", uri=True)) as ledger:
        return ledger.execute(query).fetchall()


def on_record(site: Deployment) -> dict[str, Counter[tuple[str, ...]]]:
    """The same numbers, from the rows of the ledger."""
    found: defaultdict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    for job_id, state, count, started in rows(
        site, "SELECT job_id, state, span_count, started_at IS NOT NULL FROM wf_run"
    ):
        found["whalefall_job_expected_total"][job_id,] += count
        found["whalefall_job_runs_total"][job_id, state] += count
        found["whalefall_job_lateness_seconds_count"][job_id,] += started
        found["whalefall_job_duration_seconds_count"][job_id,] += started and state != "lost"
    return {name: +counts for name, counts in found.items()}


def states(site: Deployment) -> Counter[tuple[str, ...]]:
    return on_record(site).get("whalefall_job_runs_total", Counter())


def nothing_is_alive(site: Deployment) -> bool:
    return rows(site, "SELECT count(*) FROM wf_run WHERE state IN ('queued', 'running')") == [(0,)]


def is_between_commits(site: Deployment) -> bool:
    """Half past a second: fires are long past, and so is the last end of a run. No commit is parted from its count."""
    unsettled = """
        SELECT 1 FROM wf_run WHERE finished_at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-0.2 seconds')
        OR (state IN ('queued', 'running') AND job_id NOT IN ('busy', 'long'))"""
    return 0.4 < time.time() % 1 < 0.7 and rows(site, unsettled) == []


def kill(site: Deployment, *pids: int) -> None:
    wait_until(lambda: is_between_commits(site), "nothing is being written", 60)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def scheduler(site: Deployment) -> int:
    """The process that runs the jobs, below its Gunicorn's master."""
    return wait_until(site.processes_that_schedule, "somebody schedules", 60)[0]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    if not shutil.which("nginx"):
        pytest.skip("no nginx here; .ci/system-packages installs it")
    directory = tmp_path_factory.mktemp("metrics")
    Path(directory / "shop.py").write_text(APPLICATION)
    with Deployment(directory, "shop:app", WEB_CONCURRENCY="2").start() as deployment:
        yield deployment.until_ready()


def test_counts_are_the_rows_of_the_ledger_and_never_go_down_whoever_is_killed(site: Deployment) -> None:
    seen = [counters(scrape(site))]

    def look_until(condition: Callable[[Counter[tuple[str, ...]]], Any], what: str) -> None:
        """Scrapes meanwhile: any of them may be Prometheus'."""

        def look() -> Any:
            seen.append(counters(scrape(site)))
            return condition(states(site))

        wait_until(look, what, 120, lambda: f"{states(site)}\n{site.story()}")

    def is_under_way(found: Counter[tuple[str, ...]]) -> bool:
        kinds = [("tick", "succeeded"), ("fails", "failed"), ("apart", "succeeded"), ("busy", "skipped_overlap")]
        return all(found[kind] >= 2 for kind in kinds)

    look_until(is_under_way, "each kind of end was there")
    assert site.whalefall("jobs", "run", "long").returncode == 0
    look_until(lambda found: found["long", "running"], "the long run has begun")

    before = states(site)["tick", "succeeded"]
    master = site.master("scheduler")
    kill(site, scheduler(site), master)
    look_until(lambda found: found["long", "lost"], "the successor has seen what was lost")
    look_until(lambda found: found["tick", "succeeded"] >= before + 3, "jobs run again")
    kill(site, scheduler(site))  # this time Gunicorn starts it anew
    look_until(lambda found: found["tick", "succeeded"] >= before + 6, "jobs run again")
    kill(site, psutil.Process(site.master("web")).children()[0].pid)
    look_until(lambda found: found["tick", "succeeded"] >= before + 9, "jobs run on")

    for job_id in ("tick", "fails", "apart", "busy"):
        assert site.whalefall("jobs", "pause", job_id).returncode == 0
    look_until(lambda _: nothing_is_alive(site), "all has ended")

    def is_counted() -> bool:  # what paused jobs skip goes on being recorded
        recorded = on_record(site)
        samples = scrape(site)
        return recorded == on_record(site) and {name: counted(samples, name) for name in recorded} == recorded

    wait_until(is_counted, "the counts agree", 30, lambda: f"{scrape(site)}\n{on_record(site)}\n{site.story()}")
    kinds = {state for _, state in states(site)}
    assert kinds >= {"succeeded", "failed", "lost", "skipped_overlap", "skipped_paused"}
    for earlier, later in itertools.pairwise([*seen, counters(scrape(site))]):
        lower = {key: (value, later.get(key)) for key, value in earlier.items() if later.get(key, -1.0) < value}
        assert lower == {}
    assert len(list((site.run_dir / "metrics").iterdir())) <= 4, "the dead ones' files were taken over"


def test_processes_jobs_and_the_leader_are_told_as_they_are(site: Deployment) -> None:
    """After the test of kills: the scheduler was restarted, and all but one job are paused."""
    site.until_ready()
    samples, status = scrape(site), site.rows()
    told = {key[1:]: value for key, value in samples.items() if key[0] == "whalefall_instance_state"}
    assert told == {(name, "ready"): 1 for name in status}
    assert set(status) == {"nginx.1", "web.1", "scheduler.1"}
    restarts = {key[1]: value for key, value in samples.items() if key[0] == "whalefall_instance_restarts_total"}
    assert restarts == {name: row["restarts"] for name, row in status.items()}
    assert restarts["scheduler.1"] >= 1
    assert samples["whalefall_instance_workers", "web.1"] == 2
    assert samples["whalefall_instance_memory_bytes", "web.1"] > 10_000_000
    assert {samples["whalefall_up", part] for part in ("supervisor", "scheduler", "jobs")} == {1}
    [(term,)] = rows(site, "SELECT term FROM wf_lease")
    assert term >= 2
    assert samples["whalefall_scheduler_leader_term",] == term
    assert samples["whalefall_scheduler_healthy",] == 1
    assert 0 <= samples["whalefall_scheduler_last_tick_age_seconds",] < 60
    assert {state: samples["whalefall_jobs", state] for state in ("running", "paused")} == {"running": 1, "paused": 4}


def test_whoever_does_not_answer_is_told_and_the_rest_is_there(site: Deployment) -> None:
    """The scrape comes to a web worker: it must not need the scheduler, nor PID 1."""
    master, pid_1 = site.master("scheduler"), site.pid
    stopped = [pid_1, master, scheduler(site)]
    try:
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)

        def is_told() -> bool:
            samples = scrape(site)
            assert samples["whalefall_job_expected_total", "tick"] > 0
            return samples["whalefall_up", "supervisor"] == 0 and samples["whalefall_scheduler_healthy",] == 0

        wait_until(is_told, "the scrape says who does not answer", 120, lambda: str(scrape(site)))
    finally:
        for pid in reversed(stopped):
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: scrape(site).get(("whalefall_scheduler_healthy",)) == 1, "it leads again", 120, site.story)


def test_all_workers_tell_the_same(site: Deployment) -> None:
    """Each request is counted by the worker that answers it, and told by any."""
    key = ("whalefall_http_requests_total", "GET", "/who", "200")
    before = scrape(site).get(key, 0)
    who: set[str] = set()
    count = 0

    def both_have_answered() -> bool:
        nonlocal count
        count += 1
        who.add(site.get("/who").text)
        return len(who) == 2

    wait_until(both_have_answered, "both workers have answered", 60)
    assert {scrape(site)[key] for _ in range(10)} == {before + count}


def test_a_site_that_was_stopped_and_started_counts_on(site: Deployment) -> None:
    ours = ("whalefall_job", "whalefall_http")  # restarts are the supervisor's, and begin with it
    before = {key: value for key, value in counters(scrape(site)).items() if key[0].startswith(ours)}
    assert len(before) > 100
    site.stop()
    with site.start():
        after = counters(scrape(site.until_ready()))
        assert {key: value for key, value in before.items() if after.get(key, -1.0) < value} == {}


def test_roles_without_serve_share_their_counts(tmp_path: Path) -> None:
    """As under honcho: a web and a scheduler that nobody of ours supervises, with one RUN_DIR."""
    shell = Shell(tmp_path)
    shell.write("shop.py", APPLICATION)
    processes = [shell.start(role, "shop:app") for role in ("scheduler", "web")]
    try:

        def runs_are_told() -> bool:
            with contextlib.suppress(requests.ConnectionError):
                told = requests.get(f"http://127.0.0.1:{shell.environ['PORT']}/metrics", timeout=30).text
                return re.search(r'job_runs_total\{job="tick",state="succeeded"\} [1-9]', told) is not None
            return False

        wait_until(runs_are_told, "web tells what the scheduler has counted", 60, shell.log)
    finally:
        for process in processes:
            process.terminate()
        codes = [process.wait(40) for process in processes]
    assert codes == [0, 0], shell.log()
