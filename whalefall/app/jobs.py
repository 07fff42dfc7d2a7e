"""Built-in jobs: they do something real on any machine, so that the first five minutes show life."""

import socket
import threading
from datetime import UTC, datetime, timedelta

import psutil

from whalefall import Scheduler
from whalefall.app.store import samples
from whalefall.app.store.engine import engine
from whalefall.scheduler import builtin

SAMPLES_KEPT = timedelta(days=7)
_CPU_LOOK_S = 0.5  # CPU use is a difference; shorter looks are noise


class HostCpu:
    """Busy share of all cores since the last look of any thread; psutil remembers per thread, so a new one reads 0."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last, self._percent = self._read(), 0.0

    def percent(self) -> float:
        """Looks that follow one another too closely share their answer."""
        with self._lock:
            busy, total = self._read()
            if total - self._last[1] >= _CPU_LOOK_S * (psutil.cpu_count() or 1) / 2:
                self._percent = 100 * (busy - self._last[0]) / (total - self._last[1])
                self._last = busy, total
            return round(min(max(self._percent, 0.0), 100.0), 1)

    @staticmethod
    def _read() -> tuple[float, float]:
        """Seconds of all cores together: busy, and in all."""
        times = psutil.cpu_times()
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)  # already in user
        return total - times.idle - getattr(times, "iowait", 0.0), total


_host_cpu = HostCpu()


def declare(scheduler: Scheduler) -> None:
    """Declares them on the built-in application's scheduler."""
    scheduler.task("cron", id="sample_host", name="Sample the host", second="*/30", catch_up="skip")(sample_host)
    scheduler.task("cron", id="prune_samples", name="Prune old samples", hour=3, minute=17)(prune_samples)
    builtin.register(scheduler)


def look_at_host() -> samples.HostSample:
    """The machine as it is now; CPU use is that since the last look of this process."""
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage("/")
    return samples.HostSample(
        at=datetime.now(UTC),
        load_1m=psutil.getloadavg()[0],
        cpu_percent=_host_cpu.percent(),
        memory_used=memory.total - memory.available,
        memory_total=memory.total,
        disk_used=disk.used,
        disk_total=disk.total,
    )


def sample_host() -> None:
    """Writes the host's load, CPU, memory and disk into the database; the dashboard draws them."""
    samples.write(engine(), socket.gethostname(), look_at_host())


def prune_samples() -> None:
    """Removes host samples older than a week."""
    samples.prune(engine(), datetime.now(UTC) - SAMPLES_KEPT)
