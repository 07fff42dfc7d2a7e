"""Replies as text for people. Pure: data in, lines out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

HEADINGS = ("NAME", "STATE", "PID", "UPTIME", "RESTARTS", "MEMORY", "CPU", "MORE")
MEBIBYTE = 1_048_576


def status(answer: dict[str, Any]) -> str:
    """`status` as a table: each instance, below it its workers (`processes` of a row, where the caller added them)."""
    ours = answer["supervisor"]
    head = f"whalefall {ours['version']} (pid {ours['pid']}), {ours['state']} for {duration(ours['uptime_s'])}"
    rows = []
    for row in answer["instances"]:
        uptime = duration(row["uptime_s"]) if row["uptime_s"] is not None else "-"
        leader, *workers = row.get("processes") or [{}]
        rows.append(
            (
                row["name"],
                row["state"],
                str(row["pid"] or "-"),
                uptime,
                str(row["restarts"]),
                *_weight(leader),
                _more(row),
            )
        )
        for at, worker in enumerate(workers, start=1):
            branch = "└─" if at == len(workers) else "├─"
            age = duration(worker["age_s"])
            rows.append((f" {branch} worker", "", str(worker["pid"]), age, "", *_weight(worker), _sign_of_life(worker)))
    return "\n".join([head, *columns([HEADINGS, *rows])])


def _weight(process: dict[str, Any]) -> tuple[str, str]:
    """(memory, CPU over its whole life)."""
    if not process:
        return "-", "-"
    return f"{process['memory_bytes'] / MEBIBYTE:.0f} MB", f"{process['cpu_percent']:.1f} %"


def _sign_of_life(worker: dict[str, Any]) -> str:
    """What its Gunicorn says of it; "" for other processes."""
    if worker.get("aborted"):
        return "aborted by its master: no sign of life in time"
    age_s = worker.get("heartbeat_age_s")
    return "" if age_s is None else f"last sign of life {age_s:.1f} s ago"


def event(event: dict[str, Any]) -> str:
    """`2026-11-24 14:03:05 web.1 is ready …`, in local time."""
    sign = {"error": "!", "warning": "?"}.get(event["level"], " ")
    return f"{moment(event['at'])} {sign} {event['text']}"


def dossier(found: dict[str, Any]) -> str:
    """A crash report for people: the sentence, the facts, the last lines."""
    ready = "never ready" if found["ready_after_s"] is None else f"ready after {found['ready_after_s']:.1f} s"
    facts = [
        f"{moment(found['at'])}  {found['what']}",
        f"  generation {found['generation']}, pid {found['pid'] or '-'}, {ready}, ran for {found['ran_for_s']:.1f} s",
        f"  {found['crashes']}; peak memory of its leader {found['peak_memory_bytes'] / MEBIBYTE:.0f} MB",
    ]
    if found["out_of_memory_kills"]:
        facts.append(
            f"  the kernel killed {found['out_of_memory_kills']} process(es) of this group for memory meanwhile"
        )
    if found["last_probe"]:
        facts.append(f"  last probe: {found['last_probe']}")
    facts.append(f"  its last {len(found['lines'])} lines:" if found["lines"] else "  it said nothing")
    return "\n".join([*facts, *(f"    | {line}" for line in found["lines"])])


def moment(at: float) -> str:
    """Local time to the second."""
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


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
    if row["last_exit"] and row["last_exit"] not in parts:
        parts.append(f"last: {row['last_exit']}")
    return "; ".join(parts)
