"""The control socket as a source: requests in, replies out, nothing else. Mode 0600 in a 0700 directory.

Whoever may connect is asked for again by SO_PEERCRED: only our own user and root are heard. A connection that sends
nonsense, too much, or does not read its answer is told so once and closed; it can never block or fill us.
"""

import contextlib
import os
import selectors
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any

from whalefall.control.protocol import (
    REPLY_BYTES_MAX,
    REQUEST_BYTES_MAX,
    SOCKET_NAME,
    Reply,
    Request,
    decode_request,
    encode_reply,
)
from whalefall.errors import ConfigError, ControlError
from whalefall.plan.records import field, mutable
from whalefall.supervisor.edge import files
from whalefall.supervisor.edge.listeners import remove_stale
from whalefall.supervisor.edge.output import Follower

_CONNECTIONS_MAX = 64  # a person, a page and a few scripts; more is an error somewhere
_FOLLOWER_BYTES_MAX = 1_048_576  # lines that wait for somebody who follows; the rest is counted
_PEERCRED = struct.Struct("3i")  # pid, uid, gid: unix(7)

LISTENER_KEY = ("control", "")


@mutable
class Connection(Follower):
    """One peer. `streaming` names what it follows; "" answers one request and closes."""

    socket: socket.socket
    received: bytes = b""
    outgoing: bytearray = field(factory=bytearray)  # grows and shrinks at its ends without being copied
    answered: bool = False
    streaming: str = ""
    wanted: frozenset[str] = frozenset()
    missed: int = 0  # lines, while it did not read

    def hear(self, name: str, lines: bytes) -> None:
        if self.streaming != "logs" or name not in self.wanted:
            return
        if len(self.outgoing) >= _FOLLOWER_BYTES_MAX:
            self.missed += lines.count(b"\n")
            return
        if self.missed:
            text = f"{self.missed} lines were dropped because this reader was stuck"
            self.answer({"name": "whalefall", "text": text})
            self.missed = 0
        for line in lines[:-1].split(b"\n"):
            self.answer({"name": name, "text": line.decode(errors="replace")})

    def answer(self, data: Any) -> None:
        self._queue(Reply(ok=True, data=data))

    def refuse(self, sentence: str) -> None:
        self._queue(Reply(ok=False, error=sentence))

    def _queue(self, reply: Reply) -> None:
        if len(self.outgoing) < REPLY_BYTES_MAX:  # a follower who does not read loses lines, not our memory
            self.outgoing += encode_reply(reply)


@mutable
class Control:
    """`handle` is called with each good request and the connection to answer on."""

    selector: selectors.BaseSelector
    handle: Callable[[Request, Connection], None]
    listener: socket.socket | None = None
    path: str = ""
    connections: dict[int, Connection] = field(factory=dict)
    closed: list[Callable[[Connection], None]] = field(factory=list)  # who else knows a connection

    def listen(self, run_dir: str) -> None:
        """Raises ConfigError when another whalefall answers there."""
        path = f"{run_dir}/{SOCKET_NAME}"
        try:
            remove_stale(path)
        except OSError as error:
            raise ConfigError(f"cannot use {path}: {error.strerror}. Is another whalefall running here?") from None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            self.listener.bind(path)
        except OSError as error:
            raise ConfigError(f"cannot make the control socket {path}: {error.strerror}. Set RUN_DIR.") from None
        finally:
            os.umask(before)
        self.listener.listen(_CONNECTIONS_MAX)
        self.path = path
        self.selector.register(self.listener, selectors.EVENT_READ, LISTENER_KEY)

    def followers(self) -> Iterable[Connection]:
        return [connection for connection in self.connections.values() if connection.streaming]

    def accept(self) -> None:
        assert self.listener is not None  # noqa: S101 - registered only when listening
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            peer, _ = self.listener.accept()
            peer.setblocking(False)
            _, uid, _ = _PEERCRED.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
            if uid not in (0, os.geteuid()) or len(self.connections) >= _CONNECTIONS_MAX:
                peer.close()
                return
            self.connections[peer.fileno()] = Connection(peer)
            self.selector.register(peer, selectors.EVENT_READ, ("connection", peer.fileno()))

    def proceed(self, number: int) -> None:
        """The selector's callback for one connection."""
        connection = self.connections.get(number)
        if connection is None:
            return
        try:
            self._receive(connection)
            self.flush(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)
        except Exception:
            self._close(connection)  # or the end of the turn would meet a connection that the loop has given up
            raise

    def flush_all(self) -> None:
        """Send what has been queued for anybody since the last turn."""
        for connection in [c for c in self.connections.values() if c.outgoing]:
            try:
                self.flush(connection)
            except OSError:
                self._close(connection)

    def flush(self, connection: Connection) -> None:
        with contextlib.suppress(BlockingIOError):
            while connection.outgoing:
                del connection.outgoing[: connection.socket.send(connection.outgoing)]
        if connection.answered and not connection.streaming and not connection.outgoing:
            self._close(connection)
            return
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.outgoing else 0)
        self.selector.modify(connection.socket, mask, ("connection", connection.socket.fileno()))

    def close(self) -> None:
        """Last words out, everything closed, the socket file removed."""
        self.flush_all()
        for connection in list(self.connections.values()):
            self._close(connection)
        if self.listener is not None:
            self.listener.close()
            files.remove(self.path)

    def _receive(self, connection: Connection) -> None:
        chunk = connection.socket.recv(REQUEST_BYTES_MAX)
        if not chunk:
            raise ConnectionResetError
        if connection.answered:  # one request a connection; whatever else comes is not read
            return
        connection.received += chunk
        line, newline, _ = connection.received.partition(b"\n")
        if not newline and len(connection.received) <= REQUEST_BYTES_MAX:
            return
        connection.answered = True
        try:
            self.handle(decode_request(line), connection)
        except ControlError as error:
            connection.refuse(str(error))

    def _close(self, connection: Connection) -> None:
        number = connection.socket.fileno()
        self.connections.pop(number, None)
        for forget in self.closed:
            forget(connection)
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(connection.socket)
        connection.socket.close()
