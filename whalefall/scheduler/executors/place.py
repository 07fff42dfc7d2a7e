"""Where the process of a run and whoever watches it meet: a directory for each attempt, that outlives schedulers.

    order.json   what to do; written by the scheduler before anything else
    lock         locked as long as the run's minder lives: the kernel's word, which no reused pid can fake
    state.json   the minder's: how far the run is, how it ended; before it exists, nothing has begun
    output       the minder's: what the run has printed

Files are replaced as a whole, so whoever reads sees the old one or the new one. Nothing is synced to the disk: it must
survive our processes, not the machine, for no process survives that.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from whalefall.scheduler.executors.order import Order

_MINDER = Path(__file__).with_name("minder.py")
_SUPERVISED = "WHALEFALL_SUPERVISOR"  # in the environment of all that a supervisor starts
_LIFE = "WHALEFALL_LIFE"  # the supervisor's tag: what it says belongs together, and ends together
# What is meant for the scheduler alone.
_NOT_FOR_RUNS = ("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "NGINX", "GUNICORN_FD", "GUNICORN_PID")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a minder has told, or nothing yet."""

    minder: int | None = None
    child: int | None = None
    asked: bool = False  # it got SIGTERM
    timed_out: bool = False
    begun_s: float | None = None
    progress: float | None = None
    text: str = ""
    ended: tuple[str, str] | None = None  # state and traceback, as the run's process said
    status: int | None = None  # how the process ended; negative: by this signal
    ended_s: float | None = None

    @classmethod
    def of(cls, text: bytes) -> Self:
        told: dict[str, Any] = json.loads(text)
        if told.get("ended") is not None:
            told["ended"] = tuple(told["ended"])
        return cls(**told)


class Place:
    """The directory of one attempt."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run_id, _, number = directory.name.rpartition(".")
        self.attempt = int(number)
        self._output_seen: tuple[int, int] | None = None

    @property
    def key(self) -> tuple[str, int]:
        return self.run_id, self.attempt

    @property
    def detaches(self) -> bool:
        """Under a supervisor, who ends everything in time; elsewhere a run may not outlive its scheduler."""
        return bool(os.environ.get(_SUPERVISED))

    def prepare(self, order: Order) -> None:
        """Makes it, with the order in it."""
        self.directory.mkdir(mode=0o700)
        fresh = self.directory / ".order.json"
        fresh.write_bytes(order.to_json())
        fresh.replace(self.directory / "order.json")

    def start(self, order: Order) -> "subprocess.Popen[bytes]":
        """The minder; if it detaches, the process that lets go of it. Raises OSError; then nothing runs."""
        parent = 0 if self.detaches else os.getpid()
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return subprocess.Popen(
                [
                    sys.executable,
                    *("-I", "-S", str(_MINDER), str(self.directory), str(lock), str(parent)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(lock,),  # and nothing else: not the scheduler's lock, no listening socket
                start_new_session=True,
                env=_environment(order),
            )
        finally:
            os.close(lock)  # the minder has it, and holds it to its end

    def is_alive(self) -> bool:
        """Whether a minder lives. When it does not, what `condition` says is the last word."""
        try:
            lock = os.open(self.directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def condition(self) -> Condition | None:
        """None: nothing has begun."""
        try:
            return Condition.of((self.directory / "state.json").read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # the machine stopped between the name and the content, or another release
            return Condition()

    def new_output(self) -> str | None:
        """All of it, when there is more than at the last look."""
        path = self.directory / "output"
        try:
            now = path.stat()
            seen = (now.st_ino, now.st_mtime_ns)
            if seen == self._output_seen:
                return None
            text = path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
        self._output_seen = seen
        return text

    def ask_to_end(self) -> bool:
        """False: there is nobody yet, or no more, to ask."""
        condition = self.condition()
        if condition is None or condition.minder is None or condition.status is not None or not self.is_alive():
            return False
        return _send(condition.minder, signal.SIGTERM)

    def kill(self) -> None:
        """The process with its group, and its minder."""
        condition = self.condition()
        if condition is None or condition.status is not None or not self.is_alive():
            return
        if condition.child is not None:  # not reaped before the minder says so: the pid is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(condition.child, signal.SIGKILL)
        if condition.minder is not None:
            _send(condition.minder, signal.SIGKILL)

    def discard(self) -> None:
        """Out of sight at once, then gone: its name may be needed again."""
        gone = self.directory.with_name(f".gone-{self.directory.name}-{os.urandom(4).hex()}")
        with contextlib.suppress(OSError):
            self.directory.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


class Places:
    """The attempts of one ledger on this host."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def in_private(cls, root: Path) -> "Places":
        """In `root` if it is, or can be made, a directory of ours; else in one that nobody else will find."""
        with contextlib.suppress(OSError):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if all(_is_private(directory) for directory in (root, *root.parents[:2])):
                return cls(root)
        return cls(Path(tempfile.mkdtemp(prefix="whalefall-runs-")))

    def of(self, run_id: str, attempt: int) -> Place:
        return Place(self.root / f"{run_id}.{attempt}")

    def __iter__(self) -> Iterator[Place]:
        """Those that exist."""
        for path in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if not path.name.startswith(".") and path.name.rpartition(".")[2].isdigit():
                yield Place(path)


def _is_private(directory: Path) -> bool:
    """Of us, and nobody else can put anything there."""
    found = directory.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return ours and os.access(directory, os.W_OK | os.X_OK)


def _send(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _environment(order: Order) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_RUNS}
    return {
        **inherited,
        # The role is the scheduler's: what the app does when it is imported must not start a second one.
        "ENABLE_SCHEDULER": "false",
        "PYTHONUNBUFFERED": "1",
        # The process finds its modules where the scheduler finds them.
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        _LIFE: f"run#{order.run_id}",
    }
