"""Who listens where: which sockets the supervisor holds, for whom, and at which addresses web and scheduler answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from whalefall.errors import ConfigError
from whalefall.plan import Listener
from whalefall.planner import activation, addresses, formation, nginx
from whalefall.planner.roles import Role
from whalefall.planner.world import World


@dataclass(frozen=True, slots=True)
class Layout:
    """`of` names each service's listeners, `upstreams` are addresses by role, `movers` say which setting moves one."""

    listeners: tuple[Listener, ...]
    of: Mapping[str, tuple[str, ...]]
    ports: Mapping[str, int]  # of each type's first instance
    upstreams: Mapping[str, tuple[str, ...]]
    movers: Mapping[str, str]

    def address(self, name: str) -> str:
        """Of the listener `name`."""
        return next(listener.address for listener in self.listeners if listener.name == name)


def lay_out(world: World) -> Layout:
    """Raises ConfigError when two would want the same port, or nobody is left to listen."""
    _check_front(world)
    ports = formation.base_ports([role.name for role in world.roles], world.settings.port, world.front)
    wanted = {role.name: _wanted(world, role) for role in world.running_roles()}
    listeners = [
        (Listener(name, address, nginx.BACKLOG), mover) for held in wanted.values() for name, address, mover in held
    ]
    addresses.check_distinct([(mover, listener.address) for listener, mover in listeners])
    upstreams = {}
    for word in ("web", "scheduler"):
        if role := world.running(word):
            upstreams[word] = _upstream(world, role, ports, [address for _, address, _ in wanted[role.name]])
    return Layout(
        listeners=activation.adopt([listener for listener, _ in listeners], world.request.environ),
        of={name: tuple(each for each, _, _ in held) for name, held in wanted.items()},
        ports=ports,
        upstreams=upstreams,
        movers={listener.name: mover for listener, mover in listeners},
    )


def _wanted(world: World, role: Role) -> list[tuple[str, str, str]]:
    """(name, address, what moves it) of each socket to hold for `role`."""
    settings = world.settings
    option, where = world.options.of(role.name).listen, world.options.where(role.name, "listen")
    if role.name == world.front:
        if option:
            raise ConfigError(f"{where}: '{role.name}' has the public port. Set HOST and PORT instead.")
        public = [("http", addresses.join(settings.host, settings.port), addresses.PORT)]
        secure = [("https", addresses.join(settings.host, settings.tls_port), addresses.TLS_PORT)]
        return public + (secure if settings.tls_certificate else [])
    if option:
        names = [role.name] if len(option) == 1 else [f"{role.name}-{at}" for at, _ in enumerate(option, start=1)]
        return [(name, addresses.numeric(address, where), where) for name, address in zip(names, option, strict=True)]
    if role.ours and role.role == "web":
        return [(role.name, addresses.numeric(settings.web_listen, "WEB_LISTEN"), "WEB_LISTEN")]
    if role.ours and role.role == "scheduler":
        return [(role.name, addresses.numeric(settings.scheduler_listen, "SCHEDULER_LISTEN"), "SCHEDULER_LISTEN")]
    return []


def _upstream(world: World, role: Role, ports: Mapping[str, int], held: Sequence[str]) -> tuple[str, ...]:
    """Where a web or scheduler answers: on what we hold for it, on $PORT if its command says so, else as set."""
    if held:
        return tuple(addresses.reachable(address) for address in held)
    if role.mentions_port:
        return tuple(f"127.0.0.1:{ports[role.name] + at}" for at in range(world.counts[role.name]))
    return (world.settings.web_listen if role.role == "web" else world.settings.scheduler_listen,)


def _check_front(world: World) -> None:
    settings = world.settings
    if not world.running_roles():
        raise ConfigError(f"{world.procfile}: no process is left to run. Give one a count above 0 by -c.")
    front = world.running("nginx")
    if settings.tls_certificate and world.direct:
        raise ConfigError(
            f"TLS_CERTIFICATE: TLS is Nginx's part, and {_without_nginx(world, front)}, or unset TLS_CERTIFICATE and "
            "TLS_KEY."
        )
    if front and front.ours and world.nginx_binary and world.running("web") is None:
        raise ConfigError(
            f"{front.process.where}: there is no 'web' for Nginx to pass requests to. "
            f"Add one, or remove '{front.name}'."
        )


def _without_nginx(world: World, front: Role | None) -> str:
    """Why nobody is in front, and what to do."""
    if front is not None:
        return "there is no nginx here. Install it (apt install nginx), name it by NGINX_BINARY"
    if idle := next((role for role in world.roles if role.role == "nginx"), None):
        return f"'{idle.name}' has no instance. Give it one (-c {idle.name}=1)"
    return f"{world.procfile} has no nginx process. Add the line `nginx: whalefall nginx` to it"
