"""Triggers: when is a job due next? A pure function of the instant before, so that every replica computes the same.

A trigger travels as JSON (`{"type": "cron", "fields": {…}}`), because code, stored edits and the API all speak of it.
Instants are aware datetimes in UTC, with whole seconds for cron and dates, microseconds for intervals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger

from whalefall.scheduler.core.cron import FIELDS, Cron, CronSyntaxError, comes_true, cron_from_fields, parse_cron
from whalefall.scheduler.core.zones import FOLLOW_ELAPSED_TIME, DstPolicy, next_instant

TriggerSpec = dict[str, Any]

UNCOMPUTABLE = "Its trigger cannot be computed"  # how a job's quarantine begins that is not about its function

_TICK = timedelta(microseconds=1)
_INTERVAL_FIELDS = ("weeks", "days", "hours", "minutes", "seconds")
_CALENDAR_FIELDS = ("years", "months", "weeks", "days", "hour", "minute", "second")
_CRON_FIELDS = (*FIELDS, "week")
# A crowd that is due at midnight shares a few expressions: each is read once, and asked once what comes after midnight.
_REMEMBERED = 4096


class TriggerError(ValueError):
    """The trigger means nothing; the sentence says why."""


class Trigger(Protocol):
    """When a job is due."""

    def next_after(self, instant: datetime) -> datetime | None:
        """The first due instant later than `instant`, or None if there is none."""


@dataclass(frozen=True, slots=True, eq=False)  # known by identity: `_cron_trigger` makes each but once
class CronTrigger:
    cron: Cron
    zone: ZoneInfo
    dst: DstPolicy
    start: datetime | None
    end: datetime | None

    def next_after(self, instant: datetime) -> datetime | None:
        return _next_of_cron(self, instant)


@dataclass(frozen=True, slots=True)
class IntervalTrigger:
    """anchor, anchor + every, anchor + 2·every, …: elapsed time, the same after any restart and in any zone."""

    every: timedelta
    anchor: datetime
    end: datetime | None

    def next_after(self, instant: datetime) -> datetime | None:
        passed = (instant - self.anchor) // self.every
        try:
            found = self.anchor + max(passed + 1, 0) * self.every
        except OverflowError:  # after the year 9999
            return None
        return None if self.end is not None and found > self.end else found


@dataclass(frozen=True, slots=True)
class DateTrigger:
    at: datetime

    def next_after(self, instant: datetime) -> datetime | None:
        return self.at if instant < self.at else None


@dataclass(frozen=True, slots=True)
class CalendarTrigger:
    """Every n months or weeks at a wall-clock time: APScheduler's own trigger, which is sound and pure."""

    inner: CalendarIntervalTrigger

    def next_after(self, instant: datetime) -> datetime | None:
        # It counts whole days from the previous fire, so it is walked from its start; the steps are days at least.
        found = self.inner.get_next_fire_time(None, instant)
        while found is not None and found <= instant:
            found = self.inner.get_next_fire_time(found, instant)
        return None if found is None else found.astimezone(UTC)


def build_trigger(spec: TriggerSpec, *, timezone: str, anchor: datetime, dst: DstPolicy) -> Trigger:
    """The trigger that `spec` describes. Raises TriggerError, whatever a release or a hand may have stored."""
    try:
        return _built(spec, zone_named(timezone), anchor, dst)
    except TriggerError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise TriggerError(f"{spec!r} is not a trigger: {type(error).__name__}: {error}.") from None


def _built(spec: TriggerSpec, zone: ZoneInfo, anchor: datetime, dst: DstPolicy) -> Trigger:
    match spec.get("type"):
        case "cron":
            fields = tuple(spec["fields"].items())
            return _cron_trigger(fields, spec.get("match"), zone, dst, (spec.get("start"), spec.get("end")))
        case "interval":
            start = _instant(spec.get("start"))
            every = timedelta(seconds=spec["seconds"])
            if every <= timedelta():
                raise TriggerError(f"{spec['seconds']!r} s is no interval.")
            return IntervalTrigger(every, start or anchor + every, _instant(spec.get("end")))
        case "date":
            return DateTrigger(datetime.fromisoformat(spec["at"]).astimezone(UTC))
        case "calendarinterval":
            start = _instant(spec.get("start")) or anchor
            inner = CalendarIntervalTrigger(
                **spec["fields"], start_date=start.astimezone(zone).date(), end_date=spec.get("end"), timezone=zone
            )
            return CalendarTrigger(inner)
    raise TriggerError(
        f"{spec.get('type')!r} is not a trigger; write 'cron', 'interval', 'date' or 'calendarinterval'."
    )


@lru_cache(_REMEMBERED)
def _cron_trigger(
    fields: tuple[tuple[str, str], ...],
    match: str | None,
    zone: ZoneInfo,
    dst: DstPolicy,
    edges: tuple[str | None, str | None],
) -> CronTrigger:
    cron = cron_of({"fields": dict(fields), "match": match})
    start, end = (_instant(edge) for edge in edges)
    return CronTrigger(cron, zone, dst, start, end)


@lru_cache(_REMEMBERED)
def _next_of_cron(trigger: CronTrigger, instant: datetime) -> datetime | None:
    if trigger.start is not None and instant < trigger.start:
        instant = trigger.start - _TICK
    policy = FOLLOW_ELAPSED_TIME if trigger.cron.follows_elapsed_time else trigger.dst
    found = next_instant(instant, trigger.zone, trigger.cron.after, policy)
    return None if found is None or (trigger.end is not None and found > trigger.end) else found


def first_fire(spec: TriggerSpec, trigger: Trigger, now: datetime) -> datetime | None:
    """Where a new cursor starts. A date is due even if it has passed; the others begin in the future."""
    if isinstance(trigger, DateTrigger):
        return trigger.at
    return trigger.next_after(now)


def cron_of(spec: TriggerSpec) -> Cron:
    """The cron of a spec of type cron. Raises TriggerError."""
    try:
        return cron_from_fields(spec["fields"], days_must_both_match=spec.get("match") == "both")
    except CronSyntaxError as error:
        raise TriggerError(str(error)) from None


def cron_spec(expression: str) -> TriggerSpec:
    """5, 6 or 7 fields as a spec. Raises TriggerError, also for an expression that never comes true."""
    try:
        cron = parse_cron(expression)
    except CronSyntaxError as error:
        raise TriggerError(str(error)) from None
    if not comes_true(cron):
        raise TriggerError(f"{expression!r} never comes true: no date matches it.")
    return {"type": "cron", "fields": dict(cron.fields)}


def spec_from_arguments(kind: str, arguments: Mapping[str, Any], *, timezone: str, now: datetime) -> TriggerSpec:
    """What a person wrote in `@scheduler.task(kind, **arguments)` as a spec. Raises TriggerError.

    Takes APScheduler's argument names. A naive datetime is a wall-clock time in `timezone`.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    reader = {
        "cron": _cron_from_arguments,
        "interval": _interval_from_arguments,
        "date": _date_from_arguments,
        "calendarinterval": _calendar_from_arguments,
    }.get(kind)
    if reader is None:
        raise TriggerError(f"{kind!r} is not a trigger; write 'cron', 'interval', 'date' or 'calendarinterval'.")
    return reader(given, timezone, now)


def argument_names(kind: str) -> frozenset[str]:
    """The trigger's own arguments, so that the rest can be policies."""
    edges = ("start_date", "end_date")
    return frozenset(
        {
            "cron": (*_CRON_FIELDS, *edges, "expression", "match"),
            "interval": (*_INTERVAL_FIELDS, *edges),
            "date": ("run_date",),
            "calendarinterval": (*_CALENDAR_FIELDS, *edges),
        }.get(kind, ())
    )


def zone_named(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise TriggerError(f"{name!r} is not a time zone; write one like 'Europe/Berlin' or 'UTC'.") from None


def _cron_from_arguments(given: dict[str, Any], timezone: str, now: datetime) -> TriggerSpec:
    expression, match = given.pop("expression", None), given.pop("match", "either")
    if match not in ("either", "both"):
        raise TriggerError(f"match={match!r}: write 'either' (cron's rule for day and weekday) or 'both'.")
    edges = _edges(given, timezone) | ({"match": "both"} if match == "both" else {})
    if expression is not None:
        if given:
            raise TriggerError(f"Give either an expression or fields: {next(iter(given))} is said twice.")
        return {**cron_spec(expression), **edges}
    fields = {name: str(given[name]) for name in _CRON_FIELDS if name in given}
    weekday = fields.get("day_of_week", "*")
    if any(character.isdigit() for character in weekday.split("/")[0].split("#")[0]):
        raise TriggerError(
            f"day_of_week={weekday!r}: 0 is Monday in APScheduler and Sunday in cron. "
            "Write names ('mon-fri'), or a cron expression (expression='0 9 * * 1-5'), where 0 and 7 are Sunday."
        )
    try:
        cron = cron_from_fields(fields, days_must_both_match=match == "both")
    except CronSyntaxError as error:
        raise TriggerError(str(error)) from None
    if not comes_true(cron):
        raise TriggerError(f"'{cron.expression}' never comes true: no date matches it.")
    return {"type": "cron", "fields": dict(cron.fields), **edges}


def _interval_from_arguments(given: dict[str, Any], timezone: str, now: datetime) -> TriggerSpec:
    edges = _edges(given, timezone)
    try:
        every = timedelta(**{name: given[name] for name in _INTERVAL_FIELDS if name in given})
    except (TypeError, OverflowError) as error:
        raise TriggerError(f"The length of the interval means nothing: {error}.") from None
    if every < timedelta(milliseconds=100):
        raise TriggerError(
            "An interval needs a length of 0.1 s at least: write seconds=, minutes=, hours=, days= or weeks=."
        )
    return {"type": "interval", "seconds": every.total_seconds(), **edges}


def _date_from_arguments(given: dict[str, Any], timezone: str, now: datetime) -> TriggerSpec:
    at = given.get("run_date", now)
    return {"type": "date", "at": _text(at, timezone)}


def _calendar_from_arguments(given: dict[str, Any], timezone: str, now: datetime) -> TriggerSpec:
    edges = _edges(given, timezone)
    if "end" in edges:
        edges["end"] = edges["end"][:10]
    fields = {name: int(given[name]) for name in _CALENDAR_FIELDS if name in given}
    try:
        CalendarIntervalTrigger(**fields)
    except ValueError as error:
        raise TriggerError(f"calendarinterval: {error}.") from None
    return {"type": "calendarinterval", "fields": fields, **edges}


def _edges(given: dict[str, Any], timezone: str) -> dict[str, str]:
    edges = {"start": given.pop("start_date", None), "end": given.pop("end_date", None)}
    return {name: _text(value, timezone) for name, value in edges.items() if value is not None}


def _text(value: object, timezone: str) -> str:
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise TriggerError(f"{value!r} is not a date; write it like '2026-12-31 18:00:00'.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone_named(timezone))
    return moment.astimezone(UTC).isoformat()


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
