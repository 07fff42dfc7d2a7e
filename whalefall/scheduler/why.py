"""Why did this run, and why did it not? The chain of reasons for one job at one moment, from the ledger alone."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.core.triggers import TriggerError
from whalefall.scheduler.core.words import in_words
from whalefall.scheduler.errors import JobNotFound
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.history import Wanted, by_hand, covering
from whalefall.scheduler.ledger.records import EventRecord, JobRecord, RunRecord
from whalefall.scheduler.verify import expected_instants

_NEAR = timedelta(hours=48)  # how far to look for the instants around a moment
_TICK = timedelta(microseconds=1)
_VACANT = timedelta(seconds=1)  # shorter changes of leader are no reason


def why(ledger: Ledger, job_id: str, moment: datetime) -> list[str]:
    """Sentences, from the answer to its causes. Raises JobNotFound."""
    deleted = ledger.events_of(job_id, ["deleted"])
    try:
        record = ledger.job(job_id)
    except JobNotFound:
        if not deleted:
            raise
        record = None
    until = moment + timedelta(seconds=1) - _TICK
    with ledger.reading() as connection:
        rows = [*covering(connection, job_id, moment, until), *by_hand(connection, job_id, moment, until)]
    if rows:
        return [line for row in rows for line in _told(ledger, row)]
    if record is None:
        return [_deleted(deleted[-1])]
    return list(_not_on_record(ledger, record, moment))


def why_lately(ledger: Ledger, job_id: str) -> list[str]:
    """The same for what a job did last, or should have done since; then what comes next. Raises JobNotFound."""
    rows = ledger.page(Wanted(job_id=job_id, limit=1))
    try:
        record = ledger.job(job_id)
    except JobNotFound:
        deleted = ledger.events_of(job_id, ["deleted"])
        if not rows and not deleted:
            raise
        return [*(line for row in rows for line in _told(ledger, row)), *map(_deleted, deleted[-1:])]
    due = record.next_fire_at
    if due is not None and due + _VACANT < ledger.now():  # younger ones are on their way to the ledger
        return why(ledger, job_id, due)
    said = list(_told(ledger, rows[0])) if rows else ["It has not run yet, and no instant is on record."]
    if record.retired_at is not None:
        said.append(_retired(record.retired_at))
    elif due is None:
        said.append("It fires no more.")
    else:
        said += [f"The next instant: {_at(due)}.", *_in_the_way(record, due)]
    return said


def _told(ledger: Ledger, row: RunRecord) -> Iterator[str]:
    if row.started_at is None:
        yield f"{_at(row.scheduled_at)}: {row.state.replace('_', ' ')}: {row.reason or 'waiting for a free runner'}."
        if row.span_end is not None:
            yield f"The row stands for {row.span_count} instants, up to {_at(row.span_end)}."
    else:
        late_s = (row.started_at - row.scheduled_at).total_seconds()
        yield f"{_at(row.scheduled_at)}: {row.state}, run {row.run_id}, attempt {row.attempt}."
        runner = row.claimed_by or "a runner that gave it back"
        yield f"Started {_at(row.started_at)} ({late_s:.3f} s after its time) by {runner}."
        if row.finished_at is not None:
            yield f"Ended {_at(row.finished_at)}, after {(row.finished_at - row.started_at).total_seconds():.3f} s."
        if row.reason:
            yield f"Because: {row.reason}."
        if row.error:
            *before, last = row.error.strip().splitlines()
            yield f"Error: {last}"
            if before:
                yield f"Its traceback: whalefall jobs show {row.run_id}"
    if row.state == RunState.QUEUED:
        yield from _leadership(ledger, row.created_at, ledger.now())
    for attempt in ledger.attempts(row.run_id):
        yield f"Attempt {attempt['attempt']} by {attempt['claimed_by']}: {attempt['state']}."
    if row.fired_by:
        yield f"Recorded {_at(row.created_at)} by {row.fired_by}, term {row.fired_term}."
        yield from _leadership(ledger, row.scheduled_at, row.created_at)


def _not_on_record(ledger: Ledger, record: JobRecord, moment: datetime) -> Iterator[str]:
    schedules = ledger.events_of(record.job_id, ["schedule"])
    if schedules and moment < (since := datetime.fromisoformat(schedules[0].detail["since"])):
        yield f"The job did not exist yet: it was declared {_at(since)}."
        return
    if record.retired_at is not None and moment > record.retired_at:
        yield _retired(record.retired_at)
        return
    try:
        near = expected_instants(schedules, moment - _NEAR, moment + _NEAR)
    except TriggerError as error:
        yield f"Nobody can tell whether it was due at {_at(moment)}: {error}"
        return
    if not any(moment <= instant < moment + timedelta(seconds=1) for instant in near):
        trigger = f"{in_words(record.effective_trigger)} ({record.timezone})"
        yield f"No run was due at {_at(moment)}: the trigger is {trigger}."
        before, after = [i for i in near if i < moment], [i for i in near if i > moment]
        if before:
            yield f"The instant before it: {_at(before[-1])}."
        if after:
            yield f"The instant after it: {_at(after[0])}."
        yield from (_changed(event) for event in schedules[1:])
        return
    now = ledger.now()
    if moment > now:
        yield f"It is due at {_at(moment)}, which is still to come."
        yield from _in_the_way(record, moment)
    elif record.next_fire_at is not None and record.next_fire_at <= moment:
        yield f"It was due at {_at(moment)}, and no scheduler has looked since; it will be caught up."
        yield from _leadership(ledger, moment, now)
    else:
        yield f"It was due at {_at(moment)} and there is no row: the history may have been pruned."


def _in_the_way(record: JobRecord, moment: datetime) -> Iterator[str]:
    """What would keep it from running, if nothing changes until then."""
    if record.broken_reason:
        yield f"It will be skipped: broken: {record.broken_reason.strip().splitlines()[-1]}"
    elif record.pause is not None and record.pause.covers(moment):
        yield f"It will be skipped: {record.pause}."


def _leadership(ledger: Ledger, start: datetime, end: datetime) -> Iterator[str]:
    """Stretches without a leader that touch [start, end]."""
    lease = ledger.lease()
    if lease is not None and not lease.alive and lease.expires_at < end:
        yield f"No scheduler leads since {_at(lease.expires_at)}."
    for event in ledger.events_of("", ["led"]):
        vacant = event.detail.get("vacant_since")
        since = datetime.fromisoformat(vacant) if vacant else None
        if since is not None and since <= end and event.at >= start and event.at - since > _VACANT:
            yield f"No scheduler led from {_at(since)} to {_at(event.at)}; then {event.actor} did."


def _deleted(event: EventRecord) -> str:
    return f"The job was deleted {_at(event.at)} by {event.actor or 'somebody'}."


def _retired(since: datetime) -> str:
    return f"The job is retired: it is gone from the code since {_at(since)}, and fires no more."


def _changed(event: EventRecord) -> str:
    trigger = event.detail["trigger"]
    what = in_words(trigger) if trigger is not None else "nothing"
    return f"{_at(event.at)}: {event.detail['why']} by {event.actor or 'the code'}: {what}."


def _at(moment: datetime) -> str:
    text = f"{moment:%Y-%m-%d %H:%M:%S}"
    return f"{text}.{moment.microsecond // 1000:03} UTC" if moment.microsecond else f"{text} UTC"
