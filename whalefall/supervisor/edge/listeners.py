"""Listening sockets: bound once, before any child starts, and held for as long as the supervisor lives."""

import contextlib
import errno
import fcntl
import os
import socket
import stat

from whalefall.errors import ConfigError
from whalefall.plan import Listener

_UNIX = "unix:"


def bind(listener: Listener) -> socket.socket:
    """A listening socket for `listener`. Raises ConfigError that says what is in the way."""
    try:
        if listener.descriptor is not None:
            return _adopt(listener.descriptor)
        if listener.address.startswith(_UNIX):
            return _bind_unix(listener)
        return _bind_tcp(listener)
    except OSError as error:
        raise ConfigError(_sentence(listener, error)) from None
    except (ValueError, OverflowError) as error:  # a port beyond 65535, a host that is no address
        raise ConfigError(f"cannot listen on {listener.address} ({listener.name}): {error}.") from None


def parse(address: str) -> tuple[socket.AddressFamily, str | tuple[str, int]]:
    """`host:port`, `[v6]:port` or `unix:/path` as socket(7) wants it."""
    if address.startswith(_UNIX):
        return socket.AF_UNIX, address.removeprefix(_UNIX)
    host, _, port = address.rpartition(":")
    if host.startswith("["):
        return socket.AF_INET6, (host.strip("[]"), int(port))
    return socket.AF_INET, (host, int(port))


def _adopt(descriptor: int) -> socket.socket:
    """Another's socket: bound, listening, and still there after us. A copy, so that ours can be closed and taken again.

    Only the number is kept, not the state: the path of a unix socket is its owner's to remove.
    """
    return socket.socket(fileno=fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 0))


def _bind_tcp(listener: Listener) -> socket.socket:
    family, target = parse(listener.address)
    bound = socket.socket(family, socket.SOCK_STREAM)
    with _closed_on_error(bound):
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(target)
        bound.listen(listener.backlog)
    return bound


def _bind_unix(listener: Listener) -> socket.socket:
    path = listener.address.removeprefix(_UNIX)
    remove_stale(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with _closed_on_error(bound):
        bound.bind(path)
        os.chmod(path, 0o600)
        bound.listen(listener.backlog)
    return bound


def remove_stale(path: str) -> None:
    """Remove a socket file that nobody answers on. Raises OSError(EADDRINUSE) when somebody does."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket is in the way")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)
            # Non-blocking connect(2) on a unix socket: refused when nobody listens, EAGAIN when a queue is full.
            outcome = probe.connect_ex(path)
        if outcome != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, "somebody answers there")
        os.unlink(path)


@contextlib.contextmanager
def _closed_on_error(bound: socket.socket):  # type: ignore[no-untyped-def]  # contextlib's type costs importing typing
    try:
        yield
    except OSError:
        bound.close()
        raise


def _sentence(listener: Listener, error: OSError) -> str:
    where = f"cannot listen on {listener.address} ({listener.name})"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another process has it. Stop that one, or choose another port with --port."
    if error.errno == errno.EACCES:
        return f"{where}: not permitted. Ports below 1024 need root; choose another with --port."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address. Check HOST, WEB_LISTEN and SCHEDULER_LISTEN."
    return f"{where}: {error.strerror}."
