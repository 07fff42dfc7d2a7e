"""A run that the ledger no longer has as ours, while it goes on here: who is told, and what.

Its job learns it from `current_run.cancelled`, a process is killed, the log says it, and the run's row keeps beside
"lost" that its runner had only been out of reach. Its result is fenced off by the attempt's number in any case.
"""

import logging

from whalefall.scheduler.core.runs import FINAL, RunState
from whalefall.scheduler.errors import RunNotFound
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Ending, RunRecord
from whalefall.scheduler.running import RunContext

_log = logging.getLogger("whalefall.scheduler")


def let_go(ledger: Ledger, holder: str, context: RunContext) -> bool:
    """True if it has just turned out not to be ours. Raises LedgerUnavailable; then it may be called again."""
    if context.fenced.is_set() or context.inherited.is_set() or context.ended.is_set():
        return False  # it is known; or its end is about to be written, and whoever writes it sees more
    ours = context.claimed.run
    now = _find(ledger, context.run_id)
    if now is not None and now.attempt == ours.attempt:
        if now.state is RunState.RUNNING and now.claimed_by != holder:
            context.inherited.set()
            _log.warning("run %s goes on in its process, and %s watches over it now", context.run_id, now.claimed_by)
            return True
        if now.state in FINAL - {RunState.LOST} and now.claimed_by == holder:
            return False  # its end has just been written
    context.fenced.set()
    _log.warning(
        "run %s of job %s (attempt %d) was taken from this scheduler: it goes on here, but the ledger had heard "
        "nothing of it for longer than its lease, and %s. Its job is told to end, and its result will not count.",
        context.run_id,
        ours.job_id,
        ours.attempt,
        _what_became(now),
    )
    ledger.note_late(holder, context.run_id, ours.attempt, "it went on: its runner had only been out of reach")
    return True


def drop(ledger: Ledger, holder: str, ending: Ending) -> None:
    """Says that the result of an attempt that was taken from us does not count. Raises LedgerUnavailable."""
    _log.warning(
        "the result of run %s (attempt %d) was dropped: the run was taken from this runner, "
        "because it was silent for longer than its lease",
        ending.run_id,
        ending.attempt,
    )
    said = str(ending.state).replace("_", " ")
    ledger.note_late(holder, ending.run_id, ending.attempt, f"it ended there as {said}, which does not count")


def _find(ledger: Ledger, run_id: str) -> RunRecord | None:
    try:
        return ledger.run(run_id)
    except RunNotFound:
        return None


def _what_became(now: RunRecord | None) -> str:
    if now is None:
        return "is forgotten"
    if now.state is RunState.RUNNING:
        return f"attempt {now.attempt} runs at {now.claimed_by} now"
    if now.state is RunState.QUEUED:
        return f"attempt {now.attempt + 1} waits for a runner now"
    return f"it counts as {str(now.state).replace('_', ' ')} now"
