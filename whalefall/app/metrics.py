"""/metrics in Prometheus' format, the same whichever worker answers.

What happens is counted as it happens and summed over all processes at the scrape (`counted`). What is, is asked at the
scrape: the ledger for jobs, the supervisor for processes.
"""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import get_args

from flask import Blueprint, Flask, Response, current_app, g, request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from whalefall import __version__, scheduler
from whalefall.app import access, processes
from whalefall.app.api.errors import install_handlers
from whalefall.app.counted import JOBS_MAX, counts
from whalefall.app.roles import Role, needs
from whalefall.app.store.engine import looking
from whalefall.errors import ControlError, WhalefallError
from whalefall.scheduler import watchman
from whalefall.scheduler.ledger import overview

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")


def init_metrics(app: Flask) -> None:
    """Counts every request of the application and what becomes of its runs; serves /metrics to whoever may view."""
    app.before_request(_begin)
    app.after_request(_count)
    scheduler.of(app).watchers.append(counts.runs)
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
    took_s = time.monotonic() - g.whalefall_began if "whalefall_began" in g else None
    counts.request(method, route, response.status_code, took_s)
    return response


@needs(Role.VIEW)
def metrics() -> Response:
    """The scrape."""
    return Response(generate_latest(_Site()), content_type=CONTENT_TYPE_LATEST)


class _Site(Collector):
    """What is asked at the scrape; a part that does not answer is left out and says so in whalefall_up."""

    def collect(self) -> Iterator[Metric]:
        """Every family."""
        info = GaugeMetricFamily("whalefall_info", "The release that runs", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        up = GaugeMetricFamily("whalefall_up", "1 when this part answered the scrape", labels=["part"])
        jobs = _Jobs()
        for part, families in (("supervisor", _supervisor), ("scheduler", _scheduler), ("jobs", jobs.families)):
            try:
                found = list(families())
            except (ControlError, WhalefallError, SQLAlchemyError):
                found = []
            up.add_metric([part], 1 if found else 0)
            yield from found
        yield up
        yield from counts.shown(jobs.fires)


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
    yield _alarms()


def _alarms() -> Metric:
    """Each kind, also those that nobody sees: an alert needs the zero."""
    seen = Counter(alarm.kind for alarm in scheduler.of(current_app).admin.alarms())
    family = _gauge("whalefall_alarms", "What the watchman sees now, by kind", "kind")
    for kind in get_args(watchman.Kind):
        family.add_metric([kind], seen[kind])
    return family


class _Jobs:
    """`fires` are known once the families were asked for and the ledger has answered."""

    def __init__(self) -> None:
        self.fires: dict[str, datetime] = {}

    def families(self) -> Iterator[Metric]:
        with looking() as connection:
            numbers = overview.counts_of_jobs(connection)
            self.fires = overview.next_fires(connection, JOBS_MAX)
            last = overview.last_results(connection, list(self.fires), 1)
        return _job_families(numbers, self.fires, last)


def _job_families(
    numbers: Counter[str], fires: dict[str, datetime], last: dict[str, tuple[overview.Result, ...]]
) -> Iterator[Metric]:
    states = _gauge("whalefall_jobs", "Jobs: running, paused, broken, retired", "state")
    for state, number in numbers.items():
        states.add_metric([state], number)
    following = _gauge("whalefall_job_next_fire_timestamp_seconds", "When it fires next", "job")
    started = _gauge("whalefall_job_last_start_timestamp_seconds", "When its newest run started", "job")
    for job_id, at in fires.items():
        following.add_metric([job_id], at.timestamp())
        for result in last[job_id]:
            if result.started_at:
                started.add_metric([job_id], result.started_at.timestamp())
    return iter([states, following, started])
