"""`whalefall health`: is the site well? For people, and for the container's HEALTHCHECK.

Two questions: does the supervisor answer, with every critical instance ready, and does the site answer through its
front door? A degraded scheduler is said aloud and is no failure: the site goes on.
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
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError

ANSWER_WITHIN_S = 3.0
WELL = ("ready", "finished")
LEFT_ALONE = ("stopped",)  # somebody asked for that


def health(arguments: argparse.Namespace) -> int:
    """Exit code 0, or 1 with the first reason."""
    where = run_dir(arguments)
    ill, degraded = judge(ask(where, Request("status"), ANSWER_WITHIN_S)["instances"])
    if ill:
        raise ControlError(ill)
    if url := _url(where):
        _ask_site(url)
    print(f"degraded: {degraded}" if degraded else "ok")
    return 0


def judge(rows: Sequence[dict[str, Any]]) -> tuple[str, str]:
    """(what is ill, what is degraded), "" for nothing. The site lives without its scheduler, not without the rest."""
    ill = degraded = ""
    for row in rows:
        if row["state"] in WELL + LEFT_ALONE:
            continue
        sentence = f"{row['name']} is {row['state']}" + (f" ({row['reason']})" if row["reason"] else "")
        if row["service"] == "scheduler":
            degraded = degraded or sentence
        else:
            ill = ill or sentence
    return ill, degraded


def _url(where: Path) -> str:
    """What the planner wrote down; "" when it knew no address."""
    try:
        url = json.loads((where / "health.json").read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return url if isinstance(url, str) else ""


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
