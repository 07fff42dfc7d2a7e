"""What befalls a database: each trouble is made, and ended, as it happens to people; real disks, real servers.

`begin` may come while the site runs, or between two of its lives.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.support.postgres import PostgresServer


class Trouble(Protocol):
    """One kind, for one test."""

    told: str  # what people are told of it: a part of the sentence
    readable: bool  # whether the ledger can still be read meanwhile

    environ: dict[str, str]  # of a site whose ledger this is

    def begin(self) -> None:
        """From now on the ledger cannot be written."""

    def end(self) -> None:
        """As an operator mends it: nothing is said to the site."""


class Locked:
    """Another process holds the file's write lock, as a backup or a forgotten shell does."""

    told, readable = "another process holds the SQLite file's write lock", True

    def __init__(self, directory: Path) -> None:
        self._file = directory / "ledger.db"
        self.environ = {"DATABASE_URL": f"sqlite:///{self._file}"}

    def begin(self) -> None:
        self._other = sqlite3.connect(self._file, isolation_level=None, timeout=30)
        self._other.execute("BEGIN EXCLUSIVE")

    def end(self) -> None:
        self._other.close()


class FullDisk:
    """A small disk, and somebody fills it."""

    told, readable = "the disk is full", True

    def __init__(self, disk: Path) -> None:
        self._ballast = disk / "ballast"
        self.environ = {"DATA_DIR": str(disk)}

    def begin(self) -> None:
        with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(os.urandom(4096)):
                pass

    def end(self) -> None:
        self._ballast.unlink()


class ReadOnlyDisk:
    """The kernel finds an error on the disk and refuses all writes, open files included; it is repaired and mounted."""

    told, readable = "read-only", True

    def __init__(self, directory: Path) -> None:
        self._image, self._disk = directory / "image", directory / "disk"
        self._disk.mkdir()
        with self._image.open("wb") as file:
            file.truncate(24 * 1024 * 1024)
        _run("mkfs.ext4", "-q", "-F", "-e", "remount-ro", self._image)
        _run("mount", "-o", "loop", self._image, self._disk)
        self.environ = {"DATA_DIR": str(self._disk)}

    def begin(self) -> None:
        if subprocess.run(["mount", "-o", "remount,ro", self._disk], capture_output=True, check=False).returncode:
            # Files are open for writing: only the kernel itself may do it now, and does when it meets an error.
            device = subprocess.check_output(["findmnt", "-no", "SOURCE", self._disk], text=True).strip()
            Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("a test\n")
        else:
            self.readable = False  # SQLite cannot make the files beside it that readers share

    def end(self) -> None:
        if subprocess.run(["mount", "-o", "remount,rw", self._disk], capture_output=True, check=False).returncode:
            repaired = self._image.with_name("repaired")
            shutil.copyfile(self._image, repaired)
            self.close()
            subprocess.run(["e2fsck", "-fy", repaired], capture_output=True, check=False)  # 1: it has mended something
            _run("mount", "-o", "loop", repaired, self._disk)

    def close(self) -> None:
        _run("umount", "-l", self._disk)


class Damaged:
    """Bytes of the file are overwritten; a copy from before is put in its place."""

    told, readable = "restore it from a backup", False

    def __init__(self, directory: Path) -> None:
        self._backup = directory / "backup.db"
        self._file = directory / "ledger.db"
        self.environ = {"DATABASE_URL": f"sqlite:///{self._file}"}

    def begin(self) -> None:
        with contextlib.closing(sqlite3.connect(self._file, isolation_level=None, timeout=30)) as lock:
            lock.execute("BEGIN IMMEDIATE")  # nothing is recorded after the backup and before the damage
            backup, there = sqlite3.connect(self._backup), sqlite3.connect(self._file)
            with contextlib.closing(backup), contextlib.closing(there):
                there.backup(backup)
            for file in self._file.parent.glob("ledger.db*"):
                size = file.stat().st_size
                with file.open("r+b") as opened:
                    opened.write(b"\xa5" * size)

    def end(self) -> None:
        for name in ("ledger.db-wal", "ledger.db-shm"):
            self._file.with_name(name).unlink(missing_ok=True)
        self._backup.replace(self._file)


class Stopped:
    """The server is stopped, and started again."""

    told, readable = "does not answer", False

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.environ = {"DATABASE_URL": server.new_database()}

    def begin(self) -> None:
        self._server.stop()

    def end(self) -> None:
        self._server.start()


class InRecovery:
    """A failover that is half done: what answers at the address is a standby, and it is promoted later."""

    told, readable = "in recovery", True

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        self.environ = {"DATABASE_URL": server.new_database()}

    def begin(self) -> None:
        self._server.become_standby()

    def end(self) -> None:
        self._server.promote()


def small_disk(directory: Path) -> Path:
    """A file system of 4 MiB in memory."""
    disk = directory / "disk"
    disk.mkdir()
    _run("mount", "-t", "tmpfs", "-o", "size=4m", "none", disk)
    return disk


@contextlib.contextmanager
def mounted(disk: Path) -> Iterator[Path]:
    """Unmounts in the end, whoever still has it open."""
    try:
        yield disk
    finally:
        _run("umount", "-l", disk)


def _run(*words: str | Path) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    if done.returncode and words[0] != "umount":
        pytest.skip(f"{words[0]} is not allowed here: {done.stderr.strip()}")
    assert not done.returncode, done.stderr
