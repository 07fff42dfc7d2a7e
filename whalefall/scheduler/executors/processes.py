"""A process for each run: can be killed, so it gives timeouts, memory limits, and cancelling that works.

One thread here watches over one process. The process is a session of its own, so that whatever it starts is ended with
it; and it dies with the thread that watches it.
"""

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from whalefall.scheduler.clocks import elapsed_s, name_this_thread
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.executors.order import order_for
from whalefall.scheduler.ledger.records import ClaimedRun, Ending
from whalefall.scheduler.performing import ending_of
from whalefall.scheduler.running import Roster, RunContext

_BEGIN_S = 120.0  # to start Python and import the application; the job's own limit counts from its first line
_DUMP_S = 0.5  # for the process to print where it is, before it is asked to end
_TERM_S = 5.0  # between SIGTERM and SIGKILL
_LOOK_S = 0.1  # how soon a request to end is seen
_CHUNK = 65_536  # bytes read at a time
_LINE_MAX = 200_000  # bytes of one report; a traceback fits


class Recorder(Protocol):
    """Takes endings; the scribe does."""

    def finish(self, ending: Ending) -> None: ...


class ProcessExecutor:
    """Up to `processes` runs at a time."""

    name = "process"

    def __init__(self, processes: int, roster: Roster, recorder: Recorder, app_ref: Callable[[], str]) -> None:
        self._processes, self._roster, self._recorder, self._app_ref = processes, roster, recorder, app_ref
        self._lock = threading.Condition()
        self._busy = 0
        self._closed = False

    def free(self) -> int:
        with self._lock:
            return 0 if self._closed else self._processes - self._busy

    def start(self, claimed: ClaimedRun) -> None:
        with self._lock:
            self._busy += 1
        context = RunContext(claimed)
        context.begun.set()
        self._roster.add(context)
        threading.Thread(target=self._watch, args=(context,), name="wf-run-process", daemon=True).start()

    def cancel(self, run_id: str) -> None:
        """The watching thread looks at the run's context ten times a second."""

    def close(self) -> None:
        with self._lock:
            self._closed = True

    def wait_for_ended(self, timeout_s: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self._busy == 0, timeout_s)

    def _watch(self, context: RunContext) -> None:
        name_this_thread("wf-run-process")
        try:
            ending = _Watch(context, self._app_ref()).until_it_ends()
        except Exception as error:  # noqa: BLE001 - a process that cannot be started is a failed run, not a dead thread
            ending = ending_of(context, RunState.FAILED, f"the run's process could not be watched: {error!r}\n")
        finally:
            with self._lock:
                self._busy -= 1
                self._lock.notify_all()
        if context.fenced.is_set():
            self._roster.remove(context.run_id)  # how it ended is no longer ours to say
        else:
            self._recorder.finish(ending)


class _Watch:
    """One process, from its start to its end."""

    def __init__(self, context: RunContext, app_ref: str) -> None:
        self._context = context
        self._report_r, report_w = os.pipe()
        try:
            self._process = _spawn(report_w)
            self._give_order(app_ref, report_w)
        finally:
            os.close(report_w)
        self._deadline_s: float | None = elapsed_s() + _BEGIN_S
        self._begun = False
        self._timed_out = False
        self._kill_at_s: float | None = None
        self._term_at_s: float | None = None
        self._report = b""
        self._ended: tuple[RunState, str] | None = None

    def until_it_ends(self) -> Ending:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - asked for in _spawn
        with selectors.DefaultSelector() as selector, stdout:
            selector.register(stdout, selectors.EVENT_READ)
            selector.register(self._report_r, selectors.EVENT_READ)
            while self._process.poll() is None or selector.get_map():
                self._press()
                ready = selector.select(_LOOK_S)
                for key, _ in ready:
                    chunk = os.read(key.fd, _CHUNK)
                    if not chunk:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is stdout:
                        self._context.output.write(chunk.decode(errors="replace"))
                    else:
                        self._take_reports(chunk)
                if not ready and self._process.poll() is not None:
                    break  # something it started holds the pipe open; the run has ended all the same
        os.close(self._report_r)
        self._end_the_rest()
        return self._ending()

    def _give_order(self, app_ref: str, report_w: int) -> None:
        order = order_for(self._context.claimed, app_ref=app_ref, report_fd=report_w, parent_pid=os.getpid())
        assert self._process.stdin is not None  # noqa: S101 - asked for in _spawn
        with self._process.stdin as stdin:
            stdin.write(order.to_json())

    def _press(self) -> None:
        """Asks the process to end when it is time: where it is, SIGTERM, SIGKILL."""
        now_s = elapsed_s()
        if self._deadline_s is not None and now_s > self._deadline_s and not self._timed_out:
            self._timed_out = True
            if self._begun:  # before that, the process does not know the signal yet
                self._signal(signal.SIGUSR1)
            self._term_at_s = now_s + _DUMP_S
        if self._context.fenced.is_set():
            self._signal(signal.SIGKILL)  # somebody else owns the run: every further step here is one too many
        elif self._context.cancelled.is_set() and self._term_at_s is None:
            self._term_at_s = now_s
        if self._term_at_s is not None and now_s >= self._term_at_s and self._kill_at_s is None:
            self._signal(signal.SIGTERM)
            self._kill_at_s = now_s + _TERM_S
        if self._kill_at_s is not None and now_s > self._kill_at_s:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            target = os.killpg if number == signal.SIGKILL else os.kill
            target(self._process.pid, number)

    def _end_the_rest(self) -> None:
        """Whatever the run's process has started belongs to the run."""
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def _take_reports(self, chunk: bytes) -> None:
        self._report = (self._report + chunk)[-_LINE_MAX:]
        *lines, self._report = self._report.split(b"\n")
        for line in lines:
            try:
                report = json.loads(line)
            except ValueError:
                continue  # cut off at its beginning
            if "begun" in report:
                timeout_s = self._context.claimed.policies.timeout_s
                self._begun = True
                self._deadline_s = elapsed_s() + timeout_s if timeout_s is not None else None
            elif "ended" in report:
                self._ended = (RunState(report["ended"]), report["error"])
            else:
                self._context.progress, self._context.progress_text = report["progress"], report["text"]

    def _ending(self) -> Ending:
        if self._timed_out:
            limit_s = self._context.claimed.policies.timeout_s if self._begun else None
            why = (
                f"ended after its limit of {limit_s:g} s" if limit_s else f"its process did not begin in {_BEGIN_S:g} s"
            )
            return ending_of(self._context, RunState.TIMED_OUT, f"{self._ended[1] if self._ended else ''}{why}\n")
        if self._ended is not None:
            return ending_of(self._context, *self._ended)
        if self._context.cancelled.is_set():
            return ending_of(self._context, RunState.CANCELLED)
        return ending_of(self._context, RunState.FAILED, f"{_how(self._process.returncode)}\n")


def _spawn(report_w: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "whalefall.scheduler.executors.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=(report_w,),
        start_new_session=True,
        # The role is the parent's: what the app does when it is imported must not start a second scheduler.
        # And it finds its modules where the parent finds them.
        env={
            **os.environ,
            "ENABLE_SCHEDULER": "false",
            "PYTHONUNBUFFERED": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        },
    )


def _how(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        hint = "; the kernel does that when memory runs out" if -status == signal.SIGKILL else ""
        return f"the run's process was killed by signal {-status} ({name}){hint}"
    return f"the run's process ended with exit code {status} and did not say how the run went"
