"""One look: what the watchman and the ledger show becomes rows of the outbox, if it is our turn to look.

Of all processes one looks at a time (a claim with an end, proven once more in the transaction that writes), so that
counting and limits are exact. What it reads is the ledger's own record: a scheduler that is dead, hung or cut off
cannot keep it from being told.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from whalefall.app.notify.incidents import ENDS_WITH_A_GOOD_RUN, Changes, Known, Notice, Rules, Sighting, decide
from whalefall.app.store import notices
from whalefall.scheduler import watchman
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger import Ledger, overview
from whalefall.scheduler.ledger.overview import UnhappyEnd

LOOKING_BACK = timedelta(days=7)  # a run may have begun long before it failed
_ENDS_MAX = 500
_PRUNE_EVERY = timedelta(hours=1)


class Watch:
    """The looks of one process."""

    def __init__(self, ledger: Ledger, rules: Rules, channels: list[str], holder: str) -> None:
        self._ledger, self._rules, self._channels, self._holder = ledger, rules, channels, holder
        self._pruned_at: datetime | None = None

    def look(self, ttl_s: float) -> list[Notice]:
        """What is to be told because of this look; [] when another process looks."""
        first_look_at = self._turn(ttl_s)
        if first_look_at is None:
            return []
        now = self._ledger.now()  # before everything that is read: what happens meanwhile is news for the next look
        seen = self._sightings(now)
        changes = decide(seen, self._known(now, first_look_at), self._rules)
        self._prune(now)
        if not any((changes.begun, changes.promoted, changes.dropped, changes.ended, changes.summary)):
            return []
        return self._write(changes, now)

    def leave(self) -> None:
        """The next one may look at once."""
        with self._ledger.writing() as connection:
            notices.leave_watch(connection, self._holder)

    def _turn(self, ttl_s: float) -> datetime | None:
        with self._ledger.reading() as connection:
            if notices.is_watched_by_another(connection, self._holder):
                return None
        with self._ledger.writing() as connection:
            return notices.take_watch(connection, self._holder, ttl_s)

    def _sightings(self, now: datetime) -> list[Sighting]:
        alarms = [alarm for alarm in watchman.look(self._ledger) if alarm.kind not in ENDS_WITH_A_GOOD_RUN]
        seen = [Sighting(each.kind, each.job_id, each.since, each.text, each.since, each.run_id) for each in alarms]
        with self._ledger.reading() as connection:
            ends = overview.unhappy_ends(connection, now - LOOKING_BACK, _ENDS_MAX)
        return seen + [_sighting(end) for end in ends]

    def _known(self, now: datetime, first_look_at: datetime) -> Known:
        with self._ledger.reading() as connection:
            known = notices.known(connection, now, first_look_at, now - LOOKING_BACK - timedelta(days=1))
            subjects = [incident.subject for incident in known.open if incident.subject]
            gone = overview.quiet_ids(connection) | overview.unknown_ids(connection, subjects)
        waiting = [incident.subject for incident in known.open if incident.kind in ENDS_WITH_A_GOOD_RUN]
        last = self._ledger.last_runs(waiting)
        good = {job_id: run.run_id for job_id, run in last.items() if run.state == RunState.SUCCEEDED}
        return replace(known, good_runs=good, gone=frozenset(gone))

    def _write(self, changes: Changes, now: datetime) -> list[Notice]:
        with self._ledger.writing() as connection:
            if not notices.holds_watch(connection, self._holder):
                return []  # we were too slow, and somebody else has looked meanwhile
            return notices.apply(connection, changes, now, self._channels)

    def _prune(self, now: datetime) -> None:
        if self._pruned_at is None or now - self._pruned_at > _PRUNE_EVERY:
            self._pruned_at = now
            with self._ledger.writing() as connection:
                notices.prune(connection, now - notices.KEPT)


def _sighting(end: UnhappyEnd) -> Sighting:
    if end.state == RunState.SKIPPED_LATE:
        count = f"{end.span_count} instants" if end.span_count > 1 else "An instant"
        text = f"{count} did not run: {end.reason}."
        return Sighting("missed", end.job_id, end.scheduled_at, text, end.ended_at, end.run_id)
    why = (end.last_words.strip().splitlines() or [end.reason])[-1]
    text = f"Its run ended as {end.state.replace('_', ' ')}: {why}"
    return Sighting("failing", end.job_id, end.scheduled_at, text, end.ended_at, end.run_id)
