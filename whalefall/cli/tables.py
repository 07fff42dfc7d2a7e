"""Replies as text for people. Pure: data in, lines out."""

from collections.abc import Sequence
from typing import Any

HEADINGS = ("NAME", "STATE", "PID", "UPTIME", "RESTARTS", "MORE")


def status(answer: dict[str, Any]) -> str:
    """`status` as a table."""
    ours = answer["supervisor"]
    head = f"whalefall {ours['version']} (pid {ours['pid']}), {ours['state']} for {duration(ours['uptime_s'])}"
    rows = [
        (
            row["name"],
            row["state"],
            str(row["pid"] or "-"),
            duration(row["uptime_s"]) if row["uptime_s"] is not None else "-",
            str(row["restarts"]),
            _more(row),
        )
        for row in answer["instances"]
    ]
    return "\n".join([head, *columns([HEADINGS, *rows])])


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Left-aligned; the last column is as long as it likes."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def duration(seconds: float) -> str:
    """`4s`, `3m12s`, `5h03m`, `2d04h`: two units at most."""
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    if hours:
        return f"{hours}h{minutes:02d}m"
    if minutes:
        return f"{minutes}m{rest:02d}s"
    return f"{whole}s"


def _more(row: dict[str, Any]) -> str:
    """The reason, the last exit, the next try: what one asks next."""
    parts = []
    if row["state"] not in ("ready", "stopped") and row["reason"]:
        parts.append(row["reason"])
    if row["retry_in_s"] is not None:
        parts.append(f"next try in {row['retry_in_s']:.1f} s")
    if row["last_exit"]:
        parts.append(f"last: {row['last_exit']}")
    return "; ".join(parts)
