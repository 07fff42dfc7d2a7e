"""`whalefall plan` and `whalefall check`: the planner alone, nothing is started."""

import argparse
import json
import sys

from whalefall.cli import requests
from whalefall.plan import plan_to_json
from whalefall.planner import doctor, explain, machine
from whalefall.planner.build import build


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
    built = build(requests.of(arguments), dry=True)
    for note in built.plan.notes:
        print(f"note: {note}")
    for sentence in (*doctor.advice(built.world), *machine.advice(built.world)):
        print(f"warning: {sentence}")
    names = ", ".join(instance.name for instance in built.plan.instances)
    front = next((each.address for each in built.plan.listeners if each.name == "http"), "")
    print(f"ok: {built.world.procfile} gives {names}" + (f"; public address {front}" if front else ""))
    return 0


COMMANDS = {"plan": plan, "check": check}
