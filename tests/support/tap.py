"""A pipe that the test holds: somebody's standard output, read into a file for as long as the test wants it read."""

import array
import fcntl
import os
import termios
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_CHUNK_BYTES = 1_048_576


class Tap:
    """Give `write` to a process as its output. `hold()` is a reader that is stuck, `let_go()` one that comes back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.read, self.write = os.pipe()
        self.flowing = threading.Event()
        self.flowing.set()
        self.thread = threading.Thread(target=self._pump)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """The end of the output: whoever has the other end must be gone."""
        self.close_ours()
        self.let_go()
        self.thread.join(30)
        os.close(self.read)

    def close_ours(self) -> None:
        """After the process has started: from now on the pipe ends with it."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def hold(self) -> None:
        """Nothing is read any more."""
        self.flowing.clear()

    def let_go(self) -> None:
        self.flowing.set()

    @property
    def waiting_bytes(self) -> int:
        """In the pipe, not read."""
        size = array.array("i", [0])
        fcntl.ioctl(self.read, termios.FIONREAD, size)
        return size[0]

    def _pump(self) -> None:
        with self.path.open("ab", buffering=0) as file:
            while self.flowing.wait() and (chunk := os.read(self.read, _CHUNK_BYTES)):
                file.write(chunk)
