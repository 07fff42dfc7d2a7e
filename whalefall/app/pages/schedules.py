"""Schedules in words: the scheduler room's own in English, the common ones in Chinese, else the cron expression."""

import re

from whalefall.app.language import language, translate
from whalefall.app.pages.show import duration
from whalefall.scheduler import JobView

_UNITS = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
_EVERY = re.compile(r"\*/(\d+)\Z")
_NUMBER = re.compile(r"\d+\Z")
_DAYS = re.compile(r"[a-z]{3}(?:[-,][a-z]{3})*\Z")


def schedule_words(job: JobView) -> str:
    """When the job fires, for a table cell."""
    if language() == "en":
        return job.trigger_words or job.cron_expression or job.trigger_type
    if job.trigger_type == "interval":
        seconds = sum(float(job.trigger_args.get(name, 0)) * size for name, size in _UNITS.items())
        return translate("every %(time)s", time=_length(seconds))
    if job.trigger_type == "date":
        return translate("once")
    return _cron_words(job.trigger_args) or job.cron_expression or job.trigger_type


def _length(seconds: float) -> str:
    """A length that somebody chose, not measured: 2 s, not 2.0 s."""
    return f"{seconds:g} {translate('s')}" if 1 <= seconds < 60 else duration(seconds)


def _cron_words(fields: dict[str, str]) -> str:
    get = fields.get
    if any(get(name, "*") != "*" for name in ("year", "month", "week")):
        return ""
    second, minute, hour = get("second", "0"), get("minute", "*"), get("hour", "*")
    day, weekday = get("day", "*"), get("day_of_week", "*")
    if day == weekday == "*":
        return _within_a_day(second, minute, hour)
    if second != "0" or not (_NUMBER.match(minute) and _NUMBER.match(hour)):
        return ""
    clock = f"{int(hour):02}:{int(minute):02}"
    if day == "*" and _DAYS.match(weekday):
        days = re.sub(r"[a-z]{3}", lambda found: translate(found[0]), weekday).replace("-", "\N{EN DASH}")
        return translate("%(days)s at %(clock)s", days=days.replace(",", ", "), clock=clock)
    if weekday == "*" and _NUMBER.match(day):
        return translate("on day %(day)s at %(clock)s", day=day, clock=clock)
    return ""


def _within_a_day(second: str, minute: str, hour: str) -> str:
    """Fields that repeat every day; "" when they have no short words."""
    for field, below, above, size in ((second, None, (minute, hour), 1), (minute, second, (hour,), 60)):
        if all(other == "*" for other in above) and below in (None, "0"):
            if found := _EVERY.match(field):
                return translate("every %(time)s", time=_length(int(found[1]) * size))
            if field == "*":
                return translate("every %(time)s", time=_length(size))
    if second != "0" or not _NUMBER.match(minute):
        return ""
    if hour == "*":
        return translate("hourly at :%(minute)s", minute=f"{int(minute):02}")
    if found := _EVERY.match(hour):
        return translate("every %(time)s", time=_length(int(found[1]) * 3_600)) if minute == "0" else ""
    return translate("daily at %(clock)s", clock=f"{int(hour):02}:{int(minute):02}") if _NUMBER.match(hour) else ""
