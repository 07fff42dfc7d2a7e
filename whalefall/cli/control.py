"""Commands that ask a running whalefall, over its control socket, and change nothing."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from whalefall.cli import absent, requests, tables
from whalefall.cli.outcome import Row
from whalefall.control.client import ask, stream
from whalefall.control.protocol import Request
from whalefall.errors import ControlError
from whalefall.planner.options import nearest
from whalefall.planner.world import look


def status(arguments: argparse.Namespace) -> int:
    """A table, or the reply itself as JSON. Exit code 0 as long as it answers: `health` judges."""
    from whalefall.cli import workers

    where = run_dir(arguments)
    answer = _status(where)
    for row in answer["instances"]:
        said = workers.told(where, row["name"], row["generation"]) if row["pid"] else {}
        processes = _processes(row["pid"], row["uptime_s"] or 0.0)
        row["processes"] = [process | said.get(process["pid"], {}) for process in processes]
    print(json.dumps(answer, indent=2) if arguments.json else tables.status(answer))
    return 0


def logs(arguments: argparse.Namespace) -> int:
    """Lines as the supervisor remembers them; with --follow for ever."""
    request = Request("logs", arguments.service, arguments.follow, arguments.lines)
    where = run_dir(arguments)
    if arguments.service:
        refuse_unknown(arguments.service, instances(where))
    for line in stream(where, request) if arguments.follow else _remembered(where, request):
        text = json.dumps(line, ensure_ascii=False) if arguments.json else f"{line['name']} | {line['text']}"
        print(text, flush=arguments.follow)
    return 0


def _remembered(where: Path, request: Request) -> Iterator[Row]:
    for name, text in ask(where, request)["lines"]:
        yield {"name": name, "text": text}


def events(arguments: argparse.Namespace) -> int:
    """What happened, a sentence each."""
    request = Request("events", follow=arguments.follow, lines=arguments.lines)
    where = run_dir(arguments)
    found = stream(where, request) if arguments.follow else iter(ask(where, request)["events"])
    for event in found:
        print(json.dumps(event) if arguments.json else tables.event(event), flush=True)
    return 0


def why(arguments: argparse.Namespace) -> int:
    """The newest crash reports; from the disk when nobody is left to ask: that is when one wants them most."""
    view = look(requests.of(arguments))
    if found := absent.crash_reports(view, arguments.service, arguments.lines):
        print(f"no whalefall is running here; the last one left in {absent.crash_directory(view)}:", file=sys.stderr)
    else:
        where = run_dir(arguments)
        if arguments.service:
            refuse_unknown(arguments.service, instances(where))
        found = ask(where, Request("why", arguments.service, lines=arguments.lines))["dossiers"]
    if arguments.json:
        print(json.dumps(found, indent=2))
    elif found:
        print("\n\n".join(map(tables.dossier, found)))
    else:
        print(f"no crash of {arguments.service or 'anything'} is on record")
    return 0


def run_dir(arguments: argparse.Namespace) -> Path:
    """Where the running whalefall's socket lies. Raises ControlError when nobody listens there."""
    view = look(requests.of(arguments))
    absent.refuse(view)
    return view.run_dir


def instances(where: Path) -> dict[str, Row]:
    """The status row of each instance, in the order of the Plan."""
    return {row["name"]: row for row in _status(where)["instances"]}


def refuse_unknown(name: str, rows: Mapping[str, Row]) -> None:
    """Raises ControlError with the nearest name. The supervisor would refuse it as well, and knows no nearest one."""
    services = list(dict.fromkeys(row["service"] for row in rows.values()))
    if name not in (*services, *rows):
        known = [*services, *rows] if "." in name else services
        raise ControlError(f"there is no service or instance '{name}'. {nearest(name, known)}")


def _processes(pid: int | None, uptime_s: float) -> list[dict[str, Any]]:
    """The leader, `uptime_s` old, and the processes below it, oldest first; [] for one that does not run (any more)."""
    import psutil

    found = []
    with contextlib.suppress(psutil.Error):
        leader = psutil.Process(pid) if pid else None
        # The kernel tells whole seconds of the time of boot (proc(5), btime): no worker shall be older than its master.
        now = leader.create_time() + uptime_s if leader else 0.0
        for process in [leader, *leader.children(recursive=True)] if leader else []:
            with contextlib.suppress(psutil.Error), process.oneshot():
                age = max(0.01, now - process.create_time())
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


COMMANDS = {"status": status, "logs": logs, "events": events, "why": why}
