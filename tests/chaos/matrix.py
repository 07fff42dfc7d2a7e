"""The fault matrix: what was done, what clients saw, how long until all was well. Writes docs/reference/faults.md.

`make chaos` sets WHALEFALL_WRITE_MATRIX; a run of pytest by hand leaves the page alone.
"""

import datetime as dt
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import whalefall
from tests.chaos.faults import Fault
from tests.support.load import Asked
from tests.support.supervised import ROOT

PAGE = ROOT / "docs" / "reference" / "faults.md"
BEGIN, END = "<!-- played: begin -->", "<!-- played: end -->"
HEAD = ("fault", "played", "GET failed", "POST failed", "refused", "longest stall", "ready again: median", "worst")


@dataclass(frozen=True, slots=True)
class Played:
    """One fault, and the requests that were under way in its time."""

    fault: Fault
    took_s: float
    seen: tuple[Asked, ...]

    @property
    def failed(self) -> list[Asked]:
        return [asked for asked in self.seen if asked.what]

    def failed_by(self, method: str) -> list[Asked]:
        return [asked for asked in self.failed if asked.method == method]


def page(names: Sequence[str], played: Sequence[Played], head: str, left_out: str) -> str:
    """The part between the markers: a row for each of `names`."""
    lines = [
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}, {head}. whalefall {whalefall.__version__}, Python "
        f"{platform.python_version()}, Linux {platform.release()}, {os.cpu_count()} cores ({_model()}), load "
        f"{os.getloadavg()[0]:.1f} at the end.",
        "",
        f"| {' | '.join(HEAD)} |",
        "|---" + "|--:" * (len(HEAD) - 1) + "|",
        *(f"| {' | '.join(_row(name, played))} |" for name in names),
        "",
        *([left_out, ""] if left_out else []),
    ]
    return "\n".join(lines)


def write(text: str) -> None:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}")


def _row(name: str, played: Iterable[Played]) -> tuple[str, ...]:
    mine = [each for each in played if each.fault.name == name]
    took = [each.took_s for each in mine]
    stall = max((asked.took_s for each in mine for asked in each.seen), default=0.0)
    return (
        name,
        str(len(mine)),
        str(sum(len(each.failed_by("GET")) for each in mine)),
        str(sum(len(each.failed_by("POST")) for each in mine)),
        str(sum(asked.refused for each in mine for asked in each.seen)),
        f"{stall:.1f} s",
        f"{statistics.median(took):.1f} s",
        f"{max(took):.1f} s",
    )


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
