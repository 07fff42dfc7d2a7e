"""`whalefall plan` and `whalefall check`: the planner alone, nothing is started."""

import argparse
import json
import sys
from collections.abc import Iterator

from whalefall.cli import ledger, requests
from whalefall.cli.outcome import told
from whalefall.plan import plan_to_json
from whalefall.planner import doctor, explain, machine
from whalefall.planner.build import Built, build


def plan(arguments: argparse.Namespace) -> int:
    """Prints the Plan in words, or as JSON."""
    if arguments.for_supervisor:
        # The running supervisor asks for its next Plan: files are written, for its children will read them.
        sys.stdout.write(plan_to_json(build(requests.of(arguments)).plan))
        return 0
    built = build(requests.of(arguments), dry=True)
    if not arguments.json:
        sys.stdout.write(explain.in_words(built, show_secrets=arguments.secrets))
    elif arguments.secrets:
        sys.stdout.write(plan_to_json(built.plan, indent=2) + "\n")
    else:
        sys.stdout.write(json.dumps(explain.as_document(built), indent=2, ensure_ascii=False) + "\n")
    return 0


def check(arguments: argparse.Namespace) -> int:
    """Says in one line what would run; errors leave by the front door with exit code 2."""
    with told(arguments) as outcome:
        built = build(requests.of(arguments), dry=True)
        plan = built.plan
        front = next((each.address for each in plan.listeners if each.name == "http"), "")
        outcome.concerns(
            [each.name for each in plan.instances],
            {each.name: {"name": each.name, "service": each.service} for each in plan.instances},
        )
        warnings: list[str] = []
        outcome.more |= {"address": front, "notes": plan.notes, "warnings": warnings}
        for note in plan.notes:
            outcome.say(f"note: {note}")
        for sentence in _warnings(built):
            warnings.append(sentence)
            outcome.say(f"warning: {sentence}")
        names = ", ".join(outcome.rows)
        outcome.say(f"ok: {built.world.procfile} gives {names}" + (f"; public address {front}" if front else ""))
    return 0


def _warnings(built: Built) -> Iterator[str]:
    yield from doctor.advice(built.world)
    yield from machine.advice(built.world)
    if sentence := ledger.trouble(built.world.settings, built.world.data_dir):
        yield f"the site would start, and no job would run: {sentence}"


COMMANDS = {"plan": plan, "check": check}
