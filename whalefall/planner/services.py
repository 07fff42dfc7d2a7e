"""One process type becomes its instances: environment, command, probe, stop. The last step before the Plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from whalefall.errors import ConfigError
from whalefall.plan import Command, Dependency, Instance, MemoryLimit, Probe, RestartPolicy, StopPolicy
from whalefall.plan.records import replace
from whalefall.planner import addresses, applications, dev, nginx, privileges, roles
from whalefall.planner.environment import Environment, is_set, plain, put
from whalefall.planner.gunicorn import DUMP_SIGNAL, LIVE_PATH, LOGGED_BY, READY_PATH
from whalefall.planner.layout import Layout
from whalefall.planner.roles import Role
from whalefall.planner.world import World

APP_HEALTH = "/api/v1/health/basic"
START_TIMEOUT_S = 60.0
LIVE_PERIOD_S = 10.0  # Kubernetes' default; three misses restart
LIVE_TIMEOUT_S = 5.0  # Kubernetes' 1 s would restart a busy machine's service for being slow
_OF_THIS_MACHINE = ("unix:", "127.", "[::1]:")  # addresses that no other one reaches


@dataclass(frozen=True, slots=True)
class Service:
    """A process type with all that is decided about it."""

    world: World
    layout: Layout
    role: Role
    after: tuple[Dependency, ...]
    grace_s: float
    secret: str  # the generated SECRET_KEY, "" when one is given
    nginx_configuration: Path

    @property
    def held(self) -> tuple[str, ...]:
        """The listeners that the supervisor holds for it."""
        return self.layout.of.get(self.role.name, ())

    def port(self, number: int) -> int:
        """foreman's rule."""
        return self.layout.ports[self.role.name] + number - 1

    @property
    def is_our_gunicorn(self) -> bool:
        """Run by one of our two configurations, so that we know its signals."""
        return self.role.ours and self.role.role in ("web", "scheduler")

    @property
    def is_attached(self) -> bool:
        """It has the terminal."""
        return self.role.name == self.world.request.attach

    @property
    def forwards(self) -> bool:
        """Direct mode: this web passes the scheduler's addresses on."""
        return (
            self.world.direct
            and self.role.role == "web"
            and self.role.ours
            and self.world.running("scheduler") is not None
        )


def instance(service: Service, number: int) -> tuple[Instance, Environment, tuple[str, ...]]:
    """(instance, its variables with their sources, notes). Raises ConfigError when its program is not there."""
    world, role = service.world, service.role
    options = world.options.of(role.name)
    environment = _environment(service, number)
    argv, notes = _argv(service, plain(environment))
    # Two generations side by side need a socket that both can have: one that we hold.
    side_by_side = bool(service.held) and role.role in ("web", "nginx")
    made = Instance(
        service=role.name,
        number=number,
        command=_command(service, argv, environment),
        listeners=service.held,
        sockets="nginx" if role.role == "nginx" else "listen_fds",
        after=service.after,
        ready=_ready(service, number, plain(environment)),
        live=_live(service, number, plain(environment)),
        watchdog_s=_watchdog_s(service),
        memory=_memory(service),
        start_timeout_s=options.start_timeout or START_TIMEOUT_S,
        restart=_restart(service),
        stop=_stop(service, side_by_side=side_by_side),
        replace="start_first" if side_by_side else "stop_first",
        run_once=runs_once(world, role.name),
        log=options.log or "",
        # Beside the ledger, not in the run directory: it must stop a second whalefall on the same data.
        lock=str(world.data_dir / "scheduler.lock") if role.role == "scheduler" else "",
    )
    if world.request.development:
        made = dev.as_developed(made, attached=service.is_attached)
    return made, environment, notes


def runs_once(world: World, name: str) -> bool:
    """It shall end by itself, and others may wait until it has."""
    said = world.options.of(name).run_once
    return name == "release" if said is None else said


def private_socket(role: Role) -> str:
    """The name in RUN_DIR that the supervisor binds its private socket to: Nginx must hold it in its configuration."""
    return f"probe-{role.name}.1.sock"


def _stop(service: Service, *, side_by_side: bool) -> StopPolicy:
    options = service.world.options.of(service.role.name)
    signal = options.stop_signal or ("QUIT" if service.role.role == "nginx" else "TERM")
    return StopPolicy(
        signal=signal,
        # Nginx's way to end now, but cleanly; a Gunicorn has its own --graceful-timeout.
        quick_signal="TERM" if service.role.role == "nginx" and signal == "QUIT" else "",
        grace_s=service.grace_s,
        orphans=options.orphans or ("drain" if side_by_side else "kill"),
        orphan_signal=signal,
        # A replaced Nginx holds its clients' connections: they may last as long as any request may.
        drain_s=float(service.world.settings.request_timeout_s) if side_by_side else None,
        dump_signal=DUMP_SIGNAL if service.is_our_gunicorn else "",
    )


def _restart(service: Service) -> RestartPolicy:
    options, default = service.world.options.of(service.role.name), RestartPolicy()
    first_s = options.restart_first or default.first_s
    max_s = options.restart_max or max(default.max_s, first_s)
    if first_s > max_s:
        where = service.world.options.where(service.role.name, "restart_max")
        raise ConfigError(f"{where} = {max_s:g} is less than the first pause, {first_s:g}. Raise it.")
    return RestartPolicy(
        first_s=first_s,
        max_s=max_s,
        early_crashes=options.early_crashes or default.early_crashes,
        early_window_s=options.early_window or default.early_window_s,
        crashes=options.crashes or default.crashes,
        window_s=options.crash_window or default.window_s,
        on_give_up=_on_give_up(service),
    )


def _on_give_up(service: Service) -> Literal["exit", "degrade", "stop"]:
    options = service.world.options.of(service.role.name)
    said, critical = options.on_give_up, options.critical
    if said and critical is not None and critical != (said == "exit"):
        where = service.world.options.where(service.role.name, "critical")
        raise ConfigError(f'{where} = {str(critical).lower()} contradicts on_give_up = "{said}". Remove one of them.')
    if said:
        return said
    if critical is None:
        critical = service.role.role != "scheduler"
    return "exit" if critical else "degrade"


def _ready(service: Service, number: int, environ: Mapping[str, str]) -> Probe | None:
    """How to tell that it is ready.

    A connection tells nothing about a socket that we hold ourselves: the kernel accepts for a process that is dead. So
    the default asks by HTTP where we know a path, and connects only to a port that the process opens itself.
    """
    world, role = service.world, service.role
    address = _asked_at(service, number, environ)
    if chosen := world.options.of(role.name).ready:
        if role.ours and chosen == "notify":
            where = world.options.where(role.name, "ready")
            raise ConfigError(f"{where}: Gunicorn and Nginx do not say when they can serve. Remove it.")
        return _chosen(chosen, address)
    if role.ours and role.role == "nginx":
        return Probe("http", address, nginx.HEALTH)
    if role.ours:
        return Probe("http", address, READY_PATH if role.app or world.app else APP_HEALTH)
    if role.role == "web" and not service.held and role.mentions_port:
        return Probe("tcp", address)
    return None


def _asked_at(service: Service, number: int, environ: Mapping[str, str]) -> str:
    """Its first socket, else its PORT; "" for one that is asked on a socket of its own.

    Gunicorn and our Nginx are: on a shared socket the generation before may answer.
    """
    role, held = service.role, service.held
    if role.ours or (held and roles.is_our_gunicorn(role, environ)):
        return ""
    return addresses.reachable(service.layout.address(held[0])) if held else f"127.0.0.1:{service.port(number)}"


def _chosen(what: str | tuple[str, ...], address: str) -> Probe | None:
    match what:
        case "none":
            return None
        case "tcp":
            return Probe("tcp", address)
        case "notify":
            return Probe("notify")
        case tuple():
            return Probe("exec", argv=what)
        case _:
            return Probe("http", address, what)


def _live(service: Service, number: int, environ: Mapping[str, str]) -> Probe | None:
    """Our Gunicorns and our Nginx are asked for ever; of others we do not know what they may take their time for."""
    role, options = service.role, service.world.options.of(service.role.name)
    what = options.live or "none"
    if role.ours and not options.live:
        what = nginx.HEALTH if role.role == "nginx" else LIVE_PATH
    probe = _chosen(what, _asked_at(service, number, environ))
    if probe is None:
        for key in ("live_period", "live_timeout", "live_failures"):
            if getattr(options, key) is not None:
                where = service.world.options.where(role.name, key)
                raise ConfigError(f"{where}: there is no liveness probe to time. Write what to ask by `live`.")
        return None
    return replace(
        probe,
        period_s=options.live_period or LIVE_PERIOD_S,
        timeout_s=options.live_timeout or LIVE_TIMEOUT_S,
        failures=options.live_failures or probe.failures,
    )


def _watchdog_s(service: Service) -> float | None:
    watchdog_s = service.world.options.of(service.role.name).watchdog
    if watchdog_s is not None and service.role.ours:
        where = service.world.options.where(service.role.name, "watchdog")
        raise ConfigError(f"{where}: our own roles do not say WATCHDOG=1, they are asked by `live`. Remove it.")
    return watchdog_s


def _memory(service: Service) -> MemoryLimit | None:
    options = service.world.options.of(service.role.name)
    if options.memory_limit is None:
        return None
    if runs_once(service.world, service.role.name):
        where = service.world.options.where(service.role.name, "memory_limit")
        raise ConfigError(
            f"{where}: what runs once cannot be replaced while it works. Write limits = {{ as = BYTES }}."
        )
    each: Literal["worker", "tree"] = "worker" if roles.has_gunicorn_workers(service.role) else "tree"
    return MemoryLimit(options.memory_limit, each)


def _command(service: Service, argv: tuple[str, ...], environment: Environment) -> Command:
    options, where = service.world.options.of(service.role.name), service.world.options.where
    privileges.check_user(options.user, where(service.role.name, "user"), ours=service.role.ours)
    privileges.check_limits(options.limits, where(service.role.name, "limits"))
    return Command(
        argv,
        str(service.world.request.home.absolute()),
        plain(environment),
        user=options.user,
        umask=options.umask,
        limits=options.limits,
    )


def _environment(service: Service, number: int) -> Environment:
    """Who wins is written in environment.py; here it is done, from the weakest to the strongest."""
    world, role = service.world, service.role
    environment = dict(world.environment)
    if "PYTHONUNBUFFERED" not in environment:
        put(environment, {"PYTHONUNBUFFERED": "1"}, "default")  # a line is seen when it is written, as under honcho
    if world.front and not is_set(environment, "WHALEFALL_URL"):
        put(environment, {"WHALEFALL_URL": public_url(world)}, "default")  # their own PORT is not what people type
    if service.secret:
        put(environment, {"SECRET_KEY": service.secret}, "generated")
    if world.app and not is_set(environment, "WHALEFALL_APP"):
        put(environment, {"WHALEFALL_APP": world.app}, f"{world.options.path}: app")
    put(environment, privileges.home_of(world.options.of(role.name).user), world.options.where(role.name, "user"))
    put(environment, world.options.of(role.name).env, world.options.where(role.name, "env"))
    put(environment, role.line.assignments, role.process.where)
    if role.app:
        put(environment, {"WHALEFALL_APP": role.app}, role.process.where)
    put(environment, _by_role(service, number), "role")
    if roles.is_our_gunicorn(role, plain(environment)):
        socket = world.run_dir / f"{role.name}.{number}.gunicorn.ctl"
        put(environment, {"GUNICORN_CMD_ARGS": roles.gunicorn_cmd_args(role, plain(environment), socket)}, "role")
    return environment


def public_url(world: World) -> str:
    """What people type: localhost for a wildcard, no port where it is the usual one."""
    if world.settings.public_url:
        return world.settings.public_url
    settings = world.settings
    host = "localhost" if settings.host in ("0.0.0.0", "::", "127.0.0.1", "::1") else settings.host  # noqa: S104
    scheme, port, usual = ("https", settings.tls_port, 443) if settings.tls_certificate else ("http", settings.port, 80)
    return f"{scheme}://{f'[{host}]' if ':' in host else host}{'' if port == usual else f':{port}'}"


def _by_role(service: Service, number: int) -> dict[str, str]:
    """What nobody may change."""
    world, role = service.world, service.role
    values = {
        "PS": f"{role.name}.{number}",
        "PORT": str(service.port(number)),
        "ENABLE_SCHEDULER": roles.enable_scheduler(role),
        "RUN_DIR": str(world.run_dir),
        "DATA_DIR": str(world.data_dir),
    }
    if world.settings.log_dir:
        values["LOG_DIR"] = world.absolute(world.settings.log_dir)
    if service.is_our_gunicorn:
        # setproctitle(3) must not write over /proc/PID/environ: the supervisor knows a service's processes by it.
        values["SPT_NOENV"] = "1"
        if role.role == "scheduler" and _is_logged_by_nginx(service):
            values[LOGGED_BY] = "nginx"
    if service.forwards:
        if world.settings.scheduler_listen.startswith("unix:"):
            raise ConfigError("SCHEDULER_LISTEN: without Nginx it must be host:port. Change it, or install nginx.")
        values["WHALEFALL_DIRECT"] = f"http://{service.layout.upstreams['scheduler'][0]}"
    return values


def _is_logged_by_nginx(service: Service) -> bool:
    """Our Nginx writes a line for each request, nobody has switched off its lines, and from afar all come by it."""
    world, front = service.world, service.world.running("nginx")
    if front is None or front.name != world.front or world.options.of(front.name).log == "none":
        return False
    return all(service.layout.address(name).startswith(_OF_THIS_MACHINE) for name in service.held)


def _argv(service: Service, environ: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(argv, notes)."""
    world, role = service.world, service.role
    if not role.ours:
        return _plain_argv(service, environ)
    if role.role == "nginx":
        return nginx.command(world.nginx_binary, service.nginx_configuration), ()
    kind: Literal["web", "scheduler"] = "web" if role.role == "web" else "scheduler"
    app = roles.DIRECT_APP if service.forwards else role.app or world.app or roles.BUILT_IN_APP
    argv = roles.gunicorn_argv(kind, app, service.layout.address(service.held[0]), service.grace_s)
    return (*argv, *_development_words(service)), ()


def _development_words(service: Service) -> tuple[str, ...]:
    """What makes a Gunicorn load changed code; nothing in `serve`."""
    if not service.world.request.development:
        return ()
    return dev.gunicorn_words(ours=service.is_our_gunicorn, attached=service.is_attached)


def _plain_argv(service: Service, environ: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    role, home = service.role, service.world.request.home
    argv, notes = roles.plain_argv(role, home)
    if role.line.argv and roles.is_our_gunicorn(role, environ):
        argv = (*argv, *_development_words(service))
    if role.line.program == "nginx" and "/" not in argv[0]:
        argv = (nginx.find(argv[0], environ.get("PATH", "")) or argv[0], *argv[1:])
    if roles.program_missing(argv, environ, home):
        raise ConfigError(
            f"{role.process.where}: there is no program '{argv[0]}' on PATH. Install it, or mend its name."
        )
    module = roles.python_module(role, environ)
    if missing := module and applications.missing_module(module, home, environ):
        raise ConfigError(
            f"{role.process.where}: there is no module '{missing}' in {home} or among the installed packages. "
            "Install it, or mend its name."
        )
    return argv, notes
