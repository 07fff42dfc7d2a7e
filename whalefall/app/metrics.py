"""/metrics in Prometheus' format, the same whichever worker answers.

Requests are counted in each process and summed at the scrape (prometheus_client's multiprocess files in RUN_DIR).
Everything else is asked at the scrape: the ledger for jobs and runs, the supervisor for processes. Runs are gauges over
the last hour, not counters: the ledger forgets old runs, and a counter that shrinks would look like a restart.
"""

import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil

if os.environ.get("WHALEFALL_LIFE") and os.environ.get("RUN_DIR"):  # several processes under one supervisor
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(Path(os.environ["RUN_DIR"]) / "metrics"))
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(parents=True, exist_ok=True)

# The variable decides at this import, so it comes after.
from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest, values
from prometheus_client import Counter as CounterMetric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from whalefall import __version__, scheduler
from whalefall.app import access, processes
from whalefall.app.api.errors import install_handlers
from whalefall.app.roles import Role, needs
from whalefall.app.store.engine import looking
from whalefall.errors import ControlError, WhalefallError
from whalefall.scheduler.ledger import overview

WINDOW = timedelta(hours=1)
JOBS_MAX = 1_000  # that have series of their own, by id; beyond, the counts must do
DEAD_FILES_MAX = 64  # files of workers that are gone; beyond it their counts are forgotten, which looks like a restart
# False when the application imported prometheus_client before us and the variable: then each process counts alone.
_IS_SHARED = values.ValueClass.__name__ == "MmapedValue"
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")

_registry = CollectorRegistry()
_requests = CounterMetric(
    "whalefall_http_requests", "Requests by route and status", ["method", "route", "status"], registry=_registry
)
_latency = Histogram(
    "whalefall_http_request_duration_seconds",
    "Time to answer, by route",
    ["route"],
    registry=_registry,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_notices = CounterMetric(
    "whalefall_notices", "Notices by channel and outcome", ["channel", "outcome"], registry=_registry
)


def count_notice(channel: str, outcome: str) -> None:
    """One try to tell somebody: sent, retried or failed."""
    _notices.labels(channel, outcome).inc()


def init_metrics(app: Flask) -> None:
    """Counts every request of the application and serves /metrics to whoever may view."""
    app.before_request(_begin)
    app.after_request(_count)
    blueprint = Blueprint("whalefall_metrics", __name__)
    install_handlers(blueprint)
    blueprint.before_request(access.guard)
    blueprint.add_url_rule("/metrics", "metrics", metrics)
    app.register_blueprint(blueprint)


def _begin() -> None:
    g.whalefall_began = time.monotonic()


def _count(response: Response) -> Response:
    """By the route's pattern, never by the path: strangers choose paths, and each would be a new series."""
    route = request.url_rule.rule if request.url_rule else "(none)"
    method = request.method if request.method in _METHODS else "(other)"
    _requests.labels(method, route, response.status_code).inc()
    if "whalefall_began" in g:
        _latency.labels(route).observe(time.monotonic() - g.whalefall_began)
    return response


@needs(Role.VIEW)
def metrics() -> Response:
    """The scrape."""
    registry = _registry
    directory = os.environ.get("PROMETHEUS_MULTIPROC_DIR", "")
    if directory and _IS_SHARED:
        _forget_the_dead(Path(directory))
        registry = CollectorRegistry()
        MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]  # it ships no types for this
    body = generate_latest(registry) + generate_latest(_Site())
    return Response(body, content_type=CONTENT_TYPE_LATEST)


def _forget_the_dead(directory: Path) -> None:
    files = [file for file in directory.glob("*.db") if not psutil.pid_exists(_pid_of(file))]
    for file in sorted(files, key=lambda file: file.stat().st_mtime)[:-DEAD_FILES_MAX]:
        file.unlink(missing_ok=True)


def _pid_of(file: Path) -> int:
    digits = file.stem.rpartition("_")[2]
    return int(digits) if digits.isdigit() else 0


class _Site(Collector):
    """What is asked at the scrape; a part that does not answer is left out and says so in whalefall_up."""

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        info = GaugeMetricFamily("whalefall_info", "The release that runs", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        up = GaugeMetricFamily("whalefall_up", "1 when this part answered the scrape", labels=["part"])
        for part, families in (("supervisor", _supervisor), ("scheduler", _scheduler), ("jobs", _jobs)):
            try:
                found = list(families())
            except (ControlError, WhalefallError, SQLAlchemyError):
                found = []
            up.add_metric([part], 1 if found else 0)
            yield from found
        yield up


def _supervisor() -> Iterator[Metric]:
    status = processes.status()
    states = GaugeMetricFamily("whalefall_instance_state", "1 for the state it is in", labels=["instance", "state"])
    restarts = CounterMetricFamily("whalefall_instance_restarts", "Restarts since the start", labels=["instance"])
    gauges = {
        "uptime_s": _gauge("whalefall_instance_uptime_seconds", "Age of the process"),
        "memory_bytes": _gauge("whalefall_instance_memory_bytes", "Resident memory of the whole tree"),
        "cpu_percent": _gauge("whalefall_instance_cpu_percent", "CPU of the whole tree; 100 is one core"),
        "workers": _gauge("whalefall_instance_workers", "Processes below the leader"),
    }
    for one in status["instances"]:
        states.add_metric([one["name"], one["state"]], 1)
        restarts.add_metric([one["name"]], one["restarts"])
        for key, gauge in gauges.items():
            if one.get(key) is not None:
                gauge.add_metric([one["name"]], one[key])
    uptime = GaugeMetricFamily("whalefall_supervisor_uptime_seconds", "Age of the supervisor")
    uptime.add_metric([], status["supervisor"]["uptime_s"])
    return iter([states, restarts, uptime, *gauges.values()])


def _gauge(name: str, text: str, label: str = "instance") -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=[label])


def _scheduler() -> Iterator[Metric]:
    health = scheduler.of(current_app).admin.health()
    numbers = {
        "whalefall_scheduler_healthy": ("1 when it leads, ticks and is not behind", float(health.healthy)),
        "whalefall_scheduler_leader_term": ("Grows with each change of leader", health.term),
        "whalefall_scheduler_backlog": ("Fires and starts that are late", health.backlog),
        "whalefall_scheduler_last_tick_age_seconds": ("Age of the leader's last tick", health.last_tick_age_s),
    }
    for name, (text, value) in numbers.items():
        if value is not None:
            family = GaugeMetricFamily(name, text)
            family.add_metric([], value)
            yield family


def _jobs() -> Iterator[Metric]:
    with looking() as connection:
        counts = overview.counts_of_jobs(connection)
        fires = overview.next_fires(connection, JOBS_MAX)
        last = overview.last_results(connection, list(fires), 1)
        hour = overview.hour(connection, datetime.now(UTC) - WINDOW)
    yield from _job_families(counts, fires, last)
    yield from _run_families(hour)


def _job_families(
    counts: Counter[str], fires: dict[str, datetime], last: dict[str, tuple[overview.Result, ...]]
) -> Iterator[Metric]:
    states = _gauge("whalefall_jobs", "Jobs: running, paused, broken, retired", "state")
    for state, number in counts.items():
        states.add_metric([state], number)
    following = _gauge("whalefall_job_next_fire_timestamp_seconds", "When it fires next", "job")
    started = _gauge("whalefall_job_last_start_timestamp_seconds", "When its newest run started", "job")
    for job_id, at in fires.items():
        following.add_metric([job_id], at.timestamp())
        for result in last[job_id]:
            if result.started_at:
                started.add_metric([job_id], result.started_at.timestamp())
    return iter([states, following, started])


def _run_families(hour: list[overview.HourOfJob]) -> Iterator[Metric]:
    runs = GaugeMetricFamily("whalefall_job_runs_last_hour", "Instants by what became of them", labels=["job", "state"])
    durations = _gauge("whalefall_job_duration_seconds_max_last_hour", "The longest run that ended", "job")
    lateness = _gauge("whalefall_job_lateness_seconds_max_last_hour", "The latest start after its instant", "job")
    longest: dict[str, float] = {}
    latest: dict[str, float] = {}
    for one in hour:
        runs.add_metric([one.job_id, one.state], one.count)
        for worst, value in ((longest, one.longest_s), (latest, one.latest_s)):
            if value is not None:
                worst[one.job_id] = max(worst.get(one.job_id, 0.0), value)
    for family, worst in ((durations, longest), (lateness, latest)):
        for job_id, value in worst.items():
            family.add_metric([job_id], value)
    return iter([runs, durations, lateness])
