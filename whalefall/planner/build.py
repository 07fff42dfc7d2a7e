"""The world becomes a Plan. The door of this package.

`dry=True` looks only: `check` and `plan` leave no file behind but a tested-and-removed Nginx configuration; `serve`
writes what its children will read.
"""

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import whalefall
from whalefall.errors import ConfigError
from whalefall.plan import Command, Dependency, Instance, Plan, plan_to_json
from whalefall.plan.order import check, start_order
from whalefall.planner import activation, addresses, dev, directories, drivers, grace, nginx, python, services
from whalefall.planner.environment import Environment, merge, naming_lines, plain
from whalefall.planner.gunicorn import READY_PATH
from whalefall.planner.layout import Layout, lay_out
from whalefall.planner.roles import Role
from whalefall.planner.services import Service
from whalefall.planner.world import Request, World, survey

_LOG_FORMATS: Mapping[str, Literal["text", "json", "raw"]] = {"text": "text", "json": "json", "raw": "raw"}
HEALTH_FILE = "health.json"  # in RUN_DIR: what `whalefall health` asks
_DIGEST_LENGTH = 16  # of an instance, on a command line: behind its SECRET_KEY nobody can test a guess by it


@dataclass(frozen=True, slots=True)
class Built:
    """A Plan with what a person wants to know of it: each variable's source, and which setting moves a listener."""

    plan: Plan
    world: World
    environments: Mapping[str, Environment]  # by instance
    movers: Mapping[str, str]  # by listener: "--port or PORT"
    grace_s: Mapping[str, float]  # by service


def build(request: Request, *, dry: bool = False) -> Built:
    """Raises ConfigError or UsageError with one sentence. Without `dry`, RUN_DIR and DATA_DIR are made and filled."""
    world = survey(request)
    with naming_lines(world.environment):
        return _build(world, dry=dry)


def _build(world: World, *, dry: bool) -> Built:
    layout = lay_out(world)
    drivers.check(world)
    after = {role.name: _after(world, role) for role in world.running_roles()}
    start_order(_names(after))  # a circle would make the next line endless
    graces = _graces(world, after)
    if not dry:
        directories.make_run_dir(world.run_dir, world.longest_name)
        if not directories.is_left_read_only(world.data_dir, world.settings.secret_key):
            directories.make_data_dir(world.data_dir)
    secret = _secret(world, dry=dry)
    configuration = _nginx_configuration(world, layout, dry=dry)
    notes = _notes(world, after, graces)
    instances: list[Instance] = []
    environments: dict[str, Environment] = {}
    for role in world.running_roles():
        service = Service(world, layout, role, after[role.name], graces[role.name], secret, configuration)
        for number in range(1, world.counts[role.name] + 1):
            instance, environments[f"{role.name}.{number}"], more = services.instance(service, number)
            instances.append(instance)
            notes += more if number == 1 else ()
    if world.front:
        notes.append(f"the site is at {services.public_url(world)}")
    if world.request.development:
        instances.append(_watcher(world))
    notes += activation.notes(layout.listeners, world.request.environ)
    plan = _plan(world, layout, instances, notes)
    check(plan)
    if not dry:
        _write_health(world, layout)
    return Built(plan, world, environments, layout.movers, graces)


def _plan(world: World, layout: Layout, instances: Sequence[Instance], notes: Sequence[str]) -> Plan:
    return Plan(
        tuple(instances),
        layout.listeners,
        drain_delay_s=float(world.settings.drain_delay_s),
        run_dir=str(world.run_dir),
        log_format=_LOG_FORMATS[world.settings.log_format],
        log_dir=world.absolute(world.settings.log_dir),
        crash_dir=str(world.data_dir / "crashes"),
        replan=_replan(world.request, layout, scheduler_digests(instances, world)),
        notes=tuple(notes),
        scratch=_scratch(world),
        hangup_stops=world.request.development,
    )


def _scratch(world: World) -> tuple[str, ...]:
    """Nginx's place, where nobody who looks after RUN_DIR would find it."""
    front, place = world.running("nginx"), nginx.home(world.run_dir)
    ours = front is not None and front.ours and world.nginx_binary
    return (str(place),) if ours and place.parent == nginx.ELSEWHERE else ()


def _watcher(world: World) -> Instance:
    request = world.request
    files = dev.watched(request.home, request.procfile, request.env_file)
    names = [role.name for role in world.roles]
    # Not with `.env`: its change would replace the very process that tells of it.
    environ = plain(merge(request.environ, {}))
    return dev.watcher(request.home.absolute(), world.run_dir, files, environ, names)


def health_url(world: World, layout: Layout) -> str:
    """What tells whether the site answers; "" when neither the application nor its server is ours to know."""
    front = next((role for role in world.running_roles() if role.name == world.front), None)
    if front is None:
        return ""
    path = nginx.HEALTH if front.role == "nginx" else READY_PATH
    if not world.app and not any(role.app for role in world.roles):
        path = services.APP_HEALTH
    return f"http://{addresses.reachable(layout.address('http'))}{path}"


def _after(world: World, role: Role) -> tuple[Dependency, ...]:
    """The options' edges, else the defaults: a release first, and Nginx behind what it passes requests to."""
    chosen = world.options.of(role.name).after
    if chosen is not None:
        for dependency in chosen:
            if dependency.service not in [other.name for other in world.roles]:
                raise ConfigError(
                    f"{world.options.where(role.name, 'after')}: the Procfile has no '{dependency.service}'. "
                    "Mend the name."
                )
            if dependency.until == "finished" and not services.runs_once(world, dependency.service):
                raise ConfigError(
                    f"{world.options.where(role.name, 'after')}: '{dependency.service}' never finishes, as it does not "
                    f"run once, so '{role.name}' would wait for ever. Write \"{dependency.service}\" (ready), or "
                    f"run_once = true for '{dependency.service}'."
                )
        return tuple(edge for edge in chosen if world.counts[edge.service])
    edges = []
    running = {other.name: other for other in world.running_roles()}
    if "release" in running and role.name != "release":
        edges.append(Dependency("release", "finished" if services.runs_once(world, "release") else "ready"))
    if role.role == "nginx":
        for word, until in (("web", "ready"), ("scheduler", "started")):
            if other := world.running(word):
                edges.append(Dependency(other.name, "ready" if until == "ready" else "started"))
    return tuple(edges)


def _graces(world: World, after: Mapping[str, Sequence[Dependency]]) -> dict[str, float]:
    edges = _names(after)
    shares = grace.split(_stop_s(world), edges, {role.name: role.role for role in world.roles})
    return {name: world.options.of(name).grace or share for name, share in shares.items()}


def _stop_s(world: World) -> float:
    """What is left of GRACE for the stop itself."""
    return float(world.settings.grace_s - world.settings.drain_delay_s)


def _secret(world: World, *, dry: bool) -> str:
    """The generated SECRET_KEY; "" when one is given or, dry, when the first start has not generated it yet."""
    if world.settings.secret_key:
        return ""
    return directories.stored_secret_key(world.data_dir) if dry else directories.secret_key(world.data_dir)


def _nginx_configuration(world: World, layout: Layout, *, dry: bool) -> Path:
    """The file that our Nginx reads, tested; written unless `dry`."""
    front = world.running("nginx")
    if front is None or not front.ours or not world.nginx_binary:
        return Path()
    site = nginx_site(world, layout, front)
    if not dry:
        return nginx.write(site, world.run_dir, world.nginx_binary)
    with tempfile.TemporaryDirectory(prefix="whalefall-check-") as place:
        # `nginx -t` binds its unix sockets, so the one in a RUN_DIR that may not exist yet is left out.
        nginx.try_out(dataclasses.replace(site, private=""), Path(place), world.nginx_binary)
    return nginx.configuration_path(site, world.run_dir)


def nginx_site(world: World, layout: Layout, front: Role) -> nginx.Site:
    """What our Nginx, `front`, shall serve."""
    settings = world.settings
    return nginx.Site(
        http=layout.address("http"),
        web=layout.upstreams["web"],
        scheduler=layout.upstreams.get("scheduler", ()),
        https=layout.address("https") if settings.tls_certificate else "",
        certificate=world.absolute(settings.tls_certificate),
        key=world.absolute(settings.tls_key),
        acme=str(world.data_dir / "acme"),
        static="" if world.app else nginx.static_directory(),
        request_timeout_s=settings.request_timeout_s,
        trusted_proxies=settings.trusted_proxies,
        shutdown_timeout_s=float(settings.request_timeout_s),  # a whole stop is shorter: the supervisor hastens it
        private=f"unix:{world.run_dir / services.private_socket(front)}",
        log_level=settings.log_level,
        bound=[each.address for each in layout.listeners if each.descriptor is not None],
        version=nginx.version(world.nginx_binary),
    )


def _notes(world: World, after: Mapping[str, Sequence[Dependency]], graces: Mapping[str, float]) -> list[str]:
    notes = []
    if directories.is_left_read_only(world.data_dir, world.settings.secret_key):
        notes.append(
            f"DATA_DIR: {world.data_dir} cannot be written: the site serves, but no crash report is kept, and no job "
            "runs if the ledger is there. Make it writable."
        )
    if world.direct and world.front:
        why = f"no program '{world.settings.nginx_binary}'" if world.settings.nginx_binary else "NGINX_BINARY is empty"
        if world.running("nginx") is None:
            why = f"{world.procfile} runs no nginx"
        forwards = " and forwards /api/v1/scheduler/ to the scheduler" if world.running("scheduler") else ""
        notes.append(
            f"direct mode: {why}, so web takes the public port{forwards}. Same addresses; for more than a laptop, "
            "install nginx."
        )
    seconds, chain = grace.longest_s(_names(after), graces)
    delay_s = world.settings.drain_delay_s
    if seconds > _stop_s(world) + 0.05:
        steps = " → ".join([f"drain delay {delay_s} s", *chain] if delay_s else chain)
        notes.append(
            f"a stop may take {delay_s + seconds:g} s ({steps}), more than GRACE={world.settings.grace_s}. "
            "Raise --grace, or lower `grace` in the options."
        )
    return notes


def _replan(request: Request, layout: Layout, schedulers: Mapping[str, str]) -> Command:
    """The same question once more, for a reload: the files may have changed, the command line has not.

    `schedulers` are told along, for `whalefall reload` to see whether the answer would replace one: this is what the
    supervisor has of the Plan that it runs. A file of ours would have the last one, and that may have been refused.
    """
    words = [*python.module("whalefall"), "plan", "--for-supervisor"]
    words += [request.app] if request.app else []
    for flag, value in (
        ("--planned", ",".join(f"{name}={digest}" for name, digest in schedulers.items())),
        ("--procfile", request.procfile),
        ("--port", request.port),
        ("--formation", request.formation),
        ("--grace", request.grace_s),
        ("--env", request.env_file),
        ("--attach", request.attach),
    ):
        words += [flag, str(value)] if value else []
    words += ["--dev"] if request.development else []
    environ = activation.remaining(layout.listeners, request.environ)
    return Command(tuple(words), str(request.directory.absolute()), environ)


def _write_health(world: World, layout: Layout) -> None:
    fresh = world.run_dir / f".{HEALTH_FILE}"
    passed = (world.running("nginx"), world.running("web")) if world.front else ()
    told = {
        "url": health_url(world, layout),
        "through": [role.name for role in passed if role and role in world.running_roles()],
        "version": whalefall.__version__,
    }
    fresh.write_text(json.dumps(told), encoding="utf-8")
    fresh.replace(world.run_dir / HEALTH_FILE)


def scheduler_digests(instances: Sequence[Instance], world: World) -> dict[str, str]:
    """{instance: what it is, in short} of those that load an application by our configuration."""
    ours = [role.name for role in world.running_roles() if role.ours and role.role == "scheduler"]
    return {
        each.name: hashlib.sha256(plan_to_json(Plan((each,))).encode()).hexdigest()[:_DIGEST_LENGTH]
        for each in instances
        if each.service in ours
    }


def _names(after: Mapping[str, Sequence[Dependency]]) -> dict[str, list[str]]:
    return {name: [each.service for each in edges] for name, edges in after.items()}
