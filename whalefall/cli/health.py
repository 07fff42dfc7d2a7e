"""`whalefall health`: is the site well? For people, and for the container's HEALTHCHECK.

Two questions: does the supervisor answer, with every critical instance ready, and does the site answer through its
front door? What the site lives without is said aloud and is no failure: a scheduler that is down, a worker that
somebody stopped, one of two webs, a ledger in trouble.
"""

import argparse
import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whalefall.cli import ledger, requests
from whalefall.cli.control import run_dir
from whalefall.cli.outcome import told
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError
from whalefall.planner.world import look

ANSWER_WITHIN_S = 3.0
READY = "/api/v1/health/ready"
_SAID_MAX = 65_536  # bytes of its answer
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
            degraded = outcome.more["degraded"] = degraded or _trouble(planned["url"], arguments)
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
    try:
        with _opener().open(url, timeout=ANSWER_WITHIN_S) as answer:
            answer.read(1)
    except urllib.error.HTTPError as error:
        error.close()
        raise ControlError(f"{url} answers {error.code}") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise ControlError(f"{url} does not answer ({reason})") from None


def _trouble(url: str, arguments: argparse.Namespace) -> str:
    """What the site says of its ledger, "" for nothing. An application without our pages cannot: then we look."""
    ready = urllib.parse.urljoin(url, READY)
    try:
        with _opener().open(ready, timeout=ANSWER_WITHIN_S) as answer:
            said = answer.read(_SAID_MAX)
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(_SAID_MAX)
    except (OSError, http.client.HTTPException) as error:
        return f"{ready} does not answer ({getattr(error, 'reason', error)})"
    found = _envelope(said)
    if found is not None:
        return "" if found["success"] else str(found["message"])
    view = look(requests.of(arguments))
    return ledger.trouble(view.settings, view.data_dir)


def _envelope(said: bytes) -> dict[str, Any] | None:
    """None if it is not our API that has answered."""
    try:
        found = json.loads(said)
    except ValueError:
        return None
    return found if isinstance(found, dict) and {"success", "message"} <= found.keys() else None


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback, whatever http_proxy says


COMMANDS = {"health": health}
