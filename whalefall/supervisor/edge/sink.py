"""Our standard output, written without ever waiting for its reader.

A slow reader is felt as `full`, and the children's pipes are then left unread: they carry the back-pressure. A reader
that takes nothing for STUCK_AFTER_S must not stop the site: what is queued is dropped and counted, and the count is
told as soon as the reader comes back.
"""

import contextlib
import errno
import os
import selectors
import socket
import stat
from collections import deque

from whalefall.plan.records import field, mutable

STUCK_AFTER_S = 2.0
QUEUE_BYTES_HIGH = 262_144  # from here on children wait
QUEUE_BYTES_LOW = 65_536  # from here on they are read again

KEY = ("sink", "")


@mutable
class Sink:
    fd: int
    selector: selectors.BaseSelector
    queue: deque[bytes] = field(factory=deque)
    size: int = 0
    progress_at: float = 0.0
    stuck: bool = False
    dropped_lines: int = 0
    dropped_because: str = ""
    can_wait: bool = False
    registered: bool = False
    as_socket: socket.socket | None = None

    @classmethod
    def on(cls, fd: int, selector: selectors.BaseSelector) -> "Sink":
        """A sink on the descriptor `fd`."""
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode):
            return cls(fd, selector, can_wait=True, as_socket=socket.socket(fileno=os.dup(fd)))
        if stat.S_ISFIFO(mode) or os.isatty(fd):
            return cls(_reopened(fd), selector, can_wait=True)
        return cls(fd, selector)  # a file never makes us wait

    @property
    def full(self) -> bool:
        return self.size >= QUEUE_BYTES_HIGH and not self.stuck

    @property
    def has_room(self) -> bool:
        return self.size <= QUEUE_BYTES_LOW or self.stuck

    def next_deadline(self) -> float | None:
        return self.progress_at + STUCK_AFTER_S if self.queue and not self.stuck else None

    def put(self, lines: bytes, now: float) -> None:
        if self.stuck:
            self.dropped_lines += lines.count(b"\n")
            return
        if not self.queue:
            self.progress_at = now
        self.queue.append(lines)
        self.size += len(lines)
        if len(self.queue) == 1:
            self.flush(now)

    def flush(self, now: float) -> None:
        """Write what the reader takes; the rest waits for the selector."""
        if self.stuck:
            self._wake_up()
        while self.queue:
            try:
                written = self._write(self.queue[0])
            except BlockingIOError:
                break
            except OSError as error:
                self._lose_all(_REASONS.get(error.errno or 0, error.strerror or "an error"))
                break
            self.progress_at = now
            self.size -= written
            if written == len(self.queue[0]):
                self.queue.popleft()
            else:
                self.queue[0] = self.queue[0][written:]
        self._watch()

    def time_has_come(self, now: float) -> None:
        """Nothing has moved for STUCK_AFTER_S: stop waiting for the reader."""
        if self.queue and not self.stuck and now >= self.progress_at + STUCK_AFTER_S:
            self._lose_all("the reader of our output was stuck")
            self.stuck = True
            self._watch()

    def _wake_up(self) -> None:
        self.stuck = False
        text = f"\nwhalefall | {self.dropped_lines} lines were dropped because {self.dropped_because}\n".encode()
        self.queue.append(text)
        self.size += len(text)
        self.dropped_lines = 0

    def _lose_all(self, reason: str) -> None:
        self.dropped_lines += sum(lines.count(b"\n") for lines in self.queue)
        self.dropped_because = reason
        self.queue.clear()
        self.size = 0

    def _write(self, lines: bytes) -> int:
        if self.as_socket is not None:
            return self.as_socket.send(lines, socket.MSG_DONTWAIT)
        return os.write(self.fd, lines)

    def _watch(self) -> None:
        wanted = self.can_wait and (bool(self.queue) or self.stuck)
        if wanted and not self.registered:
            self.selector.register(self.fd, selectors.EVENT_WRITE, KEY)
        elif self.registered and not wanted:
            self.selector.unregister(self.fd)
        self.registered = wanted


_REASONS = {
    errno.ENOSPC: "the disk was full",
    errno.EPIPE: "nobody reads our output any more",
    errno.EIO: "the terminal is gone",
}


def _reopened(fd: int) -> int:
    """The same pipe or terminal, non-blocking for us alone: O_NONBLOCK on the shared one would surprise the shell."""
    with contextlib.suppress(OSError):
        return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    os.set_blocking(fd, False)
    return fd
