"""The supervisor's processes as the pages show them: its own states, plus memory and CPU of each tree by psutil.

Only pids that the supervisor reports are looked at: the rest of the machine is nobody's business here.
"""

import math
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from whalefall.app.state import app_state
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError

ANSWER_WITHIN_S = 3.0  # a page waits for it; PID 1 answers in milliseconds or is in trouble
WORKERS_MAX = 64  # shown of one instance
_COURSE_KNOWN_FOR_S = 1.0
_COURSE_WITHIN_S = 0.5
_REMEMBERED_MAX = 512  # processes whose last CPU reading is kept


class CpuMeter:
    """Percent of one core since the last look at the same process; the first look averages over its whole life."""

    def __init__(self) -> None:
        self._last: OrderedDict[tuple[int, float], psutil.Process] = OrderedDict()
        self._lock = threading.Lock()  # request threads share it

    def percent(self, process: psutil.Process, now: float) -> float:
        """Raises psutil.Error when the process is gone."""
        key = (process.pid, process.create_time())  # a pid alone may belong to another process by now
        with self._lock:
            known = self._last.get(key)
            if known is not None:
                self._last.move_to_end(key)
                return float(known.cpu_percent(None))
            self._last[key] = process
            while len(self._last) > _REMEMBERED_MAX:
                self._last.popitem(last=False)
        process.cpu_percent(None)
        times = process.cpu_times()
        return round(100 * (times.user + times.system) / max(now - process.create_time(), 1.0), 1)


_meter = CpuMeter()
_courses: dict[Path, tuple[float, str]] = {}  # by RUN_DIR: when the supervisor was asked, and its state


def status() -> dict[str, Any]:
    """Supervisor and instances, each with memory, CPU and workers. Raises ControlError when nothing answers."""
    answer: dict[str, Any] = ask(app_state().run_dir, Request("status"), ANSWER_WITHIN_S)
    return {
        "supervisor": answer["supervisor"],
        "instances": [instance | usage(instance.get("pid")) for instance in answer["instances"]],
    }


def leaving() -> str:
    """Why nobody should send us more, as known for at most a second; "" while all is well or nobody supervises us.

    A probe's answer must not wait for the supervisor: what that does not say in time is no reason.
    """
    run_dir, now = app_state().run_dir, time.monotonic()
    asked_at, course = _courses.get(run_dir, (-math.inf, ""))
    if now - asked_at >= _COURSE_KNOWN_FOR_S:
        _courses[run_dir] = (now, course)  # the other threads need not ask, too
        try:
            course = ask(run_dir, Request("status"), _COURSE_WITHIN_S)["supervisor"]["state"]
        except ControlError:
            course = ""
        _courses[run_dir] = (now, course)
    return "whalefall is stopping; send new requests elsewhere" if course == "stopping" else ""


def usage(pid: int | None, *, alone: bool = False) -> dict[str, Any]:
    """Memory, CPU and number of workers of the tree under `pid`, or of it `alone`; nothing when it is gone."""
    nothing = {"memory_bytes": None, "cpu_percent": None, "workers": None}
    if not pid:
        return nothing
    try:
        leader = psutil.Process(pid)
        tree = [leader] if alone else [leader, *leader.children(recursive=True)]
    except psutil.Error:
        return nothing
    readings = [reading for process in tree if (reading := _reading(process))]
    return {
        "memory_bytes": sum(memory for memory, _ in readings),
        "cpu_percent": round(sum(cpu for _, cpu in readings), 1),
        "workers": len(tree) - 1,
    }


def _reading(process: psutil.Process) -> tuple[int, float] | None:
    try:
        return process.memory_info().rss, _meter.percent(process, time.time())
    except psutil.Error:  # it ended between the listing and the look
        return None


def last_lines(target: str, lines: int) -> list[list[str]]:
    """The last lines of a service or an instance. Raises ControlError."""
    answer: dict[str, Any] = ask(app_state().run_dir, Request("logs", target, lines=lines), ANSWER_WITHIN_S)
    return [[str(name), str(text)] for name, text in answer["lines"]]


def events(count: int) -> list[dict[str, Any]]:
    """What the supervisor did lately, the newest last: at (Unix time), instance, level, text. Raises ControlError."""
    answer: dict[str, Any] = ask(app_state().run_dir, Request("events", lines=count), ANSWER_WITHIN_S)
    found: list[dict[str, Any]] = answer["events"]
    return found


def dossiers(target: str, count: int) -> list[dict[str, Any]]:
    """The crash reports of a service or an instance, the newest last. Raises ControlError."""
    answer: dict[str, Any] = ask(app_state().run_dir, Request("why", target, lines=count), ANSWER_WITHIN_S)
    found: list[dict[str, Any]] = answer["dossiers"]
    return found


def workers(pid: int | None) -> list[dict[str, Any]]:
    """The processes below `pid`: pid, memory, CPU, age; nothing when there is no such process."""
    if not pid:
        return []
    try:
        children = psutil.Process(pid).children(recursive=True)[:WORKERS_MAX]
    except psutil.Error:
        return []
    now, found = time.time(), []
    for process in children:
        with suppress(psutil.Error):  # it ended meanwhile
            memory, cpu = process.memory_info().rss, _meter.percent(process, now)
            row = {"pid": process.pid, "memory_bytes": memory, "cpu_percent": cpu}
            found.append(row | {"uptime_s": now - process.create_time()})
    return found


def order(command: str, target: str) -> list[str]:
    """`restart`, `reload`, `start` or `stop`; answers with the instances that will. Raises ControlError."""
    answer: dict[str, Any] = ask(app_state().run_dir, Request(command, target), ANSWER_WITHIN_S)
    return [str(name) for name in answer["accepted"]]
