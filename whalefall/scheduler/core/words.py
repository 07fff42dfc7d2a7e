"""A trigger in words, for people: "at 06:30, Monday to Friday". What has no short words shows its expression."""

from whalefall.scheduler.core.cron import Cron, CronSyntaxError, cron_from_fields
from whalefall.scheduler.core.triggers import TriggerSpec

_DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}
_TIMES_MAX = 4  # times of day that are still readable in a row
_UNITS = ((604_800, "week"), (86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def in_words(spec: TriggerSpec) -> str:
    """Never fails: it is shown beside jobs that may be broken."""
    match spec.get("type"):
        case "cron":
            try:
                return cron_in_words(cron_from_fields(spec["fields"], days_must_both_match=spec.get("match") == "both"))
            except (CronSyntaxError, AttributeError, KeyError, TypeError):
                return "a cron expression that means nothing"
        case "interval" if isinstance(spec.get("seconds"), int | float):
            return f"every {_length(spec['seconds'])}"
        case "date":
            return f"once, at {str(spec.get('at'))[:19].replace('T', ' ')} UTC"
        case "calendarinterval" if isinstance(spec.get("fields"), dict):
            return "every " + ", ".join(f"{value} {name}" for name, value in spec["fields"].items() if value)
    return "by an unknown trigger"


def cron_in_words(cron: Cron) -> str:
    """When in the day, then on which days, then in which months and years."""
    parts = [_time_of_day(cron), _days(cron), _months(cron)]
    if cron.years is not None:
        parts.append("in " + _listed([str(year) for year in sorted(cron.years)]))
    if cron.weeks is not None:
        parts.append("in the calendar weeks " + _listed([str(week) for week in sorted(cron.weeks)]))
    return ", ".join(part for part in parts if part)


def _time_of_day(cron: Cron) -> str:
    seconds, minutes, hours = cron.seconds, cron.minutes, cron.hours
    if len(seconds) == len(minutes) == 1 and len(hours) <= _TIMES_MAX:
        tail = f":{seconds[0]:02}" if seconds[0] else ""
        return "at " + _listed([f"{hour:02}:{minutes[0]:02}{tail}" for hour in hours])
    within = "" if len(hours) == 24 else f" from {hours[0]:02}:00 to {hours[-1]:02}:59"
    if len(seconds) > 1:
        step = _step(seconds, 60)
        if step and len(minutes) == 60:
            return f"every {_length(step)}{within}"
        return f"at the seconds of '{cron.expression}'"
    if len(minutes) > 1 and seconds[0] == 0:
        step = _step(minutes, 60)
        hours_are_whole = _step(hours, 24) == 1 or hours == tuple(range(hours[0], hours[-1] + 1))
        if step and hours_are_whole:
            return f"every {_length(step * 60)}{within}"
    if len(minutes) == 1 and seconds[0] == 0:
        step = _step(hours, 24)
        if step:
            every = "every hour" if step == 1 else f"every {step} hours"
            return f"{every} at minute {minutes[0]}" if minutes[0] else every
    return f"at the times of '{cron.expression}'"


def _days(cron: Cron) -> str:
    of_month = _days_of_month(cron) if cron.day.restricted else ""
    of_week = _days_of_week(cron) if cron.weekday.restricted else ""
    if of_month and of_week:
        return f"{of_month} {'and only if it is' if cron.days_must_both_match else 'and also'} {of_week}"
    return of_month or of_week


def _days_of_month(cron: Cron) -> str:
    names = [f"{number}." for number in sorted(cron.day.numbers)]
    names += [f"{_ORDINALS[nth.n]} {_DAYS[nth.weekday]}" for nth in sorted(cron.day.nth, key=str)]
    if cron.day.last:
        names.append("last day")
    return f"on the {_listed(names)} of the month"


def _days_of_week(cron: Cron) -> str:
    numbers = sorted(cron.weekday.numbers, key=lambda number: (number - 1) % 7)  # the week begins on Monday
    places = [(number - 1) % 7 for number in numbers]
    if len(places) > 2 and places == list(range(places[0], places[-1] + 1)):
        names = [f"{_DAYS[numbers[0]]} to {_DAYS[numbers[-1]]}"]
    else:
        names = [_DAYS[number] for number in numbers]
    names += [f"the {_ORDINALS[nth.n]} {_DAYS[nth.weekday]} of the month" for nth in sorted(cron.weekday.nth, key=str)]
    return ("" if names[0].count(" to ") else "on ") + _listed(names)


def _months(cron: Cron) -> str:
    if len(cron.months) == 12:
        return ""
    return "in " + _listed([_MONTHS[number - 1] for number in cron.months])


def _step(values: tuple[int, ...], size: int) -> int | None:
    """The n of `*/n`, if the values are just that."""
    if len(values) < 2:
        return None
    step = values[1] - values[0]
    return step if values == tuple(range(0, size, step)) else None


def _length(seconds: float) -> str:
    for size, name in _UNITS:
        if seconds % size == 0:
            count = int(seconds // size)
            return name if count == 1 else f"{count} {name}s"
    return f"{seconds:g} seconds"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
