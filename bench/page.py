"""THE PAGE: how what was measured is written down, tables and machine, between the marks of a page in docs/."""

import datetime as dt
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import whalefall

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

Row = tuple[str, ...]


def table(title: str, head: Row, rows: Sequence[Row]) -> str:
    lines = [f"### {title}", "", "| | " + " | ".join(head) + " |", "|---|" + "--:|" * len(head)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, ""])


def machine(versions: Sequence[str], load_before: float, *more: str) -> str:
    """When, with which versions, on what; `more` goes in front of the load."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "",
    )
    parts = [
        f"{os.cpu_count()} cores ({model})",
        *more,
        f"load {load_before:.1f} at the start, {os.getloadavg()[0]:.1f} at the end",
    ]
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}: {', '.join((f'whalefall {whalefall.__version__}', *versions))}; "
        f"Python {platform.python_version()}, Linux {platform.release()}, {', '.join(parts)}.\n"
    )


def write(page: Path, parts: Sequence[str]) -> None:
    """In the place of what was measured before."""
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}")
