"""What a scheduler has begun, written down before it begins: so that a successor knows what it had only claimed.

Quick runs are claimed ahead of free threads, because ten thousand of them cannot be claimed ten at a time. When the
process is killed, the ledger says of all these that they run. A line written here with one write(2) before a job's
first line costs two microseconds and survives the process, though not the machine: so a journal counts only within
the boot in which it was written. Without one, what was claimed may have begun.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import quote, unquote

Attempt = tuple[str, int]  # run_id, attempt

_LINES_MAX = 10_000  # then those that have ended are left out: half a megabyte


class Journal:
    """Of this process. Safe from many threads."""

    def __init__(self, directory: Path, holder: str, still: Callable[[], Iterable[Attempt]]) -> None:
        """`still` answers what has begun and has not ended."""
        self._path, self._still = _path(directory, holder), still
        self._lock = threading.Lock()
        self._file: int | None = None
        self._lines = 0

    def open(self) -> None:
        """Before the first claim. On a file system that takes no file nothing is lost but the knowledge."""
        with self._lock, contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._start_anew([])

    def note(self, attempt: Attempt) -> None:
        """Before the job's first line."""
        with self._lock:
            if self._file is None:
                return
            try:
                self._write(self._file, _line(attempt))
                self._lines += 1
                if self._lines > _LINES_MAX:
                    self._start_anew([*self._still(), attempt])
            except OSError:  # a full disk: from now on nothing is known
                self._give_up()

    def close(self) -> None:
        """Nothing that was claimed here is left."""
        with self._lock:
            self._give_up()

    def _start_anew(self, attempts: list[Attempt]) -> None:
        fresh = self._path.with_name(f".{self._path.name}")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._write(file, _boot() + b"".join(_line(attempt) for attempt in attempts))
        fresh.replace(self._path)
        if self._file is not None:
            os.close(self._file)
        self._file, self._lines = file, len(attempts)

    @staticmethod
    def _write(file: int, text: bytes) -> None:
        if os.write(file, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _give_up(self) -> None:
        self._path.unlink(missing_ok=True)
        if self._file is not None:
            os.close(self._file)
            self._file = None


def holders(directory: Path) -> Iterator[str]:
    """Whose journals are here."""
    for path in sorted(directory.glob("*.begun")):
        if not path.name.startswith("."):
            yield unquote(path.name.removesuffix(".begun"))


def begun_by(directory: Path, holder: str) -> frozenset[Attempt] | None:
    """What `holder` had begun; None when that is not known."""
    try:
        text = _path(directory, holder).read_bytes()
    except OSError:
        return None
    boot, *lines = text.split(b"\n")
    if boot + b"\n" != _boot() or len(boot) < 8:  # without a name of the boot nothing is certain
        return None
    parts = (line.decode(errors="replace").split() for line in lines)
    return frozenset((words[0], int(words[1])) for words in parts if len(words) == 2)


def forget(directory: Path, holder: str) -> None:
    """Nothing that `holder` had claimed is left."""
    _path(directory, holder).unlink(missing_ok=True)


def _path(directory: Path, holder: str) -> Path:
    return directory / f"{quote(holder, safe='')}.begun"


def _line(attempt: Attempt) -> bytes:
    return f"{attempt[0]} {attempt[1]}\n".encode()


def _boot() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes().strip() + b"\n"
    except OSError:
        return b"?\n"
