"""THE STAGE: starts a contestant, hears its children say hello, and clears everything away."""

import contextlib
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.peers import Child, Peer

PATIENCE_S = 60.0
CLEAR_WITHIN_S = 2.0  # what does not stop by then is killed: nothing is measured any more
MEMORY = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it


@dataclass(slots=True)
class Stage:
    """A directory in memory, and a pipe on which each child says its name and pid as its first act."""

    directory: Path
    pipe: int
    process: subprocess.Popen[bytes] | None = None
    peer: Peer | None = None
    started: float = 0.0
    heard: dict[str, tuple[int, float]] = field(default_factory=dict)  # name: pid, when
    _rest: bytes = b""

    def start(self, peer: Peer, children: Sequence[Child], stdout: int = subprocess.DEVNULL) -> None:
        command = peer.prepare(self.directory, children)
        environ = {**os.environ, "RUN_DIR": str(self.directory / "run"), "DATA_DIR": str(self.directory / "var")}
        environ["PYTHONPATH"] = str(Path(__file__).parents[1])
        environ.update(peer.environ)
        self.peer = peer
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, cwd=self.directory, env=environ, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL
        )

    def hear(self, until: float) -> bool:
        """Takes in what the children say, until `until` at the latest; False when that was silence."""
        ready, _, _ = select.select([self.pipe], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return False
        now = time.monotonic()
        *lines, self._rest = (self._rest + os.read(self.pipe, 65_536)).split(b"\n")
        for line in lines:
            name, pid = line.decode().split()
            self.heard[name] = int(pid), now
        return True

    def until_all(self, names: Sequence[str]) -> float:
        """Seconds from the start until the last of them has said hello."""
        deadline = self.started + PATIENCE_S
        while not all(name in self.heard for name in names):
            if not self.hear(deadline):
                raise TimeoutError(f"{set(names) - set(self.heard)} never came up")
        return max(self.heard[name][1] for name in names) - self.started

    def until_again(self, name: str, old: int, patience_s: float) -> float | None:
        """Seconds from now until `name` says hello with another pid than `old`; None when it does not."""
        since = time.monotonic()
        while self.heard[name][0] == old:
            if not self.hear(since + patience_s) and time.monotonic() >= since + patience_s:
                return None
        return self.heard[name][1] - since

    def own_processes(self) -> list[psutil.Process]:
        """The contestant's own: what is not one of our children."""
        assert self.process is not None
        leader = psutil.Process(self.process.pid)
        if self.peer is not None and self.peer.wrapped:
            return leader.children()
        children = {pid for pid, _ in self.heard.values()}
        return [leader, *(each for each in leader.children(recursive=True) if each.pid not in children)]

    def stop(self) -> float:
        """Seconds from the wish until the contestant and all children have ended."""
        assert self.process is not None
        assert self.peer is not None
        since = time.monotonic()
        self.process.send_signal(self.peer.stop_signal)
        self._await_its_end()
        while any(running(pid) for pid, _ in self.heard.values()):
            if time.monotonic() > since + PATIENCE_S:
                raise TimeoutError("children are left")
            time.sleep(0.0005)
        return time.monotonic() - since

    def _await_its_end(self) -> None:
        """At once, where Popen.wait() with a timeout would look after 1, 3, 7, 15 and 31 ms."""
        assert self.process is not None
        ended = os.pidfd_open(self.process.pid)
        try:
            if not select.select([ended], [], [], PATIENCE_S)[0]:
                raise TimeoutError("the contestant does not end")
        finally:
            os.close(ended)


def running(pid: int) -> bool:
    """It is there, and no zombie that somebody else has not yet reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def stage() -> Iterator[Stage]:
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="wfb-", dir=memory))
    os.mkfifo(directory / "hello")
    pipe = os.open(directory / "hello", os.O_RDWR | os.O_NONBLOCK)
    place = Stage(directory, pipe)
    try:
        yield place
    finally:
        if place.process is not None:
            _clear(place)
        os.close(pipe)
        shutil.rmtree(directory, ignore_errors=True)


def _clear(place: Stage) -> None:
    """Ends the contestant and whatever it left of our children, each by its pid, parents first: they restart."""
    assert place.process is not None
    assert place.peer is not None
    tree: list[psutil.Process] = []
    if place.process.poll() is None:
        tree = psutil.Process(place.process.pid).children(recursive=True)
        place.process.send_signal(place.peer.stop_signal)
        try:
            place.process.wait(CLEAR_WITHIN_S)
        except subprocess.TimeoutExpired:
            tree += psutil.Process(place.process.pid).children(recursive=True)  # it may have started more meanwhile
            place.process.kill()
            place.process.wait(10)
    until = time.monotonic() + CLEAR_WITHIN_S
    while (left := [*tree, *_ours(place)]) and time.monotonic() < until:
        tree = []  # a shell may have started its next program between our look and its death: look again
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _ours(place: Stage) -> Iterator[psutil.Process]:
    """Whatever still has to do with our directory, whose name is nobody else's: helpers outlive a contestant, too."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(place.directory) in " ".join([process.cwd(), *process.cmdline()]):
                yield process


def idle_children(directory: Path, count: int) -> list[Child]:
    """Say hello, then sleep for ever."""
    return [Child(f"c{n}", f"echo c{n} $$ > {directory}/hello; exec sleep 1000000") for n in range(count)]
