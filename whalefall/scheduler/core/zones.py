"""Wall-clock schedules in a zone whose clocks change: the rules for the night in which an hour is missing or double.

A job at a fixed time ("02:30 every day") fires once that night, by default: in spring, when 02:30 does not exist, at
the moment the clocks jump; in autumn, when 02:30 comes twice, the first time. A job whose hour or minute is free
("every 10 minutes") follows elapsed time and notices nothing. Both defaults are those of Debian's cron(8).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Gap = Literal["run", "skip"]
Fold = Literal["first", "second", "both"]

_LOOK = timedelta(hours=25)  # no zone has changed its clocks twice within a day
_SECOND = timedelta(seconds=1)
_STEPS_MAX = 100_000  # rejected candidates of one search; a second-by-second job rejects 3,600 in one autumn night


@dataclass(frozen=True, slots=True)
class DstPolicy:
    """What a job at a fixed time does on the two odd nights of the year."""

    gap: Gap = "run"
    fold: Fold = "first"


FOLLOW_ELAPSED_TIME = DstPolicy(gap="skip", fold="both")


def next_instant(
    after: datetime, zone: ZoneInfo, wall_after: Callable[[datetime], datetime | None], policy: DstPolicy
) -> datetime | None:
    """The first UTC instant later than `after` at which the zone's clocks show one of the wanted wall-clock times.

    `wall_after` gives the next wanted wall-clock time after one (both naive). The search walks along stretches of
    constant offset, so that it never converts a wall-clock time that does not exist.
    """
    position, inclusive = after, False
    for _ in range(_STEPS_MAX):
        offset = _offset(position, zone)
        here = _naive(position) + offset
        wanted = wall_after(here - _SECOND if inclusive else here)
        change = _next_change(position, zone)
        if wanted is not None and (change is None or _utc(wanted - offset) < change):
            instant = _utc(wanted - offset)
            if change is None and instant - position > _LOOK:
                # Far away: go near and look again, for the clocks may change on the way there.
                position, inclusive = instant - _LOOK, False
                continue
            if _accepts(instant, zone, policy.fold):
                return instant
            position, inclusive = instant, False
            continue
        if change is None:
            return None
        if policy.gap == "run" and _falls_into_gap(wanted, change, offset, zone):
            return change
        position, inclusive = change, True
    return None


def missing_or_double(instant: datetime, zone: ZoneInfo) -> Literal["", "missing", "double"]:
    """What is odd about this instant: its wall-clock time comes twice, or it stands in for one that does not exist."""
    local = instant.astimezone(zone)
    if _ambiguous(local):
        return "double"
    before = (instant - _SECOND).astimezone(zone)
    return "missing" if (local.utcoffset() or timedelta()) > (before.utcoffset() or timedelta()) else ""


def changes(zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
    """The instants in (start, end] from which the zone's clocks show another offset."""
    position = start
    while position < end:
        change = _next_change(position, zone)
        if change is not None and change <= end:
            yield change
        position = change or position + _LOOK


def wall_clock(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the zone's clocks show then (naive)."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _accepts(instant: datetime, zone: ZoneInfo, fold: Fold) -> bool:
    local = instant.astimezone(zone)
    if fold == "both" or not _ambiguous(local):
        return True
    return local.fold == (0 if fold == "first" else 1)


def _ambiguous(local: datetime) -> bool:
    # PEP 495: in a fold the first reading has the larger offset; in a gap it is the other way round.
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    return first is not None and second is not None and first > second


def _falls_into_gap(wanted: datetime | None, change: datetime, offset: timedelta, zone: ZoneInfo) -> bool:
    if wanted is None:
        return False
    return _naive(change) + offset <= wanted < _naive(change) + _offset(change, zone)


def _next_change(position: datetime, zone: ZoneInfo) -> datetime | None:
    """The instant within the next 25 hours from which the offset is another, found by halving."""
    low, high = position, position + _LOOK
    offset = _offset(low, zone)
    if _offset(high, zone) == offset:
        return None
    while high - low > _SECOND:
        middle = low + (high - low) / 2
        if _offset(middle, zone) == offset:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _naive(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(tzinfo=None)


def _utc(naive: datetime) -> datetime:
    return naive.replace(tzinfo=UTC)
