"""Performing one run in this process: app context around the job's function, its ending to the scribe.

One job's failure never touches another: whatever a function raises becomes its run's ending.
"""

import contextvars
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from flask import Flask

from whalefall.scheduler import running, tracebacks
from whalefall.scheduler.checkpoints import Checkpoints
from whalefall.scheduler.clocks import elapsed_s
from whalefall.scheduler.core.retries import retry_delay_s
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.functions import Function
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import ClaimedRun, Ending

Observer = Callable[[running.RunContext], None]

_log = logging.getLogger("whalefall.scheduler")
_ERROR_MAX = 50_000  # characters of a traceback
_IDLE_S = 3_600.0  # between two statements of a transactional job without a limit of its own; then it is hung
_RETURNED_MAX = 2_000  # characters of what a job returned


class Recorder(Protocol):
    """Takes endings; the scribe does."""

    def finish(self, ending: Ending) -> None: ...


class Performer:
    """Performs claimed runs of one app, which are in the roster, in the calling thread."""

    def __init__(
        self,
        app: Flask,
        ledger: Ledger,
        roster: running.Roster,
        recorder: Recorder,
        *,
        resolve: Callable[[ClaimedRun], Function],
        checkpoints: Checkpoints,
        observers: Sequence[Observer] = (),
        time_limits: tuple[type[BaseException], ...] = (),  # what a worker's limit raises inside a job
    ) -> None:
        self._app, self._ledger, self._roster = app, ledger, roster
        self._recorder, self._resolve, self._checkpoints = recorder, resolve, checkpoints
        self._observers, self._time_limits = observers, time_limits

    def __call__(self, context: running.RunContext) -> None:
        contextvars.copy_context().run(self._perform, context)  # the next job in this thread sees nothing of it

    def _perform(self, context: running.RunContext) -> None:
        token = running.enter(context)
        try:
            ending = self._attempt(context)
        finally:
            running.leave(token)
        self._tell_observers(context)
        if ending is None:  # written with the job's own transaction
            self._roster.remove(context.key)
        elif context.cut_off.is_set() and ending.state is RunState.CANCELLED and not context.cancelled.is_set():
            return  # it ended because our stop does, which names it and gives it back
        else:
            self._checkpoints.reached("run.returned")
            self._recorder.finish(ending)

    def _attempt(self, context: running.RunContext) -> Ending | None:
        try:
            if context.claimed.policies.transactional:
                return self._in_one_transaction(context)
            self._call(context)
        except running.RunCancelled:
            return ending_of(context, RunState.CANCELLED)
        except self._time_limits as error:
            context.raised = error
            return ending_of(context, RunState.TIMED_OUT, tracebacks.told(error))
        except BaseException as error:  # noqa: BLE001 - the border to the user's code; even SystemExit ends a run only
            context.raised = error
            return ending_of(context, RunState.FAILED, tracebacks.told(error))
        return ending_of(context, RunState.CANCELLED if context.cancelled.is_set() else RunState.SUCCEEDED)

    def _call(self, context: running.RunContext) -> None:
        claimed = context.claimed
        function = self._resolve(claimed)
        self._checkpoints.reached("run.started")
        with self._app.app_context():
            context.started_s = elapsed_s()
            returned = function(*claimed.args, **claimed.kwargs)
        context.returned = returned
        if returned is not None:
            context.output.write(f"returned {str(returned)[:_RETURNED_MAX]}\n")

    def _tell_observers(self, context: running.RunContext) -> None:
        for observer in self._observers:
            try:
                observer(context)
            except Exception:  # noqa: BLE001 - a listener's failure is not the run's
                _log.exception("a listener of run %s failed", context.run_id)

    def _in_one_transaction(self, context: running.RunContext) -> Ending | None:
        """The job's writes and the end of its run are one commit; fenced off, neither counts."""
        with self._ledger.writing_for_a_job(context.claimed.policies.timeout_s or _IDLE_S) as connection:
            context.connection = connection
            self._call(context)
            self._ledger.finish_within(
                connection, ending_of(context, RunState.SUCCEEDED), context.claimed.run.claimed_by
            )
        return None


def ending_of(context: running.RunContext, state: RunState, error: str = "") -> Ending:
    """The ending of this attempt, with the retry that its job wishes."""
    run, policies = context.claimed.run, context.claimed.policies
    ending = Ending(
        run_id=run.run_id,
        attempt=run.attempt,
        state=state,
        error=error[-_ERROR_MAX:].replace("\0", ""),
        output=context.output.text(),
        progress=context.progress,
        progress_text=context.progress_text,
        started_s=context.started_s,
    )
    if context.cancelled.is_set():
        return ending
    return replace(ending, retry_in_s=retry_delay_s(policies, state=state, attempt=run.attempt, run_id=run.run_id))
