"""sd_notify(3) in both directions: datagrams to the service manager above us, datagrams from the services below us."""

import array
import contextlib
import os
import socket
import struct
from collections.abc import Iterator

from whalefall.supervisor.edge import files

_MESSAGE_BYTES_MAX = 4_096  # sd_notify(3) messages are a few short lines
_MESSAGES_MAX = 64  # at a time: whoever floods us shall not keep us from everything else
_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: unix(7)


class Upward:
    """Tells the manager that started us. Without NOTIFY_SOCKET it does nothing."""

    def __init__(self, address: str) -> None:
        self.address = f"\0{address[1:]}" if address.startswith("@") else address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if address else None

    def tell(self, *lines: str) -> None:
        """A manager that is gone or busy is no reason to stop or to wait."""
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.sendto("\n".join(lines).encode(), self.address)


class Mailbox:
    """Where services say READY=1; the kernel vouches for the sender's pid."""

    def __init__(self, path: str) -> None:
        self.path = path
        files.remove(path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.socket.bind(path)
        os.chmod(path, 0o600)

    def take(self) -> Iterator[tuple[int, list[str]]]:
        """(sender's pid, lines) of what has come; descriptors that somebody sends along are closed at once."""
        space = socket.CMSG_SPACE(_CREDENTIALS.size) + socket.CMSG_SPACE(64 * array.array("i").itemsize)
        with contextlib.suppress(BlockingIOError):
            for _ in range(_MESSAGES_MAX):
                data, ancillary, _, _ = self.socket.recvmsg(_MESSAGE_BYTES_MAX, space)
                pid = 0
                for _, kind, content in ancillary:
                    if kind == socket.SCM_CREDENTIALS:
                        pid = _CREDENTIALS.unpack(content[: _CREDENTIALS.size])[0]
                    elif kind == socket.SCM_RIGHTS:
                        _close_all(content)
                if pid:
                    yield pid, data.decode(errors="replace").splitlines()

    def close(self) -> None:
        self.socket.close()
        files.remove(self.path)


def _close_all(content: bytes) -> None:
    descriptors = array.array("i")
    descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    for descriptor in descriptors:
        os.close(descriptor)
