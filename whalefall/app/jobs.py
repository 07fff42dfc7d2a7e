"""Built-in jobs: they do something real on any machine, so that the first five minutes show life."""

import socket
from datetime import UTC, datetime, timedelta

import psutil

from whalefall import Scheduler
from whalefall.app.store import samples
from whalefall.app.store.engine import engine
from whalefall.scheduler import builtin

SAMPLES_KEPT = timedelta(days=7)
psutil.cpu_percent(None)  # CPU use is a difference: the first look of a page counts from here
_CPU_LOOK_S = 0.5  # CPU use is a difference; shorter looks are noise


def declare(scheduler: Scheduler) -> None:
    """Declares them on the built-in application's scheduler."""
    scheduler.task("cron", id="sample_host", name="Sample the host", second="*/30", catch_up="skip")(sample_host)
    scheduler.task("cron", id="prune_samples", name="Prune old samples", hour=3, minute=17)(prune_samples)
    builtin.register(scheduler)


def look_at_host(cpu_look_s: float | None = None) -> samples.HostSample:
    """The machine as it is now. CPU use is a difference: over `cpu_look_s`, or since the last look of this process."""
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage("/")
    return samples.HostSample(
        at=datetime.now(UTC),
        load_1m=psutil.getloadavg()[0],
        cpu_percent=psutil.cpu_percent(interval=cpu_look_s),
        memory_used=memory.total - memory.available,
        memory_total=memory.total,
        disk_used=disk.used,
        disk_total=disk.total,
    )


def sample_host() -> None:
    """Writes the host's load, CPU, memory and disk into the database; the dashboard draws them."""
    samples.write(engine(), socket.gethostname(), look_at_host(_CPU_LOOK_S))


def prune_samples() -> None:
    """Removes host samples older than a week."""
    samples.prune(engine(), datetime.now(UTC) - SAMPLES_KEPT)
