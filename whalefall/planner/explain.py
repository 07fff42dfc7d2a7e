"""A Plan in words: what would run, in which order, on which sockets, with which variables and who said so."""

import dataclasses
import json
import shlex
from collections.abc import Iterator
from typing import Any

from whalefall.plan import Instance, Probe, plan_to_json
from whalefall.plan.order import start_order
from whalefall.planner import grace
from whalefall.planner.build import Built
from whalefall.planner.environment import Variable, masked, masked_argv
from whalefall.settings import table

_QUIET_SOURCES = frozenset({"environment"})  # HOME, PATH and the like: counted, not listed


def as_document(built: Built) -> dict[str, Any]:
    """The Plan as JSON with secrets masked, and each variable's source beside it."""
    document: dict[str, Any] = json.loads(plan_to_json(built.plan))
    for instance in document["instances"]:
        _mask_command(instance["command"])
    if document["replan"]:
        _mask_command(document["replan"])
    document["sources"] = {
        name: {key: variable.source for key, variable in environment.items()}
        for name, environment in built.environments.items()
    }
    return document


def in_words(built: Built, *, show_secrets: bool = False) -> str:
    """For people."""
    return "\n".join(_sections(built, show_secrets=show_secrets)) + "\n"


def _sections(built: Built, *, show_secrets: bool) -> Iterator[str]:
    plan, world = built.plan, built.world
    yield f"Procfile   {world.procfile}, in {world.request.home.absolute()}"
    yield f"run dir    {plan.run_dir}"
    yield f"data dir   {world.data_dir}"
    yield f"app        {world.app or 'the built-in application'}"
    yield f"order      {' → '.join(start_order(_edges(built)))} (stop: the reverse)"
    yield from _stop_lines(built)
    for note in plan.notes:
        yield f"note       {note}"
    if plan.listeners:
        yield ""
        yield "Sockets that the supervisor holds"
        for listener in plan.listeners:
            users = [each.name for each in plan.instances if listener.name in each.listeners]
            mover = built.movers[listener.name]
            yield f"  {listener.name:<12} {listener.address:<24} for {', '.join(users)}; moved by {mover}"
    for instance in plan.instances:
        yield ""
        yield from _instance_lines(built, instance, show_secrets=show_secrets)
    yield ""
    yield "Settings"
    yield from _setting_lines(built, show_secrets=show_secrets)


def _stop_lines(built: Built) -> Iterator[str]:
    longest, chain = grace.longest_s(_edges(built), built.grace_s)
    parts = ", ".join(f"{name} {seconds:g} s" for name, seconds in built.grace_s.items())
    delay_s, total_s = built.plan.drain_delay_s, built.world.settings.grace_s
    steps = " → ".join([f"drain delay {delay_s:g} s", *chain] if delay_s else chain)
    yield f"stop       {parts}; longest chain {steps} = {delay_s + longest:g} s of GRACE={total_s} s"


def _instance_lines(built: Built, instance: Instance, *, show_secrets: bool) -> Iterator[str]:
    argv = instance.command.argv if show_secrets else masked_argv(instance.command.argv)
    yield instance.name
    yield f"  command  {shlex.join(argv)}"
    if instance.listeners:
        how = "LISTEN_FDS" if instance.sockets == "listen_fds" else "NGINX"
        yield f"  sockets  {', '.join(instance.listeners)} by {how}"
    waits = [f"{edge.service} {edge.until}" for edge in instance.after]
    yield f"  starts   {'after ' + ', '.join(waits) if waits else 'at once'}" + (
        ", runs once" if instance.run_once else ""
    )
    yield f"  ready    {_probe(instance.ready)}"
    stop = instance.stop
    yield f"  stop     SIG{stop.signal}, SIGKILL to its tree after {stop.grace_s:g} s; orphans: {stop.orphans}"
    if memory := instance.memory:
        who = "its fattest worker" if memory.each == "worker" else "it"
        yield f"  memory   {who} is replaced above {memory.bytes / 1_048_576:g} MB"
    yield f"  restart  backoff; when it gives up: {instance.restart.on_give_up}"
    environment = built.environments[instance.name]
    shown = {name: each for name, each in environment.items() if each.source not in _QUIET_SOURCES or _is_setting(name)}
    for name in sorted(shown):
        yield f"  {name}={_value(name, shown[name], show_secrets=show_secrets)}   ({shown[name].source})"
    rest = len(environment) - len(shown)
    if rest:
        yield f"  and {rest} more from the environment (all of them: --json)"


def _setting_lines(built: Built, *, show_secrets: bool) -> Iterator[str]:
    environment, settings = built.world.environment, built.world.settings
    values = dataclasses.asdict(settings)
    for row, value in zip(table(), values.values(), strict=True):
        name = row["variable"]
        given = environment.get(name)
        source = given.source if given and given.value.strip() else "default"
        text = str(value).lower() if isinstance(value, bool) else str(value)
        yield f"  {name}={text if show_secrets else masked(name, text)}   ({source})"


def _probe(probe: Probe | None) -> str:
    match probe:
        case None:
            return "as soon as it runs"
        case Probe(kind="http"):
            return f"when GET {probe.path} at {probe.address or 'a socket of its own'} answers below 400"
        case Probe(kind="tcp"):
            return f"when {probe.address} takes a connection"
        case Probe(kind="exec"):
            return f"when `{shlex.join(probe.argv)}` exits with 0"
        case _:
            return "when it says READY=1"


def _value(name: str, variable: Variable, *, show_secrets: bool) -> str:
    return shlex.quote(variable.value if show_secrets else masked(name, variable.value))


def _mask_command(command: dict[str, Any]) -> None:
    command["argv"] = masked_argv(command["argv"])
    command["env"] = {name: masked(name, value) for name, value in command["env"].items()}


def _edges(built: Built) -> dict[str, list[str]]:
    return {each.service: [edge.service for edge in each.after] for each in built.plan.instances}


def _is_setting(name: str) -> bool:
    return any(row["variable"] == name for row in table())
