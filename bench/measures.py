"""WHAT IS MEASURED. Each function plays one scene with one contestant and answers with numbers."""

import os
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.peers import Child, Peer
from bench.stage import PATIENCE_S, Stage, idle_children, stage

SETTLE_S = 2.0  # after boot, before anything is measured
RESTART_PATIENCE_S = 8.0
LINE = b"%02d %08d the quick brown fox jumps over the lazy dog and runs through the night, every night.\n"
_INTACT = re.compile(rb"(?<![0-9])(\d\d \d{8}) the quick brown fox jumps over the lazy dog [a-z ,]{39}\.$")


def boot_s(peer: Peer, count: int, rounds: int) -> float:
    """From the command until the last of `count` children runs; median of `rounds`."""
    times = []
    for _ in range(rounds):
        with stage() as place:
            children = idle_children(place.directory, count)
            place.start(peer, children)
            times.append(place.until_all([child.name for child in children]))
    return statistics.median(times)


def restart_s(peer: Peer, kills: int) -> list[float | None]:
    """From SIGKILL of a child until it runs again. Each child is killed once: what is asked is the first restart."""
    with stage() as place:
        children = idle_children(place.directory, kills)
        place.start(peer, children)
        place.until_all([child.name for child in children])
        time.sleep(SETTLE_S)
        return [_kill_one(place, child.name) for child in children]


def _kill_one(place: Stage, name: str) -> float | None:
    if place.process is None or place.process.poll() is not None:
        return None
    pid = place.heard[name][0]
    os.kill(pid, 9)
    return place.until_again(name, pid, RESTART_PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Logs:
    mb_per_s: float
    lost: int
    torn: int


def logs(peer: Peer, writers: int, mb_each: int) -> Logs:
    """`writers` children write numbered lines as fast as they can; the contestant's output goes to a file in memory."""
    with stage() as place:
        count = mb_each * 1_000_000 // len(LINE % (0, 0))
        children = [_writer(place.directory, n, count) for n in range(writers)]
        output = place.directory / "output"
        with output.open("wb") as file:
            place.start(peer, children, file.fileno())
        place.until_all([child.name for child in children])
        time.sleep(SETTLE_S)
        since = time.monotonic()
        for n in range(writers):
            with (place.directory / f"go{n}").open("w") as go:
                go.write("go\n")
        took = _until_quiet(output) - since
        return Logs(writers * count * len(LINE % (0, 0)) / 1e6 / took, *_judge(output, writers * count))


def _writer(directory: Path, number: int, count: int) -> Child:
    """`cat` of a file: it writes as fast as anybody, and cuts lines where its blocks end."""
    (directory / f"lines{number}").write_bytes(b"".join(LINE % (number, n) for n in range(count)))
    os.mkfifo(directory / f"go{number}")
    script = (
        f"echo w{number} $$ > {directory}/hello; read _ < {directory}/go{number}; cat {directory}/lines{number}; "
        "exec sleep 1000000"
    )
    return Child(f"w{number}", script)


def _until_quiet(output: Path) -> float:
    """When the file grew last: it has not grown for a second since."""
    size, changed = -1, time.monotonic()
    deadline = changed + 3 * PATIENCE_S
    while time.monotonic() < min(changed + 1.0, deadline):
        now = output.stat().st_size
        if now != size:
            size, changed = now, time.monotonic()
        time.sleep(0.002)
    return changed


def _judge(output: Path, expected: int) -> tuple[int, int]:
    """(lines that never came whole, lines that are pieces)."""
    seen: set[bytes] = set()
    torn = 0
    with output.open("rb") as file:
        for line in file:
            match = _INTACT.search(line.rstrip(b"\r\n"))
            if match and line.count(b"quick brown") == 1:
                seen.add(match[1])
            elif b"fox" in line or b"quick" in line or b"night" in line or b"lazy" in line:
                torn += 1
    return expected - len(seen), torn


@dataclass(frozen=True, slots=True)
class Footprint:
    pss_mib: float
    processes: int
    wakeups_per_s: float
    cpu_percent: float


def footprint(peer: Peer, count: int, watch_s: float) -> Footprint:
    """Of the contestant's own processes, while `count` children sleep."""
    with stage() as place:
        children = idle_children(place.directory, count)
        place.start(peer, children)
        place.until_all([child.name for child in children])
        time.sleep(SETTLE_S)
        processes = place.own_processes()
        before = _effort(processes)
        time.sleep(watch_s)
        after = _effort(processes)
        pss = sum(process.memory_full_info().pss for process in processes) / 2**20
        wakeups, cpu_s = (after[n] - before[n] for n in (0, 1))
        return Footprint(pss, len(processes), wakeups / watch_s, 100 * cpu_s / watch_s)


def _effort(processes: Sequence[psutil.Process]) -> tuple[float, float]:
    """(times that a thread of theirs went to sleep by itself, CPU seconds)."""
    switches, seconds = 0, 0.0
    for process in processes:
        for status in Path(f"/proc/{process.pid}/task").glob("*/status"):
            switches += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status.read_text(), re.MULTILINE)[1])  # type: ignore[index]  # the kernel writes it
        times = process.cpu_times()
        seconds += times.user + times.system
    return switches, seconds


def stop_s(peer: Peer, count: int, rounds: int) -> float:
    """From SIGTERM until the contestant and its `count` well-behaved children are gone."""
    times = []
    for _ in range(rounds):
        with stage() as place:
            children = idle_children(place.directory, count)
            place.start(peer, children)
            place.until_all([child.name for child in children])
            time.sleep(SETTLE_S)
            times.append(place.stop())
    return statistics.median(times)
