"""Commands that talk to a running whalefall over its control socket, and wait until what they asked for is so."""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
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
    from whalefall.cli import workers

    where = run_dir(arguments)
    answer = _status(where)
    for row in answer["instances"]:
        said = workers.told(where, row["name"], row["generation"]) if row["pid"] else {}
        row["processes"] = [process | said.get(process["pid"], {}) for process in _processes(row["pid"])]
    print(json.dumps(answer, indent=2) if arguments.json else tables.status(answer))
    return 0


def logs(arguments: argparse.Namespace) -> int:
    """Lines as the supervisor remembers them; with --follow for ever."""
    request = Request("logs", arguments.service, arguments.follow, arguments.lines)
    where = run_dir(arguments)
    for line in stream(where, request) if arguments.follow else _remembered(where, request):
        text = json.dumps(line, ensure_ascii=False) if arguments.json else f"{line['name']} | {line['text']}"
        print(text, flush=arguments.follow)
    return 0


def _remembered(where: Path, request: Request) -> Iterator[Row]:
    for name, text in ask(where, request)["lines"]:
        yield {"name": name, "text": text}


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
    return _replace(arguments, "restarted")


def _replace(arguments: argparse.Namespace, word: str) -> int:
    def done(row: Row, before: int) -> bool:
        if row["state"] == "ready" and row["generation"] == before and not row.get("replacing"):
            raise ControlError(  # the request is worked off before the next question: the new one has come and gone
                f"{row['name']} is not {word}: {row['reason'] or 'the new generation was not ready'}; the old one goes "
                f"on serving. See: whalefall why {row['name']}"
            )
        return row["state"] in ("ready", "finished") and row["generation"] > before and not row.get("replacing")

    return _act(arguments, "restart", done, word)


def reload(arguments: argparse.Namespace) -> int:
    """Until the new Plan is applied and everything in it is ready. A bad one changes nothing and is told."""
    if arguments.service:
        return _replace(arguments, "reloaded")
    unchanged = "nothing in the Plan has changed; name a service to load new code, as in: whalefall reload web"
    return _plan_again(arguments, Request("reload"), "reloaded", unchanged)


def scale(arguments: argparse.Namespace) -> int:
    """Until the new instances are ready and the others gone."""
    request = Request("scale", options=dict(arguments.numbers))
    return _plan_again(arguments, request, "scaled", "nothing to do: so many run already")


def events(arguments: argparse.Namespace) -> int:
    """What happened, a sentence each."""
    request = Request("events", follow=arguments.follow, lines=arguments.lines)
    where = run_dir(arguments)
    found = stream(where, request) if arguments.follow else iter(ask(where, request)["events"])
    for event in found:
        print(json.dumps(event) if arguments.json else tables.event(event), flush=True)
    return 0


def why(arguments: argparse.Namespace) -> int:
    """The newest crash reports."""
    found = ask(run_dir(arguments), Request("why", arguments.service, lines=arguments.lines))["dossiers"]
    if arguments.json:
        print(json.dumps(found, indent=2))
    elif found:
        print("\n\n".join(map(tables.dossier, found)))
    else:
        print(f"no crash of {arguments.service or 'anything'} is on record")
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


def _plan_again(arguments: argparse.Namespace, request: Request, word: str, unchanged: str) -> int:
    """The planner answers within its own time limit; then everything has to become what the Plan says."""
    where = run_dir(arguments)
    answer = ask(where, request, timeout_s=PATIENCE_S)
    for name in answer["accepted"]:
        _await(where, name, lambda row: row["state"] in ("ready", *SETTLED) and not row.get("replacing"))
    print(f"{word}: {', '.join(answer['changed'])}" if answer["changed"] else unchanged)
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


def _processes(pid: int | None) -> list[dict[str, Any]]:
    """The leader and the processes below it, oldest first; [] for one that does not run (any more)."""
    import psutil

    found = []
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid) if pid else None
        for process in [leader, *leader.children(recursive=True)] if leader else []:
            with contextlib.suppress(psutil.Error), process.oneshot():
                age = max(0.01, time.time() - process.create_time())
                used = sum(process.cpu_times()[:2])
                memory = process.memory_info().rss
                percent = round(100 * used / age, 1)
                found.append(
                    {"pid": process.pid, "age_s": round(age, 1), "memory_bytes": memory, "cpu_percent": percent}
                )
    return found


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
    "scale": scale,
    "events": events,
    "why": why,
    "shutdown": shutdown,
}
