"""Cron expressions: 5, 6 or 7 fields to the set of wall-clock times that they mean. Knows nothing of zones.

    5 fields          minute hour day month weekday
    6 fields   second minute hour day month weekday
    7 fields   second minute hour day month weekday year

The rules are those of cron(5), where APScheduler 3 differs from it:
* weekday 0 and 7 are Sunday (APScheduler: 0 is Monday); names are better than numbers;
* when day *and* weekday are restricted, a date matches if *either* does (APScheduler: both must). A field that begins
  with `*` is not a restriction, as in Debian's cron.
Beyond cron(5): `L` or `last` (last day of the month), `fri#3` and `3rd fri` (third Friday), `friL` and `last fri`,
`?` for `*`, and the usual `@hourly` words.
"""

import calendar
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

FIELDS = ("second", "minute", "hour", "day", "month", "day_of_week", "year")
_RANGES = {
    "second": (0, 59),
    "minute": (0, 59),
    "hour": (0, 23),
    "day": (1, 31),
    "month": (1, 12),
    "day_of_week": (0, 7),
    "year": (1970, 2199),
    "week": (1, 53),
}
_LABELS = {"day_of_week": "weekday"}
_MONTHS = dict(
    zip(("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), range(1, 13), strict=True)
)
_WEEKDAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_ORDINALS = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": -1}
_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_LENGTH_MAX = 1000  # characters of one field: enough for every second written out, three times over
_LAST_YEAR = _RANGES["year"][1]
_ITEM = re.compile(r"(?P<first>[a-z]+|\d+|\*)(?:-(?P<last>[a-z]+|\d+))?(?:/(?P<step>\d+))?")


class CronSyntaxError(ValueError):
    """The expression means nothing; the sentence says which field and why."""


@dataclass(frozen=True, slots=True)
class Nth:
    """The n-th given weekday (0 = Sunday) of a month; n = -1 is the last one."""

    weekday: int
    n: int

    def matches(self, day: date) -> bool:
        if day.isoweekday() % 7 != self.weekday:
            return False
        if self.n == -1:
            return day.day > calendar.monthrange(day.year, day.month)[1] - 7
        return (day.day - 1) // 7 + 1 == self.n


@dataclass(frozen=True, slots=True)
class Days:
    """One of the two fields that choose a date: day of the month, or weekday."""

    numbers: frozenset[int]
    nth: frozenset[Nth]
    last: bool
    restricted: bool


@dataclass(frozen=True, slots=True)
class Cron:
    """A set of wall-clock times."""

    fields: tuple[tuple[str, str], ...]  # as written, for people
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: tuple[int, ...]
    years: frozenset[int] | None
    weeks: frozenset[int] | None
    day: Days
    weekday: Days
    days_must_both_match: bool  # APScheduler's rule, for jobs moved over from it

    @property
    def follows_elapsed_time(self) -> bool:
        """True if hour or minute is free (`*`, `*/n`): a change of the clocks means nothing to such a job."""
        written = dict(self.fields)
        return written["hour"].startswith("*") or written["minute"].startswith("*")

    @property
    def expression(self) -> str:
        """The shortest of the 5, 6 and 7 field forms that says the same."""
        written = dict(self.fields)
        values = [written[name] for name in FIELDS]
        if values[6] != "*":
            return " ".join(values)
        return " ".join(values[1:6] if values[0] == "0" else values[:6])

    def matches_date(self, day: date) -> bool:
        if self.years is not None and day.year not in self.years:
            return False
        if self.weeks is not None and day.isocalendar().week not in self.weeks:
            return False
        in_month = (
            day.day in self.day.numbers
            or (self.day.last and day.day == calendar.monthrange(day.year, day.month)[1])
            or any(nth.matches(day) for nth in self.day.nth)
        )
        in_week = day.isoweekday() % 7 in self.weekday.numbers or any(nth.matches(day) for nth in self.weekday.nth)
        if self.day.restricted and self.weekday.restricted and not self.days_must_both_match:
            return in_month or in_week
        return in_month and in_week

    def after(self, wall: datetime) -> datetime | None:
        """The first matching wall-clock time later than `wall` (naive), or None if there is none before 2200."""
        start = wall.replace(microsecond=0) + timedelta(seconds=1)
        for day in self._dates(start.date()):
            moment = self._time_from(start.time() if day == start.date() else time.min)
            if moment is not None:
                return datetime.combine(day, moment)
        return None

    def _dates(self, start: date) -> Iterator[date]:
        for year in range(start.year, _LAST_YEAR + 1):
            if self.years is not None and year not in self.years:
                continue
            for month in self.months:
                if (year, month) < (start.year, start.month):
                    continue
                first = start.day if (year, month) == (start.year, start.month) else 1
                for number in range(first, calendar.monthrange(year, month)[1] + 1):
                    day = date(year, month, number)
                    if self.matches_date(day):
                        yield day

    def _time_from(self, start: time) -> time | None:
        """The first matching time of day that is not before `start`."""
        second = _at_least(self.seconds, start.second)
        minute = _at_least(self.minutes, start.minute + (second is None))
        exact = minute == start.minute
        hour = _at_least(self.hours, start.hour + (minute is None))
        if hour is None:
            return None
        if hour != start.hour:
            return time(hour, self.minutes[0], self.seconds[0])
        if minute is None:
            return None
        return time(hour, minute, second if exact and second is not None else self.seconds[0])


@lru_cache(4096)
def comes_true(cron: Cron) -> bool:
    """Is there any date that matches it?"""
    return cron.after(datetime(1970, 1, 1)) is not None  # noqa: DTZ001 - wall-clock times have no zone


def _at_least(values: tuple[int, ...], low: int) -> int | None:
    index = bisect_left(values, low)
    return values[index] if index < len(values) else None


def parse_cron(expression: str) -> Cron:
    """Reads 5, 6 or 7 fields or a word like `@daily`. Raises CronSyntaxError."""
    text = _WORDS.get(expression.strip().lower(), expression)
    parts = text.split()
    if len(parts) not in (5, 6, 7):
        raise CronSyntaxError(
            f"{expression!r} has {len(parts)} fields; write 5 (minute hour day month weekday), "
            "6 (second first) or 7 (year last)."
        )
    values = ["0", *parts] if len(parts) == 5 else parts
    return cron_from_fields(dict(zip(FIELDS, values, strict=False)))


def cron_from_fields(given: Mapping[str, str], *, days_must_both_match: bool = False) -> Cron:
    """Builds from named fields. hour=1 is 01:00:00: below the finest field that is given comes the minimum."""
    return _cron_from(tuple(given.items()), days_must_both_match=days_must_both_match)


@lru_cache(4096)  # a crowd of jobs shares a few expressions
def _cron_from(named: tuple[tuple[str, str], ...], *, days_must_both_match: bool) -> Cron:
    given = dict(named)
    unknown = sorted(set(given) - set(_RANGES))
    if unknown:
        raise CronSyntaxError(f"{unknown[0]!r} is not a field of cron; the fields are {', '.join(_RANGES)}.")
    fields = _with_defaults(given)
    seconds, minutes, hours = (_numbers(name, fields[name]) for name in ("second", "minute", "hour"))
    day = _days("day", fields["day"])
    weekday = _days("day_of_week", fields["day_of_week"])
    years, weeks = fields["year"], given.get("week", "*")
    kept = [(name, fields[name]) for name in FIELDS] + ([("week", weeks)] if weeks != "*" else [])
    return Cron(
        fields=tuple(kept),
        seconds=seconds,
        minutes=minutes,
        hours=hours,
        months=_numbers("month", fields["month"]),
        years=None if years == "*" else frozenset(_numbers("year", years)),
        weeks=None if weeks == "*" else frozenset(_numbers("week", weeks)),
        day=day,
        weekday=weekday,
        days_must_both_match=days_must_both_match,
    )


def _with_defaults(given: Mapping[str, str]) -> dict[str, str]:
    order = ("second", "minute", "hour", "day", "month", "year")  # APScheduler's rule; a weekday counts as a day
    places = {name: index for index, name in enumerate(order)} | {
        "day_of_week": order.index("day"),
        "week": order.index("day"),
    }
    finest = min((places[name] for name in given), default=0)
    fields = {name: str(_RANGES[name][0]) if index < finest else "*" for index, name in enumerate(order)}
    fields["day_of_week"] = "*"
    fields.update({name: "*" if text == "?" else " ".join(text.lower().split()) for name, text in given.items()})
    return fields


def _numbers(name: str, text: str) -> tuple[int, ...]:
    _limit(name, text)
    return tuple(sorted({number for item in text.split(",") for number in _item(name, item.strip())}))


def _days(name: str, text: str) -> Days:
    """Day of the month and weekday know words beside numbers."""
    _limit(name, text)
    numbers: set[int] = set()
    nth: set[Nth] = set()
    last = False
    for item in (part.strip() for part in text.split(",")):
        found = _nth(name, item)
        if found is not None:
            nth.add(found)
        elif name == "day" and item in ("l", "last"):
            last = True
        else:
            numbers.update(_item(name, item))
    if name == "day_of_week":
        numbers = {number % 7 for number in numbers}
    return Days(frozenset(numbers), frozenset(nth), last, restricted=not text.startswith("*"))


def _nth(name: str, item: str) -> Nth | None:
    if name == "day_of_week":
        match = re.fullmatch(r"([a-z]{3}|[0-7])(?:#([1-5])|(l))", item)
        if match:
            return Nth(_number(name, match[1], item) % 7, int(match[2]) if match[2] else -1)
    words = item.split()
    if name == "day" and len(words) == 2 and words[0] in _ORDINALS and words[1] in _WEEKDAYS:
        return Nth(_WEEKDAYS[words[1]], _ORDINALS[words[0]])
    return None


def _item(name: str, item: str) -> range:
    low, high = _RANGES[name]
    match = _ITEM.fullmatch(item)
    if match is None:
        raise CronSyntaxError(f"{item!r} is not understood in the field {_LABELS.get(name, name)}.")
    step = int(match["step"] or 1)
    if step == 0:
        raise CronSyntaxError(f"{item!r}: a step of 0 in the field {_LABELS.get(name, name)} would never move on.")
    if match["first"] == "*":
        if match["last"]:
            raise CronSyntaxError(f"{item!r} is not understood in the field {_LABELS.get(name, name)}.")
        return range(low, (6 if name == "day_of_week" else high) + 1, step)
    first = _number(name, match["first"], item)
    if match["last"]:
        last = _number(name, match["last"], item)
        if name == "day_of_week" and last == 0:
            last = 7  # fri-sun
    else:
        last = high if match["step"] else first
    if first > last:
        raise CronSyntaxError(f"{item!r}: the range in the field {_LABELS.get(name, name)} ends before it starts.")
    return range(first, last + 1, step)


def _number(name: str, text: str, item: str) -> int:
    names = {"month": _MONTHS, "day_of_week": _WEEKDAYS}.get(name, {})
    low, high = _RANGES[name]
    if text in names:
        return names[text]
    if not text.isdigit() or not low <= int(text) <= high:
        words = f", or {', '.join(names)}" if names else ""
        raise CronSyntaxError(f"{item!r}: the field {_LABELS.get(name, name)} goes from {low} to {high}{words}.")
    return int(text)


def _limit(name: str, text: str) -> None:
    if not text.strip() or len(text) > _LENGTH_MAX:
        raise CronSyntaxError(f"The field {_LABELS.get(name, name)} is empty or longer than {_LENGTH_MAX} characters.")
