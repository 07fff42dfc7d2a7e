"""Which address is meant, is it free, and who has it? `host:port`, `[v6]:port` or `unix:/path`, as in the Plan."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from whalefall.errors import ConfigError
from whalefall.plan import Listener
from whalefall.planner import places

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - compared, not bound

PORT, TLS_PORT = "--port or PORT", "TLS_PORT"  # what moves the public listeners
_HOSTS = {PORT: "HOST", TLS_PORT: "HOST"}  # of these the address is another setting


def join(host: str, port: int) -> str:
    """`0.0.0.0:5000`, `[::]:5000`; a name becomes its first number, because Nginx matches sockets by number."""
    return numeric(f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}", "HOST")


def numeric(address: str, variable: str) -> str:
    """The same address with a number for a host name. Raises ConfigError that names `variable` for an unknown name."""
    if address.startswith("unix:"):
        return address
    host, _, port = address.rpartition(":")
    try:
        family, _, _, _, found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError):
        raise ConfigError(
            f"{variable}: the host '{host}' is unknown. Write an address, as 0.0.0.0 or 127.0.0.1."
        ) from None
    return f"[{found[0]}]:{port}" if family == socket.AF_INET6 else f"{found[0]}:{port}"


def reachable(address: str) -> str:
    """Where to ask for what listens there: loopback for a wildcard."""
    host, _, port = address.rpartition(":")
    return f"{_EVERYWHERE[host]}:{port}" if host in _EVERYWHERE else address


def port_of(address: str) -> int:
    """0 for a unix socket."""
    return 0 if address.startswith("unix:") else int(address.rpartition(":")[2])


def check_distinct(named: Sequence[tuple[str, str]]) -> None:
    """`named` is (variable, address). Raises ConfigError when two of them cannot be bound together."""
    for at, (variable, address) in enumerate(named):
        for other, earlier in named[:at]:
            if _clash(address, earlier):
                raise ConfigError(
                    f"{variable} ({address}) and {other} ({earlier}) want the same port. Change one of them."
                )


def check_free(listeners: Sequence[Listener], variables: dict[str, str]) -> None:
    """Binds each and lets go. Raises ConfigError that names who has it; `variables` says which setting moves it."""
    for listener in listeners:
        if listener.descriptor is not None:  # bound already, for us
            continue
        mend = variables.get(listener.name, "its address")
        if listener.address.startswith("unix:"):
            _check_unix(listener.address, mend)
            continue
        try:
            with contextlib.closing(_bound(listener.address)):
                pass
        except OSError as error:
            raise ConfigError(why(listener.address, error, mend)) from None


def owners(port: int) -> Iterator[str]:
    """Who listens on it, as far as we may see: `nginx (pid 12)`."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                with contextlib.suppress(psutil.Error):
                    yield f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"


def _bound(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host.strip("[]"), int(port)))
        bound.listen(1)  # two sockets may share a bound address by SO_REUSEADDR; only listening settles it
    except BaseException:
        bound.close()
        raise
    return bound


def why(address: str, error: OSError, mend: str) -> str:
    """The sentence for an address that cannot be bound; `mend` is the setting that moves it, as `--port or PORT`."""
    host, _, port = address.rpartition(":")
    match error.errno:
        case errno.EADDRINUSE:
            who = next(owners(int(port)), "another program")
            return f"port {port} is taken by {who}. Stop that, or choose another by {mend}."
        case errno.EACCES:
            return f"port {port} needs root or CAP_NET_BIND_SERVICE. Choose another by {mend}."
        case errno.EADDRNOTAVAIL:
            return f"this machine has no address {host}. Check {_HOSTS.get(mend, mend)}."
        case _:
            return f"{address} cannot be listened on ({error.strerror}). Choose another by {mend}."


def _check_unix(address: str, mend: str) -> None:
    path = Path(address.removeprefix("unix:"))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{path} cannot be made: {path.parent} is missing or not ours to write. Change {mend}.")
    if places.exists(path) and not path.is_socket():
        raise ConfigError(f"{path} is there and is no socket. Remove it, or change {mend}.")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        with contextlib.suppress(OSError):
            probe.connect(str(path))
            raise ConfigError(f"{path} is in use by another program. Stop that, or change {mend}.")


def _clash(one: str, other: str) -> bool:
    if one.startswith("unix:") or other.startswith("unix:"):
        return one == other
    (host, _, port), (host2, _, port2) = one.rpartition(":"), other.rpartition(":")
    return port == port2 and (host == host2 or host in _EVERYWHERE or host2 in _EVERYWHERE)
