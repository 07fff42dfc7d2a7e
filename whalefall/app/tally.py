"""Numbers that only grow, counted by many processes and lost with none of them: what /metrics sums up.

Each process counts in a file of its own, which it holds by a lock and has mapped into its memory: to count is no system
call, and kill -9 undoes nothing. The kernel gives the lock of a dead process back, and the next process counts on in
its file. So there are never more files than there were processes at one time, none has to be cleared away, and no sum
goes down as long as the directory lives.

A file is a header, the number of bytes in use, and records: the length of a key, the key as JSON, padding, the value.
"""

import fcntl
import json
import logging
import math
import mmap
import os
import struct
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

Key = tuple[str, ...]

SHEETS_MAX = 4_096  # processes that count at one time; more of them count for themselves
_SUFFIX = ".tally"
_HEADER = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")
_VALUE = struct.Struct("<d")
_ALIGN = 8  # a value that lies so is written whole: who reads sees the old one or the new one
_FIRST_BYTES = 1 << 16
_BYTES_MAX = 1 << 26  # of one file: half a million series
_log = logging.getLogger("whalefall.metrics")


class Tally:
    """What this process counts, and what all have counted. Safe from many threads, and in the child of a fork."""

    def __init__(self, directory: Path | None) -> None:
        """Opens nothing yet. Without a directory it counts for this process alone."""
        self._directory = directory
        self._sheet: _Sheet | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget_sheet)  # it is the parent's, and so may the lock be

    def add(self, amounts: Mapping[Key, float]) -> None:
        """Adds to each. Never raises: what finds no room in the file is counted in memory."""
        with self._lock:
            sheet = self._sheet = self._sheet or self._take_sheet()
            for key, amount in amounts.items():
                sheet.add(key, amount)

    def totals(self) -> dict[Key, float]:
        """Of all processes, dead ones too."""
        found: defaultdict[Key, float] = defaultdict(float)
        for path in self._directory.glob(f"*{_SUFFIX}") if self._directory is not None else ():
            try:
                content = path.read_bytes()
            except OSError as error:
                _log.warning("%s cannot be read, so its counts are missing: %s", path, error.strerror)
                continue
            for key, value, _ in _records(content):
                found[key] += value
        with self._lock:
            for key, value in self._sheet.unwritten.items() if self._sheet is not None else ():
                found[key] += value
        return dict(found)

    def _forget_sheet(self) -> None:
        self._lock = threading.Lock()
        self._sheet = None  # its descriptor is closed with it, which frees no lock of the parent's

    def _take_sheet(self) -> "_Sheet":
        if self._directory is None:
            return _Sheet(None)
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            return _Sheet(_take_file(self._directory))
        except OSError as error:
            _log.warning(
                "RUN_DIR: nothing can be written in %s (%s), so /metrics will lack what this process counts",
                self._directory,
                error.strerror,
            )
            return _Sheet(None)


class _Sheet:
    """What one process counts. Not thread-safe: the tally is."""

    def __init__(self, descriptor: int | None) -> None:
        """Goes on where the file's last owner stopped. Raises OSError."""
        self.unwritten: dict[Key, float] = {}
        self._descriptor, self._map, self._used = descriptor, mmap.mmap(-1, _HEADER.size), _HEADER.size
        self._is_full = descriptor is None
        self._values: dict[Key, float] = {}
        self._places: dict[Key, int] = {}
        if descriptor is None:
            return
        self._reserve(descriptor, max(os.fstat(descriptor).st_size, _FIRST_BYTES))
        for key, value, place in _records(self._map[:]):
            self._values[key], self._places[key] = value, place
            self._used = place + _VALUE.size
        self._map[: _HEADER.size] = _HEADER.pack(self._used)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def add(self, key: Key, amount: float) -> None:
        place = self._places.get(key) or self._new_place(key)
        if place is None:
            self.unwritten[key] = self.unwritten.get(key, 0.0) + amount
            return
        value = self._values[key] = self._values.get(key, 0.0) + amount
        self._map[place : place + _VALUE.size] = _VALUE.pack(value)

    def _new_place(self, key: Key) -> int | None:
        """None where there is no room. The header comes last: what it does not cover is nobody's."""
        if self._is_full or self._descriptor is None:
            return None
        record = _record(key)
        end = self._used + len(record)
        if end > len(self._map):
            try:
                self._reserve(self._descriptor, 2 * len(self._map))
            except OSError as error:
                _log.warning("RUN_DIR: /metrics will lack the series that come new from now on: %s", error.strerror)
                self._is_full = True
                return None
        self._map[self._used : end] = record
        self._used = end
        self._map[: _HEADER.size] = _HEADER.pack(end)
        self._places[key] = end - _VALUE.size
        return self._places[key]

    def _reserve(self, descriptor: int, size: int) -> None:
        """Space on the disk first: a page that is written and finds none would end the process by SIGBUS."""
        if size > _BYTES_MAX:
            raise OSError(0, f"more than {_BYTES_MAX} bytes of series")
        os.posix_fallocate(descriptor, 0, size)
        self._map = mmap.mmap(descriptor, size)


def _take_file(directory: Path) -> int:
    """The first that nobody holds, made if need be. Raises OSError."""
    for number in range(SHEETS_MAX):
        path = directory / f"{number}{_SUFFIX}"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return descriptor
    raise OSError(0, f"{SHEETS_MAX} processes count there already")


def _record(key: Key) -> bytes:
    text = json.dumps(key).encode()
    return _LENGTH.pack(len(text)) + text + bytes(-(_LENGTH.size + len(text)) % _ALIGN) + _VALUE.pack(0.0)


def _records(content: bytes) -> Iterator[tuple[Key, float, int]]:
    """Key, value and the value's place. Ends where it makes no sense: after a power cut anything may stand there."""
    used = min(_HEADER.unpack_from(content)[0], len(content)) if len(content) >= _HEADER.size else 0
    start = _HEADER.size
    while start + _LENGTH.size <= used:
        (length,) = _LENGTH.unpack_from(content, start)
        text = content[start + _LENGTH.size : start + _LENGTH.size + length]
        place = start + _LENGTH.size + length
        place += -place % _ALIGN
        if place + _VALUE.size > used:
            return
        try:
            key = tuple(json.loads(text))
        except (ValueError, TypeError):
            return
        (value,) = _VALUE.unpack_from(content, place)
        yield key, value if math.isfinite(value) and value >= 0 else 0.0, place
        start = place + _VALUE.size
