"""What is new, what is over, what is too much? Pure: what was seen and what is known go in, changes come out.

An incident is one thing that is wrong with one subject (a job, or '' for the scheduler) from its beginning to its end.
It is told when it begins. When nothing is wrong any more with a subject of which something was told, that is told, too:
once. What cannot be a moment's noise waits `HOLD_S` for its second look; what comes and goes again and again is told
`FLAPS_MAX` times an hour; beyond the rate everything goes into one summary.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

Event = Literal["failed", "missed", "slow", "recovered", "summary", "test"]
State = Literal["pending", "told", "suppressed"]

# What the watchman calls it, and what people are told that it is.
EVENT_OF: Mapping[str, Event] = {
    "failing": "failed",
    "broken": "failed",
    "missed": "missed",
    "overdue": "missed",
    "waiting": "missed",
    "no_leader": "missed",
    "hung": "missed",
    "clock": "missed",
    "slow": "slow",
}
# A restart leaves nobody to lead for a moment; the new leader needs a moment for what is due.
HOLD_S: Mapping[str, float] = {"no_leader": 20, "hung": 10, "clock": 10, "overdue": 20, "waiting": 20}
ENDS_WITH_A_GOOD_RUN = frozenset({"failing", "missed"})
FOLLOWS_FROM_THE_SCHEDULER = frozenset({"overdue", "waiting"})  # with no leader, every job is overdue
FLAPS_MAX = 3
HOUR = timedelta(hours=1)
LASTING = timedelta(minutes=15)  # what was held back as flapping and stays is told in the end
SUMMARY_AFTER = timedelta(minutes=1)  # so that one summary holds the whole burst
HISTORY = timedelta(minutes=1)  # what began earlier than this before the first look ever is no news
SCHEDULER = ""
Key = tuple[str, str]  # kind, subject

LAST_OF_FLAPPING = "It comes and goes: for an hour nothing more is told of it, unless it lasts."
FLAPPING = "it comes and goes; told again when it lasts, or after an hour"
OVER_RATE = "more than NOTIFY_RATE an hour; counted in the summary"
OLD = "it began before notifications did"
NOT_WANTED = "NOTIFY_ON leaves it out"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One thing that is wrong now, or was a moment ago. `run_id` is the run that shows it, if one does."""

    kind: str
    subject: str
    since: datetime
    text: str
    at: datetime  # when it became so: a failure's end, a miss's record
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that was wrong when somebody last looked: an open row of the outbox."""

    id: int
    kind: str
    subject: str
    since: datetime
    text: str
    run_id: str
    state: State
    reason: str
    seen_at: datetime

    @property
    def was_told(self) -> bool:
        """People know of it."""
        return self.state == "told"


@dataclass(frozen=True, slots=True)
class Notice:
    """A row to be written: the beginning of an incident, its end, or a summary."""

    event: Event
    kind: str
    subject: str
    since: datetime
    text: str
    run_id: str = ""
    state: State = "told"
    reason: str = ""
    answers: int | None = None  # the incident that this ends


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say."""

    wanted: frozenset[str]
    rate: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the outbox and the ledger say at this look."""

    now: datetime
    first_look_at: datetime
    open: Sequence[Incident]
    told: Mapping[Key, int]  # incidents that were told within the hour
    last_end: Mapping[Key, datetime]  # of those that ended lately
    told_last_hour: int
    untold: Sequence[Notice]  # what the rate has held back and no summary has told
    untold_since: datetime | None
    last_summary_at: datetime | None
    good_runs: Mapping[str, str]  # by job: its newest run, where that succeeded
    gone: frozenset[str] = frozenset()  # jobs that fire no more, or whose job says notify=False


@dataclass(slots=True)
class Changes:
    """What this look changes."""

    begun: list[Notice]
    promoted: list[tuple[Incident, State, str]]  # from now on in this state, for this reason
    dropped: list[Incident]  # a moment's noise: never told, never over
    ended: list[Incident]
    recovered: list[Notice]
    summary: Notice | None = None


def decide(seen: Sequence[Sighting], known: Known, rules: Rules) -> Changes:
    """The whole look."""
    return _Look(seen, known, rules).result()


class _Look:
    """One look: goes over what is open, begins what is new, and says what is over."""

    def __init__(self, seen: Sequence[Sighting], known: Known, rules: Rules) -> None:
        self._known, self._rules = known, rules
        self._left = rules.rate - known.told_last_hour  # notices that this hour still has
        self._wrong = self._news(seen)
        self._changes = Changes([], [], [], [], [])

    def result(self) -> Changes:
        known, changes = self._known, self._changes
        for incident in known.open:
            self._go_over(incident)
        is_open = {(each.kind, each.subject) for each in known.open}
        scheduler_ails = any(subject == SCHEDULER for _, subject in self._wrong)
        for key, sighting in self._wrong.items():
            if key not in is_open and not (scheduler_ails and sighting.kind in FOLLOWS_FROM_THE_SCHEDULER):
                changes.begun.append(self._begin(key, sighting))
        changes.recovered = self._recoveries()
        changes.summary = _summary(known)
        return changes

    def _news(self, seen: Sequence[Sighting]) -> dict[Key, Sighting]:
        """The newest of each kind and subject, without what an incident that has ended already was about."""
        found: dict[Key, Sighting] = {}
        for each in seen:
            key = (each.kind, each.subject)
            ended_at = self._known.last_end.get(key) if each.kind in ENDS_WITH_A_GOOD_RUN else None
            if each.subject in self._known.gone or (ended_at is not None and each.at <= ended_at):
                continue
            if key not in found or found[key].at < each.at:
                found[key] = each
        return found

    def _go_over(self, incident: Incident) -> None:
        key = (incident.kind, incident.subject)
        if self._is_over(incident):
            (self._changes.dropped if incident.state == "pending" else self._changes.ended).append(incident)
            return
        age = self._known.now - incident.seen_at
        if incident.state == "pending" and age.total_seconds() >= HOLD_S.get(incident.kind, 0):
            self._changes.promoted.append((incident, *self._state(incident.kind, self._known.told.get(key, 0))))
        elif incident.reason == FLAPPING and age >= LASTING:
            self._changes.promoted.append((incident, *self._state(incident.kind, 0)))

    def _is_over(self, incident: Incident) -> bool:
        if incident.subject in self._known.gone:
            return True
        if incident.kind in ENDS_WITH_A_GOOD_RUN:
            return self._known.good_runs.get(incident.subject, "") > incident.run_id
        return (incident.kind, incident.subject) not in self._wrong

    def _begin(self, key: Key, seen: Sighting) -> Notice:
        notice = Notice(EVENT_OF[seen.kind], seen.kind, seen.subject, seen.since, seen.text, seen.run_id)
        if seen.kind in ENDS_WITH_A_GOOD_RUN and seen.at < self._known.first_look_at - HISTORY:
            return replace(notice, state="suppressed", reason=OLD)
        if seen.kind in HOLD_S:
            return replace(notice, state="pending")
        told = self._known.told.get(key, 0)
        state, reason = self._state(seen.kind, told)
        text = f"{seen.text} {LAST_OF_FLAPPING}" if told == FLAPS_MAX - 1 else seen.text
        return replace(notice, state=state, reason=reason, text=text)

    def _state(self, kind: str, told: int) -> tuple[State, str]:
        if EVENT_OF[kind] not in self._rules.wanted:
            return "suppressed", NOT_WANTED
        if told >= FLAPS_MAX:
            return "suppressed", FLAPPING
        return self._within_rate()

    def _within_rate(self) -> tuple[State, str]:
        self._left -= 1
        return ("told", "") if self._left >= 0 else ("suppressed", OVER_RATE)

    def _recoveries(self) -> list[Notice]:
        """One for each subject of which something was told, and with which nothing of that is wrong any more."""
        ailing = self._ailing()
        last: dict[str, Incident] = {}
        for incident in self._changes.ended:
            if incident.was_told and incident.subject not in self._known.gone | ailing:
                last[incident.subject] = incident
        return [self._recovery(incident) for incident in last.values()]

    def _ailing(self) -> set[str]:
        changes, over = self._changes, {incident.id for incident in self._changes.ended}
        ailing = {incident.subject for incident in self._known.open if incident.was_told and incident.id not in over}
        ailing |= {incident.subject for incident, state, _ in changes.promoted if state == "told"}
        return ailing | {notice.subject for notice in changes.begun if notice.state == "told"}

    def _recovery(self, of: Incident) -> Notice:
        notice = Notice("recovered", of.kind, of.subject, of.since, RECOVERED[of.kind], of.run_id, answers=of.id)
        if "recovered" not in self._rules.wanted:
            return replace(notice, state="suppressed", reason=NOT_WANTED)
        state, reason = self._within_rate()
        return replace(notice, state=state, reason=reason)


RECOVERED: Mapping[str, str] = {
    "failing": "Its newest run has succeeded.",
    "missed": "It runs again, and has succeeded.",
    "broken": "Its function can be imported again.",
    "overdue": "What was due is on record now.",
    "waiting": "Its run has found a runner.",
    "slow": "The run that took so long is over.",
    "no_leader": "A scheduler leads again.",
    "hung": "The loop of the scheduler turns again.",
    "clock": "The database's clock has caught up with its records.",
}


def _summary(known: Known) -> Notice | None:
    """At most once an hour, a minute after the first that it tells of."""
    if known.untold_since is None or known.now - known.untold_since < SUMMARY_AFTER:
        return None
    if known.last_summary_at is not None and known.now - known.last_summary_at < HOUR:
        return None
    return Notice("summary", "summary", SCHEDULER, known.now, summary_text(known.untold))


SUMMARY_LINES_MAX = 20


def summary_text(untold: Sequence[Notice]) -> str:
    """How many of what, then one line for each, up to a limit."""
    counts = Counter(notice.event for notice in untold)
    head = ", ".join(f"{number} {event}" for event, number in counts.most_common())
    lines = [f"{notice.event}: {notice.subject or 'the scheduler'}" for notice in untold[:SUMMARY_LINES_MAX]]
    if len(untold) > SUMMARY_LINES_MAX:
        lines.append(f"and {len(untold) - SUMMARY_LINES_MAX} more")
    return "\n".join([f"{len(untold)} more than NOTIFY_RATE lets through: {head}.", *lines])
