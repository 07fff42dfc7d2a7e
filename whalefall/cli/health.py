"""`whalefall health`: is the site well? For people, and for the container's HEALTHCHECK.

Two questions: does the supervisor answer, with every critical instance ready, and does the site answer through its
front door? What the site lives without is said aloud and is no failure: a scheduler that is down, a worker that
somebody stopped, one of two webs.
"""

import argparse
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whalefall.cli.control import run_dir
from whalefall.cli.outcome import told
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError

ANSWER_WITHIN_S = 3.0
WELL = ("ready", "finished")
CAUSES = ("failed", "stopped")  # named before what only waits for them

Row = dict[str, Any]


def health(arguments: argparse.Namespace) -> int:
    """Exit code 0, or 1 with the first reason."""
    with told(arguments) as outcome:
        where = run_dir(arguments)
        answer = ask(where, Request("status"), ANSWER_WITHIN_S)
        rows = answer["instances"]
        outcome.concerns([row["name"] for row in rows], {row["name"]: row for row in rows})
        planned = _planned(where)
        ill, degraded = judge(rows, planned["through"])
        outcome.more["degraded"] = degraded
        if ill:
            raise ControlError("whalefall is stopping" if answer["supervisor"]["state"] == "stopping" else ill)
        if planned["url"]:
            _ask_site(planned["url"])
        outcome.say(f"degraded: {degraded}" if degraded else "ok")
    return 0


def judge(rows: Sequence[Row], through: Sequence[str]) -> tuple[str, str]:
    """(what is ill, what is degraded), "" for nothing. `through` are the services that every request passes.

    The site lives without its scheduler, not without the rest; but what a person has stopped is ill only where every
    request needs it.
    """
    ill = degraded = ""
    for row in sorted(rows, key=lambda row: row["state"] not in CAUSES):
        if row["state"] in WELL:
            continue
        if row["service"] == "scheduler" or (row["state"] == "stopped" and not _blocks(row, rows, through)):
            degraded = degraded or _sentence(row)
        else:
            ill = ill or _sentence(row)
    return ill, degraded


def _blocks(row: Row, rows: Sequence[Row], through: Sequence[str]) -> bool:
    """Nobody is left to take the requests of its service."""
    return row["service"] in through and not any(
        other["service"] == row["service"] and other["state"] in WELL for other in rows
    )


def _sentence(row: Row) -> str:
    if row["state"] == "stopped":
        return f"{row['name']} was stopped by hand. Start it: whalefall start {row['service']}"
    return f"{row['name']} is {row['state']}" + (f" ({row['reason']})" if row["reason"] else "")


def _planned(where: Path) -> dict[str, Any]:
    """What the planner wrote down; nothing where it knew no address."""
    nothing = {"url": "", "through": []}
    try:
        found = json.loads((where / "health.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return nothing
    well_formed = isinstance(found, dict) and all(
        isinstance(found.get(key), type(value)) for key, value in nothing.items()
    )
    return found if well_formed else nothing


def _ask_site(url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, whatever http_proxy says
    try:
        with opener.open(url, timeout=ANSWER_WITHIN_S) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ControlError(f"{url} answers {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ControlError(f"{url} does not answer ({reason})") from None


COMMANDS = {"health": health}
