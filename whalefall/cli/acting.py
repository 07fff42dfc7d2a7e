"""Commands that change what runs, and wait until what they asked for is so.

Each tells what came of it: a line for each instance, or with --json one document at the end (outcome.py).
"""

import argparse
import contextlib
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from whalefall.cli import newcode, requests
from whalefall.cli.control import instances, refuse_unknown, run_dir
from whalefall.cli.outcome import Outcome, Row, told
from whalefall.control.client import ask
from whalefall.control.protocol import Request
from whalefall.errors import ControlError, WhalefallError

POLL_S = 0.1
PATIENCE_S = 120.0  # longer than the start timeout and any sane grace: after that a person should look
SETTLED = ("stopped", "finished", "failed")
UP = ("ready", "finished")
_SAID_MAX = 300  # characters of a last line; the whole is in the crash report
_TELLS_WHY = re.compile(r"\[(emerg|crit)\]|^[\w.]*(Error|Exception)\b")  # Nginx's way to say it, and Python's
_FRAME = re.compile(r'File "(?P<file>/[^"]+)", line (?P<line>\d+)')
_INSTALLED = re.compile(r"/(site|dist)-packages/|/lib/python3")

_Rows = Mapping[str, Row]
_Done = Callable[[Row, Row], bool]  # (the row now, the row before)


def start(arguments: argparse.Namespace) -> int:
    """Until it is ready."""
    with told(arguments) as outcome:
        _act(arguments, outcome, "start", "started", lambda row, _: row["state"] in UP)
    return 0


def stop(arguments: argparse.Namespace) -> int:
    """Until it is down. Without a service: everything."""
    if not arguments.service:
        return shutdown(arguments)
    with told(arguments) as outcome:
        _act(arguments, outcome, "stop", "stopped", lambda row, _: row["state"] in SETTLED)
    return 0


def restart(arguments: argparse.Namespace) -> int:
    """Until a new generation is ready."""
    with told(arguments) as outcome:
        _try_new_code(arguments, outcome, "restart")
        _replace(arguments, outcome, "restarted")
    return 0


def reload(arguments: argparse.Namespace) -> int:
    """Until the new Plan is applied and everything in it is ready. A bad one changes nothing and is told."""
    unchanged = "nothing in the Plan has changed; name a service to load new code, as in: whalefall reload web"
    with told(arguments) as outcome:
        if arguments.service:
            _try_new_code(arguments, outcome, "reload")
            _replace(arguments, outcome, "reloaded")
        else:
            _plan_again(arguments, outcome, Request("reload"), "reloaded", unchanged)
    return 0


def scale(arguments: argparse.Namespace) -> int:
    """Until the new instances are ready. A name that there is not is refused before anybody plans."""
    request = Request("scale", options=dict(arguments.numbers))
    with told(arguments) as outcome:
        _refuse_unknown(run_dir(arguments), request.options)
        _plan_again(arguments, outcome, request, "scaled", "nothing to do: so many run already")
    return 0


def shutdown(arguments: argparse.Namespace) -> int:
    """Until nothing answers any more."""
    with told(arguments) as outcome:
        where = run_dir(arguments)
        rows = instances(where)
        outcome.concerns(rows, rows)
        ask(where, Request("shutdown"))
        _await_the_end(where)
        for row in [row for row in rows.values() if row["state"] not in SETTLED]:
            outcome.did(row | {"state": "stopped", "pid": None, "uptime_s": None}, "stopped")
        outcome.say("stopped")
    return 0


def _await_the_end(where: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            instances(where)
        except ControlError:
            return
        time.sleep(POLL_S)
    raise ControlError(f"whalefall is still stopping after {PATIENCE_S:g} s. See: whalefall status")


def _try_new_code(arguments: argparse.Namespace, outcome: Outcome, verb: str) -> None:
    """Raises ControlError when the scheduler would not come back."""
    if not arguments.no_import:
        rows = instances(run_dir(arguments))
        named = {name: row for name, row in rows.items() if arguments.service in (name, row["service"])}
        outcome.concerns(named, named)
        newcode.refuse_what_does_not_load(named.values(), verb)


def _replace(arguments: argparse.Namespace, outcome: Outcome, word: str) -> None:
    where = run_dir(arguments)

    def done(row: Row, before: Row) -> bool:
        _refuse_if_kept(where, row, before, word)
        return row["state"] in UP and row["generation"] > before["generation"] and not row.get("replacing")

    _act(arguments, outcome, "restart", word, done)


def _act(arguments: argparse.Namespace, outcome: Outcome, verb: str, word: str, done: _Done) -> None:
    where = run_dir(arguments)
    before = instances(where)
    refuse_unknown(arguments.service, before)
    names: Sequence[str] = ask(where, Request(verb, arguments.service))["accepted"]
    outcome.concerns(names, before)
    for name in names:
        row = _await(where, outcome, name, lambda row: done(row, before.get(row["name"], row | {"generation": 0})))
        if row["state"] == "failed" and verb != "stop":
            raise _failed(where, row)
        new = name not in before or row["generation"] > before[name]["generation"]
        outcome.did(row, word if new or (verb == "stop" and before[name]["state"] not in SETTLED) else "")
        shown = "ready" if verb == "start" else word
        outcome.say(f"{name} {shown}" + (f" (pid {row['pid']})" if row["pid"] else ""))


def _refuse_unknown(where: Path, names: Iterable[str]) -> None:
    """Raises ControlError for a service that neither runs nor stands in the Procfile of the next Plan."""
    status = ask(where, Request("status"))
    running = {row["service"] for row in status["instances"]} | {"all"}
    if unknown := [name for name in names if name not in running]:
        from whalefall.planner.options import nearest

        planned = _in_the_procfile(status["supervisor"])
        for name in unknown:
            if planned and name not in planned:
                raise ControlError(f"there is no service '{name}', and nothing is changed. {nearest(name, planned)}")


def _in_the_procfile(supervisor: Row) -> Sequence[str]:
    """What the supervisor's planner would read; () where that cannot be told, for the planner has the last word."""
    from whalefall.planner import world

    try:
        return [process.name for process in world.processes(requests.of_the_next_plan(supervisor, {}))[1]]
    except (WhalefallError, ValueError, OSError):
        return ()


def _plan_again(arguments: argparse.Namespace, outcome: Outcome, request: Request, word: str, unchanged: str) -> None:
    """The planner answers within its own time limit; then everything has to become what the Plan says."""
    where = run_dir(arguments)
    if not arguments.no_import:
        newcode.refuse_plan_that_does_not_load(where, request.command, request.options)
    before = instances(where)
    answer = ask(where, request, timeout_s=PATIENCE_S)
    changed: Sequence[str] = answer["changed"]
    outcome.more["changed"] = changed
    outcome.concerns([name for name in changed if name in before or name in answer["accepted"]], before)
    for name in [name for name in outcome.rows if name not in answer["accepted"]]:
        outcome.did(before[name] | {"state": "removed", "reason": "no longer part of the Plan"}, "removed")
    for name in answer["accepted"]:
        row = _await(where, outcome, name, lambda row: row["state"] in ("ready", *SETTLED) and not row.get("replacing"))
        if name in changed:
            _judge_change(where, outcome, row, before.get(name), word)
    outcome.say(f"{word}: {', '.join(changed)}" if changed else unchanged)


def _judge_change(where: Path, outcome: Outcome, row: Row, before: Row | None, word: str) -> None:
    """Raises ControlError for an instance that did not become what the new Plan wants."""
    if row["state"] == "failed":
        raise _failed(where, row)
    if before is None:
        outcome.did(row, "started")
        return
    _refuse_if_kept(where, row, before, word)
    outcome.did(row, word if row["generation"] > before["generation"] else "")


def _refuse_if_kept(where: Path, row: Row, before: Row, word: str) -> None:
    """Raises ControlError when the new generation has come and gone: the request was worked off before we looked."""
    if row["state"] == "ready" and row["generation"] == before["generation"] and not row.get("replacing"):
        said = _last_words(where, row["name"], before["generation"])
        raise ControlError(
            f"{row['name']} is not {word}: {row['reason'] or 'the new generation was not ready'}; the old one goes on "
            f"serving.{said} See: whalefall why {row['name']}"
        )


def _failed(where: Path, row: Row) -> ControlError:
    name = row["name"]
    said = _last_words(where, name, 0)
    return ControlError(f"{name} failed: {row['reason'] or row['last_exit']}.{said} See: whalefall logs {name}")


def _last_words(where: Path, name: str, after: int) -> str:
    """What the newest crash report after generation `after` has as the reason, as a sentence; "" when it has none."""
    with contextlib.suppress(ControlError):
        for report in ask(where, Request("why", name, lines=1))["dossiers"]:
            lines = [line.strip() for line in report["lines"] if line.strip()] if report["generation"] > after else []
            telling = [at for at, line in enumerate(lines) if _TELLS_WHY.search(line)]
            if lines:
                last = (telling or [len(lines) - 1])[-1]
                return f' It said: "{lines[last][:_SAID_MAX]}"{_place(lines[:last])}.'
    return ""


def _place(lines: Sequence[str]) -> str:
    """Of the innermost code of the user's own in the traceback that ends `lines`: ` (file:line)`, or ""."""
    for line in reversed(lines):
        if line.startswith("Traceback "):
            break
        if (found := _FRAME.match(line)) and not _INSTALLED.search(found["file"]):
            return f" ({found['file']}:{found['line']})"
    return ""


def _await(where: Path, outcome: Outcome, name: str, done: Callable[[Row], bool]) -> Row:
    """Polls: the protocol answers at once, and a state is a question of a moment."""
    deadline = time.monotonic() + PATIENCE_S
    row: Row = {}
    while time.monotonic() < deadline:
        rows = instances(where)
        outcome.see(rows)
        if name not in rows:
            raise ControlError(f"{name} is no longer part of the Plan")
        row = rows[name]
        if done(row) or row["state"] == "failed":
            return row
        time.sleep(POLL_S)
    raise ControlError(
        f"{name} is still {row['state']} after {PATIENCE_S:g} s: {row['reason']}. See: whalefall logs {name}"
    )


COMMANDS = {
    "start": start,
    "stop": stop,
    "restart": restart,
    "reload": reload,
    "scale": scale,
    "shutdown": shutdown,
}
