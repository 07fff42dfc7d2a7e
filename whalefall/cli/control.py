"""Commands that talk to a running whalefall over its control socket, and wait until what they asked for is so."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from whalefall.cli import requests, tables
from whalefall.control.client import ask, stream
from whalefall.control.protocol import Request
from whalefall.errors import ControlError
from whalefall.planner.world import look

POLL_S = 0.1
PATIENCE_S = 120.0  # longer than the start timeout and any sane grace: after that a person should look
SETTLED = ("stopped", "finished", "failed")

Row = dict[str, Any]


def status(arguments: argparse.Namespace) -> int:
    """A table, or the reply itself as JSON. Exit code 0 as long as it answers: `health` judges."""
    answer = _status(run_dir(arguments))
    print(json.dumps(answer, indent=2) if arguments.json else tables.status(answer))
    return 0


def logs(arguments: argparse.Namespace) -> int:
    """Lines as the supervisor remembers them; with --follow for ever."""
    request = Request("logs", arguments.service, arguments.follow, arguments.lines)
    where = run_dir(arguments)
    if not arguments.follow:
        for name, text in ask(where, request)["lines"]:
            print(f"{name} | {text}")
        return 0
    for line in stream(where, request):
        print(f"{line['name']} | {line['text']}", flush=True)
    return 0


def start(arguments: argparse.Namespace) -> int:
    """Until it is ready."""
    return _act(arguments, "start", lambda row, _: row["state"] in ("ready", "finished"), "ready")


def stop(arguments: argparse.Namespace) -> int:
    """Until it is down. Without a service: everything."""
    if not arguments.service:
        return shutdown(arguments)
    return _act(arguments, "stop", lambda row, _: row["state"] in SETTLED, "stopped")


def restart(arguments: argparse.Namespace) -> int:
    """Until a new generation is ready."""

    def done(row: Row, before: int) -> bool:
        return row["state"] in ("ready", "finished") and row["generation"] > before and not row.get("replacing")

    return _act(arguments, "restart", done, "restarted")


def reload(arguments: argparse.Namespace) -> int:
    """Asks and returns: what is replaced, and whether the new Plan was good, is told by `status` and the log."""
    ask(run_dir(arguments), Request("reload", arguments.service))
    print("asked to reload; see `whalefall logs` for what came of it")
    return 0


def shutdown(arguments: argparse.Namespace) -> int:
    """Until nothing answers any more."""
    where = run_dir(arguments)
    ask(where, Request("shutdown"))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            _status(where)
        except ControlError:
            print("stopped")
            return 0
        time.sleep(POLL_S)
    raise ControlError(f"whalefall is still stopping after {PATIENCE_S:g} s. See: whalefall status")


def run_dir(arguments: argparse.Namespace) -> Path:
    """Where the running whalefall's socket lies."""
    return look(requests.of(arguments)).run_dir


def _act(arguments: argparse.Namespace, verb: str, done: Callable[[Row, int], bool], word: str) -> int:
    where = run_dir(arguments)
    before = {row["name"]: row["generation"] for row in _status(where)["instances"]}
    names: Sequence[str] = ask(where, Request(verb, arguments.service))["accepted"]
    for name in names:
        row = _await(where, name, lambda row: done(row, before.get(row["name"], 0)))
        if row["state"] == "failed" and verb != "stop":
            raise ControlError(f"{name} failed: {row['reason'] or row['last_exit']}. See: whalefall logs {name}")
        print(f"{name} {word}" + (f" (pid {row['pid']})" if row["pid"] else ""))
    return 0


def _await(where: Path, name: str, done: Callable[[Row], bool]) -> Row:
    """Polls: the protocol answers at once, and a state is a question of a moment."""
    deadline = time.monotonic() + PATIENCE_S
    row: Row = {}
    while time.monotonic() < deadline:
        rows: list[Row] = [each for each in _status(where)["instances"] if each["name"] == name]
        if not rows:
            raise ControlError(f"{name} is no longer part of the Plan")
        row = rows[0]
        if done(row) or row["state"] == "failed":
            return row
        time.sleep(POLL_S)
    raise ControlError(
        f"{name} is still {row['state']} after {PATIENCE_S:g} s: {row['reason']}. See: whalefall logs {name}"
    )


def _status(where: Path) -> dict[str, Any]:
    answer = ask(where, Request("status"))
    if not isinstance(answer, dict) or not isinstance(answer.get("instances"), list):
        raise ControlError("the answer on the control socket is not whalefall's")
    sys.stdout.flush()
    return answer


COMMANDS = {
    "status": status,
    "logs": logs,
    "start": start,
    "stop": stop,
    "restart": restart,
    "reload": reload,
    "shutdown": shutdown,
}
