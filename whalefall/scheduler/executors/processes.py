"""A process for each run: can be killed, so it gives timeouts, memory limits, and cancelling that works.

The run belongs to its minder (minder.py), which outlives this scheduler where a supervisor watches over both. One
thread here watches each run through the run's directory: what it says goes to the ledger, a wish to end it goes to the
minder. So a run that another scheduler started is watched like one of our own.
"""

import signal
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from whalefall.scheduler.clocks import elapsed_s, name_this_thread
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.executors.order import order_for
from whalefall.scheduler.executors.place import Condition, Place, Places
from whalefall.scheduler.ledger.records import ClaimedRun, Ending
from whalefall.scheduler.performing import ending_of
from whalefall.scheduler.running import Roster, RunContext

_BEGIN_S = 120.0  # to start Python and import the application; the job's own limit counts from its first line
_LOOK_S = 0.1  # how soon an end, or a request to end, is seen
_LATE_S = 2.0  # an end that is seen later than this after it happened is recorded with its own time


class Recorder(Protocol):
    """Takes endings; the scribe does."""

    def finish(self, ending: Ending) -> None: ...


class ProcessExecutor:
    """Up to `processes` runs at a time; those that are inherited come on top."""

    name = "process"

    def __init__(
        self,
        processes: int,
        roster: Roster,
        recorder: Recorder,
        places: Places,
        *,
        app_ref: Callable[[], str],
        note_begun: Callable[[tuple[str, int]], None],
        give_up: Callable[[RunContext, str], None],
    ) -> None:
        """`note_begun` is told before a process starts; `give_up` of a run that vanished without a word, and why."""
        self._processes, self._roster, self._recorder, self._places = processes, roster, recorder, places
        self._app_ref, self._note_begun, self._give_up = app_ref, note_begun, give_up
        self._lock = threading.Condition()
        self._watched: set[tuple[str, int]] = set()
        self._closed = False
        self._leaving = threading.Event()

    def free(self) -> int:
        with self._lock:
            return 0 if self._closed else self._processes - len(self._watched)

    def start(self, claimed: ClaimedRun) -> None:
        self._begin_to_watch(RunContext(claimed), self._start_and_watch)

    def inherit(self, claimed: ClaimedRun) -> None:
        """Goes on watching what another scheduler started."""
        self._begin_to_watch(RunContext(claimed), self._watch)

    def watches(self, key: tuple[str, int]) -> bool:
        with self._lock:
            return key in self._watched

    def cancel(self, run_id: str) -> None:
        """The watching thread looks at the run's context ten times a second."""

    def close(self) -> None:
        with self._lock:
            self._closed = True

    def leave_to_the_next(self) -> list[str]:
        """Stops watching without ending anything; the runs that somebody else may inherit."""
        self._leaving.set()
        with self._lock:
            left = [run_id for run_id, _ in self._watched]
        self.wait_for_ended(_LOOK_S * 10)
        return left

    def wait_for_ended(self, timeout_s: float) -> None:
        with self._lock:
            self._lock.wait_for(lambda: not self._watched, timeout_s)

    def _begin_to_watch(self, context: RunContext, watch: Callable[[RunContext, Place], None]) -> None:
        run = context.claimed.run
        place = self._places.of(run.run_id, run.attempt)
        context.begun.set()
        context.settled = place.discard
        with self._lock:
            self._watched.add(place.key)
        self._roster.add(context)
        threading.Thread(target=self._guarded, args=(watch, context, place), name="wf-run-process", daemon=True).start()

    def _guarded(self, watch: Callable[[RunContext, Place], None], context: RunContext, place: Place) -> None:
        name_this_thread("wf-run-process")
        try:
            watch(context, place)
        except Exception as error:  # noqa: BLE001 - a process that cannot be started is a failed run, not a dead thread
            place.kill()
            why = f"the run's process could not be watched: {error!r}\n"
            self._recorder.finish(ending_of(context, RunState.FAILED, why))
        finally:
            with self._lock:
                self._watched.discard(place.key)
                self._lock.notify_all()

    def _start_and_watch(self, context: RunContext, place: Place) -> None:
        order = order_for(context.claimed, app_ref=self._app_ref(), begin_s=_BEGIN_S)
        place.prepare(order)
        self._note_begun(place.key)  # after the directory: who finds neither knows that nothing began
        process = place.start(order)
        if place.detaches:
            process.wait()  # it has let go of the minder
            self._watch(context, place)
        else:
            self._watch(context, place, process)

    def _watch(self, context: RunContext, place: Place, process: "subprocess.Popen[bytes] | None" = None) -> None:
        condition = _Watch(context, place, self._leaving).until_it_ends()
        if context.inherited.is_set():
            self._roster.release(context.key)
        if process is not None:
            process.wait()
        if context.inherited.is_set():
            return
        if self._leaving.is_set() and (condition is None or condition.status is None):
            self._roster.release(context.key)
        elif context.fenced.is_set():
            if not context.cut_off.is_set():  # else the stop names it, and gives it back
                self._roster.remove(context.key)  # how it ended is no longer ours to say
        else:
            self._conclude(context, condition)

    def _conclude(self, context: RunContext, condition: Condition | None) -> None:
        ending = None if condition is None else ending_told(context, condition)
        if ending is not None:
            self._recorder.finish(ending)
        elif not context.cut_off.is_set():
            self._give_up(context, _why_without_an_ending(condition))


class _Watch:
    """One run, as its directory shows it, until there is no minder any more."""

    def __init__(self, context: RunContext, place: Place, leaving: threading.Event) -> None:
        self._context, self._place, self._leaving = context, place, leaving
        self._asked = False

    def until_it_ends(self) -> Condition | None:
        while True:
            alive = self._place.is_alive()  # first this: what is read of a dead one is its last word
            condition = self._look()
            if not alive or (condition is not None and condition.status is not None):
                return condition
            if self._leaving.wait(_LOOK_S) or self._context.inherited.is_set():
                return condition
            self._press()

    def _look(self) -> Condition | None:
        output = self._place.new_output()
        if output is not None:
            self._context.output.replace(output)
        condition = self._place.condition()
        if condition is not None:
            self._context.started_s = condition.begun_s
            self._context.progress, self._context.progress_text = condition.progress, condition.text
        return condition

    def _press(self) -> None:
        if self._context.fenced.is_set():
            self._place.kill()  # somebody else owns the run: every further step here is one too many
        elif not self._asked and (self._context.cancelled.is_set() or self._context.cut_off.is_set()):
            self._asked = self._place.ask_to_end()


def ending_told(context: RunContext, condition: Condition) -> Ending | None:
    """What a minder's last word means; None if the run was cut off without anybody's wish, or nobody knows."""
    ending = _ending_told(context, condition)
    if ending is None or condition.ended_s is None or elapsed_s() - condition.ended_s < _LATE_S:
        return ending
    return replace(ending, ended_s=condition.ended_s)


def _ending_told(context: RunContext, condition: Condition) -> Ending | None:
    state, error = condition.ended or (None, "")
    if condition.timed_out:
        return ending_of(context, RunState.TIMED_OUT, f"{error}{_limit(context, condition)}\n")
    if state is not None and state != RunState.CANCELLED:
        return ending_of(context, RunState(state), error)
    if context.cancelled.is_set():
        return ending_of(context, RunState.CANCELLED)
    if condition.asked or condition.status is None:
        return None
    if state is not None:
        return ending_of(context, RunState.CANCELLED)
    return ending_of(context, RunState.FAILED, f"{_how(condition.status)}\n")


def _limit(context: RunContext, condition: Condition) -> str:
    limit_s = context.claimed.policies.timeout_s if condition.begun_s is not None else None
    return f"ended after its limit of {limit_s:g} s" if limit_s else f"its process did not begin in {_BEGIN_S:g} s"


def _why_without_an_ending(condition: Condition | None) -> str:
    if condition is not None and condition.status is not None:
        return "its process was told to stop while no scheduler watched over it"
    return "its process vanished, and whoever minded it"


def _how(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name
        hint = "; the kernel does that when memory runs out" if -status == signal.SIGKILL else ""
        return f"the run's process was killed by signal {-status} ({name}){hint}"
    return f"the run's process ended with exit code {status} and did not say how the run went"
