"""`make bench`: whalefall beside its peers, in one run, on this machine. Writes docs/explanation/measurements.md.

`python -m bench --quick` plays fewer rounds and prints instead of writing.
"""

import argparse
import datetime as dt
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import whalefall
from bench import main_job, measures
from bench.peers import PEERS, ROOT, Peer, install_peers, whalefall_serve

PAGE = ROOT / "docs" / "explanation" / "measurements.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

Row = tuple[str, ...]


def ratio(value: float, ours: float, unit: str, digits: int = 1) -> str:
    """`12.3 ms (4.1x)`: with how many times ours it is."""
    text = f"{value:,.{digits}f} {unit}".strip()
    if value == ours or not ours:
        return text
    times = value / ours
    return f"{text} ({times:.0f}x)" if times >= 10 else f"{text} ({times:.2g}x)"


def table(title: str, head: Row, rows: Sequence[Row]) -> str:
    lines = [f"### {title}", "", "| | " + " | ".join(head) + " |", "|---|" + "--:|" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, ""])


def each(peers: Sequence[Peer], scene: Callable[[Peer], float], unit: str, scale: float = 1.0) -> dict[str, str]:
    values = {peer.name: scale * scene(peer) for peer in peers}
    return {name: ratio(value, values["whalefall"], unit) for name, value in values.items()}


def boot(rounds: int) -> str:
    serve = Peer("whalefall serve, planner included", whalefall_serve)
    columns = [
        each([*PEERS, serve], lambda peer, n=count: measures.boot_s(peer, n, rounds), "ms", 1000) for count in (3, 50)
    ]
    return _columns("Boot: from the command until the last child runs", ("3 children", "50 children"), columns)


def restart(kills: int) -> str:
    rows: list[Row] = []
    ours = 0.0
    for peer in PEERS:
        took = [each for each in measures.restart_s(peer, kills) if each is not None] if peer.restarts else []
        ours = ours or statistics.median(took)
        if not took:
            rows.append((peer.name, "never: it ends everything", ""))
        else:
            worst = f"{1000 * max(took):,.1f} ms"
            missed = "" if len(took) == kills else f", {kills - len(took)} of {kills} never"
            rows.append((peer.name, ratio(1000 * statistics.median(took), 1000 * ours, "ms"), worst + missed))
    return table(
        f"Restart: from SIGKILL until it runs again, {kills} children, each killed once", ("median", "worst"), rows
    )


def logs(megabytes: int) -> str:
    rows: list[Row] = []
    ours: dict[int, float] = {}
    for peer in PEERS:
        row = [peer.name]
        for writers in (1, 10):
            seen = measures.logs(peer, writers, megabytes // writers)
            ours.setdefault(writers, seen.mb_per_s)
            row += [ratio(seen.mb_per_s, ours[writers], "MB/s"), f"{seen.lost:,}", f"{seen.torn:,}"]
        rows.append(tuple(row))
    head = ("1 writer", "lost", "torn", "10 writers", "lost", "torn")
    return table(f"Logs: {megabytes} MB in lines of 97 bytes, written by `cat`, to a file in memory", head, rows)


def footprint(watch_s: float) -> str:
    rows: list[Row] = []
    ours: dict[int, float] = {}
    for peer in PEERS:
        row = [peer.name]
        for count in (3, 50):
            seen = measures.footprint(peer, count, watch_s)
            ours.setdefault(count, seen.pss_mib)
            row += [
                ratio(seen.pss_mib, ours[count], "MiB"),
                str(seen.processes),
                f"{seen.wakeups_per_s:.1f}",
                f"{seen.cpu_percent:.2f} %",
            ]
        rows.append(tuple(row))
    head = ("3 idle: PSS", "processes", "wakeups/s", "CPU", "50 idle: PSS", "processes", "wakeups/s", "CPU")
    return table("Footprint: the contestant's own processes while its children sleep", head, rows)


def stop(rounds: int) -> str:
    column = each(PEERS, lambda peer: measures.stop_s(peer, 50, rounds), "ms", 1000)
    return _columns("Stop: from SIGTERM until 50 well-behaved children and the contestant are gone", ("",), [column])


def whole(rounds: int) -> str:
    took = {name: main_job.first_200_s(name, rounds) for name in main_job.COMMANDS}
    memory = {name: main_job.memory_mib(name) for name in main_job.COMMANDS}
    rows = [
        (name, ratio(took[name], took["whalefall"], "s", 2), ratio(memory[name], memory["whalefall"], "MiB", 0))
        for name in took
    ]
    head = ("first 200 of both addresses", "memory, PSS of all processes")
    return table("The main job: Nginx, web with 2 workers, scheduler", head, rows)


def _columns(title: str, head: Row, columns: Sequence[Mapping[str, str]]) -> str:
    return table(title, head, [(name, *(column[name] for column in columns)) for name in columns[0]])


def machine(versions: Mapping[str, str]) -> str:
    peers = ", ".join(f"{name} {version}" for name, version in versions.items())
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}: whalefall {whalefall.__version__}, {peers}; "
        f"Python {platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores ({model}), "
        f"load {os.getloadavg()[0]:.1f} at the start.\n"
    )


def main() -> None:
    arguments = argparse.ArgumentParser(prog="bench", description=__doc__)
    arguments.add_argument("--quick", action="store_true", help="fewer rounds, printed only")
    quick = arguments.parse_args().quick
    parts = [machine(install_peers())]
    since = time.monotonic()
    for scene in (
        lambda: boot(1 if quick else 3),
        lambda: restart(3 if quick else 8),
        lambda: logs(10 if quick else 50),
        lambda: footprint(2.0 if quick else 10.0),
        lambda: stop(1 if quick else 3),
        lambda: whole(1 if quick else 3),
    ):
        parts.append(scene())
        print(parts[-1], flush=True)
    print(f"{time.monotonic() - since:.0f} s", file=sys.stderr)
    if not quick:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}")


main()
