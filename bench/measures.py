"""WHAT IS MEASURED. Each function plays one scene once with one contestant and answers with numbers."""

import functools
import os
import re
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.peers import Child, Peer
from bench.stage import PATIENCE_S, Stage, idle_children, stage

SETTLE_S = 1.25  # after boot, before anything is measured; more than the second that some wait before a restart
RESTART_PATIENCE_S = 6.0
RESTART_BUDGET_S = 5.0  # a slow contestant's kills end here
LINE = b"%02d %08d the quick brown fox jumps over the lazy dog and runs through the night, every night.\n"
_INTACT = re.compile(rb"(?<![0-9])(\d\d \d{8}) the quick brown fox jumps over the lazy dog [a-z ,]{39}\.$")


def boot_s(peer: Peer, count: int) -> tuple[float, float]:
    """From the command until the first and until the last of `count` children run."""
    with stage() as place:
        children = idle_children(place.directory, count)
        place.start(peer, children)
        last = place.until_all([child.name for child in children])
        return min(when for _, when in place.heard.values()) - place.started, last


def restart_s(peer: Peer, kills: int) -> list[float | None]:
    """From SIGKILL of a child until it runs again. Each child is killed once: what is asked is the first restart."""
    with stage() as place:
        children = idle_children(place.directory, kills)
        place.start(peer, children)
        place.until_all([child.name for child in children])
        time.sleep(SETTLE_S)
        until = time.monotonic() + RESTART_BUDGET_S
        return [_kill_one(place, child.name) for child in children if time.monotonic() < until]


def _kill_one(place: Stage, name: str) -> float | None:
    if place.process is None or place.process.poll() is not None:
        return None
    pid = place.heard[name][0]
    os.kill(pid, 9)
    return place.until_again(name, pid, RESTART_PATIENCE_S)


@dataclass(frozen=True, slots=True)
class Logs:
    mb_per_s: float
    cpu_s_per_gb: float
    lost: int
    torn: int


def logs(peer: Peer, writers: int) -> Logs:
    """`writers` children write numbered lines as fast as they can; the contestant's output goes to a file in memory."""
    with stage() as place:
        count = peer.log_mb * 1_000_000 // len(LINE % (0, 0)) // writers
        children = [_writer(place.directory, n, count) for n in range(writers)]
        output = place.directory / "output"
        with output.open("ab") as file:  # appending, or contestants with several writers write over each other
            place.start(peer, children, file.fileno())
        place.until_all([child.name for child in children])
        time.sleep(SETTLE_S)
        processes = place.own_processes()
        before = _effort(processes)[1]
        since = time.monotonic()
        for n in range(writers):
            with (place.directory / f"go{n}").open("w") as go:
                go.write("go\n")
        files = sorted(place.directory.glob(peer.logs_to)) if peer.logs_to else [output]
        took = _until_quiet(files) - since
        gigabytes = writers * count * len(LINE % (0, 0)) / 1e9
        cpu_s = _effort(processes)[1] - before
        return Logs(1000 * gigabytes / took, cpu_s / gigabytes, *_judge(files, writers * count))


def _writer(directory: Path, number: int, count: int) -> Child:
    """`cat` of a file: it writes as fast as anybody, and cuts lines where its blocks end."""
    os.mkfifo(directory / f"go{number}")
    script = (
        f"echo w{number} $$ > {directory}/hello; read _ < {directory}/go{number}; cat {_lines(number, count)}; "
        "exec sleep 1000000"
    )
    return Child(f"w{number}", script)


@functools.cache
def _lines(number: int, count: int) -> Path:
    """Written once for all contestants; see forget_lines()."""
    path = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp") / f"wfb-lines-{os.getpid()}"  # noqa: S108
    path.mkdir(mode=0o700, exist_ok=True)
    file = path / f"{number}-{count}"
    file.write_bytes(b"".join(LINE % (number, n) for n in range(count)))
    return file


def forget_lines() -> None:
    shutil.rmtree(_lines(0, 1).parent)
    _lines.cache_clear()


def _until_quiet(files: Sequence[Path]) -> float:
    """When they grew last: they have not grown for a second since."""
    size, changed = -1, time.monotonic()
    deadline = changed + PATIENCE_S
    while time.monotonic() < min(changed + 1.0, deadline):
        now = sum(file.stat().st_size for file in files)
        if now != size:
            size, changed = now, time.monotonic()
        time.sleep(0.002)
    return changed


def _judge(files: Sequence[Path], expected: int) -> tuple[int, int]:
    """(lines that never came whole, lines that are pieces)."""
    seen: set[bytes] = set()
    torn = 0
    for path in files:
        with path.open("rb") as file:
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
    rss_mib: float
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
        memory = [process.memory_full_info() for process in processes]
        wakeups, cpu_s = (after[n] - before[n] for n in (0, 1))
        return Footprint(
            sum(each.pss for each in memory) / 2**20,
            sum(each.rss for each in memory) / 2**20,
            len(processes),
            wakeups / watch_s,
            100 * cpu_s / watch_s,
        )


def _effort(processes: Sequence[psutil.Process]) -> tuple[float, float]:
    """(times that a thread of theirs went to sleep by itself, CPU seconds)."""
    switches, nanoseconds = 0, 0
    for process in processes:
        for task in Path(f"/proc/{process.pid}/task").iterdir():
            status = (task / "status").read_text()
            switches += int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]  # the kernel writes it
            nanoseconds += int((task / "schedstat").read_text().split()[0])  # finer than the ticks of `stat`
    return switches, nanoseconds / 1e9


def stop_s(peer: Peer, count: int) -> float:
    """From the wish until the contestant and its `count` well-behaved children are gone."""
    with stage() as place:
        children = idle_children(place.directory, count)
        place.start(peer, children)
        place.until_all([child.name for child in children])
        time.sleep(SETTLE_S)
        return place.stop()
