"""The small parent of one run's process: takes its output and reports, keeps its limits, and knows how it ended.

Run by its path, standard library only: 12 MB and 20 ms beside the application's process. It exists so that a run needs
no scheduler while it runs: what it learns it writes into the run's directory, where whichever scheduler lives reads
it. Under a supervisor it detaches itself from the scheduler that started it, and dies with the supervisor; elsewhere
it dies with that scheduler. Its process dies with it.

    minder.py DIRECTORY LOCK PARENT        LOCK: a descriptor whose lock says that we live; PARENT: 0 detaches

SIGTERM asks the run to end.
"""

import codecs
import contextlib
import ctypes
import json
import os
import runpy
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_DUMP_S = 0.5  # for the process to print where it is, before it is asked to end
_TERM_S = 5.0  # between SIGTERM and SIGKILL
_TELL_S = 0.1  # what has changed is written this often
_LAST_WORDS_S = 0.3  # for what is still in the pipes when the process has ended; a stranger may hold them open
_CHUNK = 65_536  # bytes read at a time
_LINE_MAX = 200_000  # bytes of one report; a traceback fits
_CHILD = "whalefall.scheduler.executors.child"

# The package that the class lives in would bring Flask and SQLAlchemy along.
_Output = runpy.run_path(str(Path(__file__).parents[1] / "output.py"))["Output"]


class Minder:
    """One process, from its start to its end."""

    def __init__(self, directory: Path, order: dict[str, Any]) -> None:
        self._directory, self._order = directory, order
        self._state: dict[str, Any] = {"minder": os.getpid(), "asked": False, "timed_out": False}
        self._write("state.json", json.dumps(self._state).encode())  # or no process: without it nothing has begun
        self._output, self._decoder = _Output(), codecs.getincrementaldecoder("utf-8")("replace")
        self._report = b""
        self._untold: set[str] = set()
        self._told_s = 0.0
        self._deadline_s: float | None = _elapsed_s() + order["begin_s"]
        self._term_at_s: float | None = None
        self._kill_at_s: float | None = None
        self._wake_r, wake_w = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: self._ask())
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake us
        self._report_r, report_w = os.pipe()
        self._process = _spawn(directory, report_w)
        os.close(report_w)
        self._state["child"] = self._process.pid
        self._untold.add("state")

    def until_it_ends(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - asked for in _spawn
        with selectors.DefaultSelector() as selector:
            for source in (stdout.fileno(), self._report_r):
                os.set_blocking(source, False)
                selector.register(source, selectors.EVENT_READ)
            selector.register(self._wake_r, selectors.EVENT_READ)
            while not self._has_ended():
                self._tell()
                self._take(selector, self._until_next_s())
                self._press()
            self._kill_group()  # whatever the run's process has started belongs to the run
            until_s = _elapsed_s() + _LAST_WORDS_S
            while len(selector.get_map()) > 1 and _elapsed_s() < until_s:
                self._take(selector, 0.05)
        self._state |= {"status": self._process.wait(), "ended_s": _elapsed_s()}
        self._tell_output()
        self._tell_state()

    def _ask(self) -> None:
        self._state["asked"] = True
        if self._term_at_s is None:
            self._term_at_s = _elapsed_s()

    def _has_ended(self) -> bool:
        """Looks without reaping, so that the pid, which is its group's name, stays its own until the group is gone."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None

    def _take(self, selector: selectors.BaseSelector, timeout_s: float | None) -> None:
        for key, _ in selector.select(timeout_s):
            with contextlib.suppress(BlockingIOError):
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fd == self._report_r:
                    self._take_reports(chunk)
                elif key.fd != self._wake_r:
                    self._output.write(self._decoder.decode(chunk))
                    self._untold.add("output")

    def _take_reports(self, chunk: bytes) -> None:
        self._report = (self._report + chunk)[-_LINE_MAX:]
        *lines, self._report = self._report.split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):  # cut off at its beginning
                self._take_report(json.loads(line))

    def _take_report(self, report: dict[str, Any]) -> None:
        self._untold.add("state")
        if "begun" in report:
            timeout_s = self._order["timeout_s"]
            self._state["begun_s"] = _elapsed_s()
            self._deadline_s = None if timeout_s is None else _elapsed_s() + timeout_s
        elif "ended" in report:
            self._state["ended"] = [report["ended"], report["error"]]
        else:
            self._state |= {"progress": report["progress"], "text": report["text"]}

    def _press(self) -> None:
        """Asks the process to end when it is time: where it is, SIGTERM, SIGKILL."""
        now_s = _elapsed_s()
        if self._deadline_s is not None and now_s >= self._deadline_s:
            self._deadline_s, self._state["timed_out"] = None, True
            if "begun_s" in self._state:  # before that, the process does not know the signal yet
                self._signal(signal.SIGUSR1)
            if self._term_at_s is None:
                self._term_at_s = now_s + _DUMP_S
        if self._term_at_s is not None and now_s >= self._term_at_s and self._kill_at_s is None:
            self._signal(signal.SIGTERM)
            self._kill_at_s = now_s + _TERM_S
        if self._kill_at_s is not None and now_s >= self._kill_at_s:
            self._kill_group()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _until_next_s(self) -> float | None:
        moments = [self._deadline_s, self._term_at_s if self._kill_at_s is None else self._kill_at_s]
        if self._untold:
            moments.append(self._told_s + _TELL_S)
        nearest_s = min((moment for moment in moments if moment is not None), default=None)
        return None if nearest_s is None else max(nearest_s - _elapsed_s(), 0.01)

    def _tell(self) -> None:
        if not self._untold or _elapsed_s() < self._told_s + _TELL_S:
            return
        if "output" in self._untold:
            self._tell_output()
        if "state" in self._untold:
            self._tell_state()
        self._untold.clear()
        self._told_s = _elapsed_s()

    def _tell_state(self) -> None:
        with contextlib.suppress(OSError):  # a full disk must not end the run
            self._write("state.json", json.dumps(self._state).encode())

    def _tell_output(self) -> None:
        with contextlib.suppress(OSError):
            self._write("output", self._output.text().encode("utf-8", "replace"))

    def _write(self, name: str, content: bytes) -> None:
        """The whole file or the old one."""
        fresh = self._directory / f".{name}"
        fresh.write_bytes(content)
        fresh.replace(self._directory / name)


def _spawn(directory: Path, report_w: int) -> "subprocess.Popen[bytes]":
    with (directory / "order.json").open("rb") as order:
        return subprocess.Popen(
            [sys.executable, "-m", _CHILD, str(report_w), str(os.getpid())],
            stdin=order,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=(report_w,),
            start_new_session=True,
        )


def _elapsed_s() -> float:
    """As the scheduler counts: goes on while the host sleeps, and is the same in every process."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _detach() -> int:
    """From the scheduler's session, group and parentage: who adopts orphans becomes our parent. Answers its pid."""
    starter = os.getpid()
    if os.fork():
        os._exit(0)
    os.setsid()
    while os.getppid() == starter:  # it is between its exit and our adoption
        time.sleep(0.001)
    return os.getppid()


def _die_with(parent: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before we could ask the kernel
        os._exit(1)


def main() -> int:
    directory, lock, parent = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _die_with(parent or _detach())
    os.set_inheritable(lock, False)
    order = json.loads((directory / "order.json").read_bytes())
    Minder(directory, order).until_it_ends()
    return 0


if __name__ == "__main__":
    sys.exit(main())
