"""A TCP proxy on loopback that can break: cut every connection, or swallow everything for a while.

A hole is worse than a cut: nobody is told. Connections are accepted by the kernel, bytes are taken, nothing answers.
"""

import contextlib
import selectors
import socket
import struct
import threading
import time
from typing import Self

_CHUNK = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close(2) sends RST


class Proxy:
    """`with Proxy(port) as proxy: proxy.port`; one thread."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = int(self._listener.getsockname()[1])
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._peers: dict[socket.socket, socket.socket] = {}
        self._hole_until = 0.0
        self._cut_wanted = self._stopping = False
        self.cuts = self.holes = 0  # connections cut, holes made: that it was no calm day
        self._thread = threading.Thread(target=self._run, name="test-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._wake.send(b"x")
        self._thread.join(10)
        for end in [*self._peers, self._listener, self._wake, self._woken]:
            end.close()
        self._selector.close()

    def cut(self) -> None:
        """Resets every connection."""
        self._cut_wanted = True
        self._wake.send(b"x")

    def swallow(self, seconds: float) -> None:
        """Nothing goes through, and nobody is told, for so long."""
        self._hole_until = time.monotonic() + seconds
        self.holes += 1
        self._wake.send(b"x")

    def _run(self) -> None:
        while not self._stopping:
            hole_s = self._hole_until - time.monotonic()
            if hole_s > 0:
                self._woken.settimeout(hole_s)
                with contextlib.suppress(TimeoutError):
                    self._woken.recv(_CHUNK)
                self._woken.settimeout(None)
            else:
                self._forward()
            if self._cut_wanted:
                self._cut_all()

    def _forward(self) -> None:
        for key, _ in self._selector.select():
            end = key.fileobj
            assert isinstance(end, socket.socket)
            if end is self._woken:
                end.recv(_CHUNK)
            elif end is self._listener:
                self._accept()
            elif end in self._peers:  # its other end may have closed both in this turn
                self._pass_on(end)

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        try:
            far = socket.create_connection(self._target, 5)
        except OSError:
            near.close()  # as a server that is being restarted does
            return
        for one, other in ((near, far), (far, near)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._peers[one] = other
            self._selector.register(one, selectors.EVENT_READ)

    def _pass_on(self, end: socket.socket) -> None:
        try:
            data = end.recv(_CHUNK)
            if data:
                self._peers[end].sendall(data)
        except OSError:
            data = b""
        if not data:
            self._close(end)

    def _close(self, end: socket.socket) -> None:
        for one in (end, self._peers[end]):
            self._selector.unregister(one)
            self._peers.pop(one)
            one.close()

    def _cut_all(self) -> None:
        self._cut_wanted = False
        for end in list(self._peers):
            if end in self._peers:
                for one in (end, self._peers[end]):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._close(end)
                self.cuts += 1
