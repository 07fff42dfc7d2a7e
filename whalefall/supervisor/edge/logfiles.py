"""Log files by instance, with a bound on each: `LOG_DIR/web.1.log`, then `.1` to `.5`, oldest last.

Writing to a file never waits, but it can fail. A full disk or a directory that has gone is told once, costs the lines
of that time and nothing else; the file says how many were lost as soon as it can be written again.
"""

import contextlib
import os

from whalefall.plan.records import field, mutable

FILE_BYTES_MAX = 10_485_760  # 10 MiB
FILES_KEPT = 5


@mutable
class _Log:
    descriptor: int
    size: int


@mutable
class LogFiles:
    directory: str
    bytes_max: int = FILE_BYTES_MAX
    open: dict[str, _Log] = field(factory=dict)
    lost: dict[str, int] = field(factory=dict)

    def write(self, name: str, lines: bytes) -> str:
        """Whole lines. The complaint to tell, "" when all is well or it was told already."""
        try:
            log = self._log(name)
        except OSError as error:
            return self._lose(name, lines, error)
        told = f"whalefall: {self.lost[name]} lines could not be written\n".encode() if name in self.lost else b""
        written, stopped_by = _append(log.descriptor, told + lines)
        log.size += written
        if told and written >= len(told):
            self.lost[name] = 0
        if stopped_by is not None:
            return self._lose(name, lines[max(0, written - len(told)) :], stopped_by)
        self.lost.pop(name, None)
        if log.size >= self.bytes_max:
            self._rotate(name)
        return ""

    def _lose(self, name: str, lines: bytes, error: OSError) -> str:
        known = name in self.lost
        self.lost[name] = self.lost.get(name, 0) + lines.count(b"\n")
        self._close(name)
        return "" if known else f"cannot write {self._path(name)}: {error.strerror}; its lines are lost until it can"

    def reopen(self) -> None:
        """SIGUSR1: somebody else (logrotate) has moved the files."""
        for name in list(self.open):
            self._close(name)

    def _log(self, name: str) -> _Log:
        if name not in self.open:
            os.makedirs(self.directory, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path(name), flags, 0o640)
            self.open[name] = _Log(descriptor, os.fstat(descriptor).st_size)
        return self.open[name]

    def _rotate(self, name: str) -> None:
        self._close(name)
        path = self._path(name)
        with contextlib.suppress(OSError):  # the next write tells
            for number in range(FILES_KEPT - 1, 0, -1):
                if os.path.exists(f"{path}.{number}"):
                    os.replace(f"{path}.{number}", f"{path}.{number + 1}")
            os.replace(path, f"{path}.1")

    def _close(self, name: str) -> None:
        log = self.open.pop(name, None)
        if log is not None:
            os.close(log.descriptor)

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, f"{name}.log")


def _append(descriptor: int, lines: bytes) -> tuple[int, OSError | None]:
    """(bytes written, what stopped it): a disk that is full in the middle of a line keeps whole lines only."""
    done = 0
    try:
        while done < len(lines):
            done += os.write(descriptor, lines[done:])
    except OSError as error:
        whole = lines.rfind(b"\n", 0, done) + 1
        if whole < done:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - (done - whole))
        return whole, error
    return done, None
