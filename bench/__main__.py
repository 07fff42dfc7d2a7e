"""`make bench`: whalefall beside its peers, in one run, on this machine. Writes docs/explanation/measurements.md.

`python -m bench --quick` plays fewer rounds and prints instead of writing.
"""

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from bench import leaks, main_job, measures
from bench.page import Row, machine, table, write
from bench.peers import ROOT, Peer, contestants, install_peers, whalefall_as_pid_1, whalefall_raw, whalefall_serve

PAGE = ROOT / "docs" / "explanation" / "measurements.md"

Result = TypeVar("Result")


def ratio(value: float, ours: float, unit: str, digits: int = 1) -> str:
    """`12.3 ms (4.1x)`: with how many times ours it is."""
    text = f"{value:,.{digits}f} {unit}".strip()
    if value == ours or not ours:
        return text
    times = value / ours
    return f"{text} ({times:.0f}x)" if times >= 10 else f"{text} ({times:.2g}x)"


def interleaved(
    peers: Sequence[Peer], rounds: int, scene: Callable[[Peer], Result], keep: Callable[[Peer], bool] = lambda _: True
) -> dict[str, list[Result]]:
    """All contestants in turn, round for round, so that a noisy minute is everybody's."""
    seen: dict[str, list[Result]] = {peer.name: [] for peer in peers if keep(peer)}
    for _ in range(rounds):
        for peer in peers:
            if keep(peer):
                seen[peer.name].append(scene(peer))
    return seen


def boot(peers: Sequence[Peer], rounds: int) -> str:
    serve = Peer("whalefall serve, planner included", whalefall_serve)
    columns: list[dict[str, str]] = []
    for count, times in ((3, rounds + 1), (50, rounds), (300, 1 if rounds == 1 else 2)):
        among = [*peers, serve] if count < 300 else peers
        seen = interleaved(among, times, lambda peer, n=count: measures.boot_s(peer, n))
        for part in (0, 1) if count == 3 else (1,):
            medians = {name: 1000 * statistics.median(each[part] for each in each_s) for name, each_s in seen.items()}
            columns.append({name: ratio(value, medians["whalefall"], "ms") for name, value in medians.items()})
    head = ("3 children: first", "last", "50: last", "300: last")
    rows = [(name, *(column.get(name, "") for column in columns)) for name in columns[0]]
    return table("Boot: from the command until the first and the last child runs", head, rows)


def restart(peers: Sequence[Peer], rounds: int, kills: int) -> str:
    seen = interleaved(peers, rounds, lambda peer: measures.restart_s(peer, kills), lambda peer: peer.restarts)
    rows: list[Row] = []
    ours: dict[float, float] = {}
    for peer in peers:
        tried = [each for took in seen.get(peer.name, []) for each in took]
        took = sorted(1000 * each for each in tried if each is not None)
        if not took:
            rows.append((peer.name, "never: it ends everything", "", ""))
            continue
        points = {at: took[min(len(took) - 1, int(at * len(took)))] for at in (0.5, 0.99)}
        ours = ours or points
        rows.append(
            (peer.name, *(ratio(points[at], ours[at], "ms", 2) for at in points), f"{len(took)} of {len(tried)}")
        )
    title = f"Restart: from SIGKILL until it runs again; {rounds * kills} kills, or as many as fit in the time"
    return table(title, ("p50", "p99", "came back"), rows)


def logs(peers: Sequence[Peer], rounds: int) -> str:
    raw = Peer("whalefall, LOG_FORMAT=raw", whalefall_raw)
    among = [*peers, raw]
    rows: dict[str, list[str]] = {peer.name: [peer.name] for peer in among}
    for writers in (1, 10):
        seen = interleaved(among, rounds, lambda peer, n=writers: measures.logs(peer, n))
        speed = {name: statistics.median(each.mb_per_s for each in found) for name, found in seen.items()}
        for name, found in seen.items():
            cpu_s = statistics.median(each.cpu_s_per_gb for each in found)
            lost, torn = max(each.lost for each in found), max(each.torn for each in found)
            rows[name] += [ratio(speed[name], speed["whalefall"], "MB/s"), f"{cpu_s:.1f}", f"{lost:,}", f"{torn:,}"]
    head = ("1 writer", "CPU s/GB", "lost", "torn", "10 writers", "CPU s/GB", "lost", "torn")
    title = "Logs: 60 MB (30 circus, 6 honcho) in lines of 97 bytes, written by `cat`, to a file in memory"
    measures.forget_lines()
    return table(title, head, [tuple(row) for row in rows.values()])


def footprint(peers: Sequence[Peer], watch_s: float) -> str:
    rows: list[Row] = []
    ours: dict[int, float] = {}
    can_be_pid_1 = os.geteuid() == 0 and shutil.which("unshare")
    as_pid_1 = [Peer("whalefall as PID 1", whalefall_as_pid_1, wrapped=True)] if can_be_pid_1 else []
    for peer in (*peers[:1], *as_pid_1, *peers[1:]):
        row = [peer.name]
        for count in (3, 50):
            seen = measures.footprint(peer, count, watch_s)
            ours.setdefault(count, seen.pss_mib)
            row += [
                ratio(seen.pss_mib, ours[count], "MiB"),
                f"{seen.rss_mib:.1f}",
                str(seen.processes),
                f"{seen.wakeups_per_s:.1f}",
                f"{seen.cpu_percent:.2f} %",
            ]
        rows.append(tuple(row))
    part = ("RSS", "processes", "wakeups/s", "CPU")
    return table(
        "Footprint: the contestant's own processes while its children sleep",
        ("3 idle: PSS", *part, "50 idle: PSS", *part),
        rows,
    )


def stop(peers: Sequence[Peer], rounds: int) -> str:
    slow = {"supervisord"}  # a quarter of a minute each time
    seen = interleaved(peers, rounds, lambda peer: measures.stop_s(peer, 50), lambda peer: peer.name not in slow)
    once = interleaved(peers, 1, lambda peer: measures.stop_s(peer, 50), lambda peer: peer.name in slow)
    medians = {peer.name: 1000 * statistics.median({**seen, **once}[peer.name]) for peer in peers}
    column = {name: ratio(value, medians["whalefall"], "ms") for name, value in medians.items()}
    return _columns("Stop: from the wish until 50 well-behaved children and the contestant are gone", ("",), [column])


def unpleasant(peers: Sequence[Peer]) -> str:
    with ThreadPoolExecutor(len(peers)) as at_once:  # nobody computes here, they only wait
        scenes = [list(at_once.map(scene, peers)) for scene in (leaks.deaf, leaks.hidden, leaks.killed)]
    rows = [(peer.name, *ends) for peer, *ends in zip(peers, *scenes, strict=True)]
    head = ("a deaf child, stop", "a `setsid` grandchild, stop", "SIGKILL of the supervisor")
    return table(f"Unpleasant ends: what is left after {leaks.LIMIT_S:g} s", head, rows)


def whole(rounds: int) -> str:
    took = main_job.first_200_s(main_job.COMMANDS, rounds)
    memory = {name: main_job.memory_mib(name) for name in main_job.COMMANDS}
    rows = [
        (name, ratio(took[name], took["whalefall"], "s", 2), ratio(memory[name], memory["whalefall"], "MiB", 0))
        for name in took
    ]
    head = ("first 200 of both addresses", "memory, PSS of all processes")
    return table("The main job: Nginx, web with 2 workers, scheduler", head, rows)


def requests(rounds: int, seconds: int) -> str:
    found = main_job.requests_per_s(rounds, seconds)
    if found is None:
        return "### Requests per second\n\nNot measured: `wrk` is not installed.\n"
    rows = [(name, ratio(value, found["whalefall"], "requests/s", 0)) for name, value in found.items()]
    return table("Requests per second: the same Nginx and Gunicorns, 16 connections", ("",), rows)


def deaths() -> str:
    rows: list[Row] = []
    for role in main_job.ROLES:
        for name in ("whalefall", "supervisord"):
            seen = main_job.noticed(name, role)
            again = "never" if seen.again_s is None else f"{1000 * seen.again_s:,.0f} ms"
            rows.append(
                (f"{role}: {name}", f"{seen.failed:,} of {seen.asked:,}", f"{1000 * seen.longest_s:,.0f} ms", again)
            )
    title = f"Death under load: SIGKILL of a master, four clients, {main_job.WATCH_S:g} s"
    return table(title, ("requests failed", "longest answer", "new master after"), rows)


def _columns(title: str, head: Row, columns: Sequence[Mapping[str, str]]) -> str:
    return table(title, head, [(name, *(column[name] for column in columns)) for name in columns[0]])


def main() -> None:
    arguments = argparse.ArgumentParser(prog="bench", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer rounds, printed only")
    quick = arguments.parse_args().quick
    versions, load_before = install_peers(), os.getloadavg()[0]
    parts: list[str] = []
    peers = contestants()
    rounds = 1 if quick else 3
    since = time.monotonic()
    for scene in (
        lambda: boot(peers, rounds),
        lambda: restart(peers, 1 if quick else 3, 10 if quick else 50),
        lambda: logs(peers, 1 if quick else 2),
        lambda: footprint(peers, 2.0 if quick else 4.0),
        lambda: stop(peers, 1 if quick else 2),
        lambda: unpleasant(peers),
        lambda: whole(1 if quick else 5),
        lambda: requests(1 if quick else 45, 1),
        deaths,
    ):
        began = time.monotonic()
        parts.append(scene())
        print(parts[-1], flush=True)
        print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(f"{time.monotonic() - since:.0f} s in all", file=sys.stderr)
    parts.insert(0, machine([f"{name} {version}" for name, version in versions.items() if version], load_before))
    if not quick:
        write(PAGE, parts)


main()
