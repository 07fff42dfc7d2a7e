"""Gunicorn's response with the head and the first bytes of the body in one send.

Gunicorn sends the head by itself. A worker that is killed between the two sends leaves Nginx with half an answer, and
what has begun cannot be asked again from another worker. In one send, a small answer is there as a whole or not at all.
PEP 3333 wants it so anyway: no head before the first bytes of the body.
"""

import socket
from typing import Any

from gunicorn.http import wsgi


class WholeResponse(wsgi.Response):  # type: ignore[misc]  # gunicorn ships no types
    """Takes Gunicorn's place for every request of this worker; see `use`."""

    def __init__(self, req: Any, sock: socket.socket, cfg: Any) -> None:
        super().__init__(req, _HeldHead(sock), cfg)

    def close(self) -> None:
        """The end of the body; for an answer without one, the moment of its head."""
        super().close()
        self.sock.release()


class _HeldHead:
    """The part of a socket that Response uses; the first thing that is sent waits for the second."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._held, self._released = sock, b"", False

    def sendall(self, data: bytes) -> None:
        if not self._held and not self._released:
            self._held = data
            return
        self._released, whole, self._held = True, self._held + data, b""
        self._sock.sendall(whole)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        self.release()
        return self._sock.sendfile(file, offset=offset, count=count)

    def release(self) -> None:
        if self._held:
            self.sendall(b"")


def use() -> None:
    """In a worker, before its first request."""
    wsgi.Response = WholeResponse
