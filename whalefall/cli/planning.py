"""`whalefall plan` and `whalefall check`: the planner alone, nothing is started."""

import argparse
import json
import sys
from collections.abc import Iterator

from whalefall.cli import ledger, requests
from whalefall.cli.outcome import told
from whalefall.errors import ConfigError
from whalefall.plan import plan_to_json
from whalefall.planner import doctor, explain, machine
from whalefall.planner.build import Built, build
from whalefall.planner.findings import Finding


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
    """Says in one line what would run. Raises ConfigError for what would keep `serve` from starting."""
    with told(arguments) as outcome:
        built = build(requests.of(arguments), dry=True)
        plan = built.plan
        front = next((each.address for each in plan.listeners if each.name == "http"), "")
        outcome.concerns(
            [each.name for each in plan.instances],
            {each.name: {"name": each.name, "service": each.service} for each in plan.instances},
        )
        applications = [spec or "the built-in application" for spec in doctor.loaded(built.world)]
        found: dict[str, list[str]] = {"note": list(plan.notes), "warning": [], "error": []}
        outcome.more |= {"address": front, "applications": applications}
        outcome.more |= {"notes": found["note"], "warnings": found["warning"], "errors": found["error"]}
        for note in plan.notes:
            outcome.say(f"note: {note}")
        for finding in _findings(built, imports=not arguments.no_import):
            found[finding.weight].append(finding.sentence)
            if finding.weight != "error":
                outcome.say(f"{finding.weight}: {finding.sentence}")
        if found["error"]:
            first, *others = found["error"]
            for sentence in others:
                print(f"whalefall: {sentence}", file=sys.stderr)
            raise ConfigError(first)
        names = ", ".join(outcome.rows)
        run = f" with {', '.join(applications)}" if applications else ""
        run += " (not imported)" if arguments.no_import else ""
        outcome.say(f"ok: {built.world.procfile} gives {names}{run}" + (f"; public address {front}" if front else ""))
    return 0


def _findings(built: Built, *, imports: bool) -> Iterator[Finding]:
    yield from doctor.findings(built, imports=imports)
    yield from machine.findings(built.world)
    if sentence := ledger.trouble(built.world.settings, built.world.data_dir):
        yield Finding(f"the site would start, and no job would run: {sentence}")


COMMANDS = {"plan": plan, "check": check}
