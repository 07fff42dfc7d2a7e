"""Triggers and jobs as dictionaries, and APScheduler's meaning of a trigger as ours."""

from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from apscheduler.triggers.calendarinterval import CalendarIntervalTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.cron.fields import DEFAULT_VALUES
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from whalefall.scheduler.core.triggers import TriggerSpec
from whalefall.scheduler.errors import JobDeclarationError

if TYPE_CHECKING:
    from whalefall.compat.flask_apscheduler.job import Job

_TRIGGER_ARGUMENTS = {
    "date": ("run_date", "timezone"),
    "interval": ("weeks", "days", "hours", "minutes", "seconds", "start_date", "end_date", "timezone", "jitter"),
    "cron": (
        "year", "month", "day", "week", "day_of_week", "hour", "minute", "second",
        "start_date", "end_date", "timezone", "jitter",
    ),
}  # fmt: skip
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # APScheduler's 0 is Monday
_MONDAY = datetime(2024, 1, 1, tzinfo=UTC)


def job_to_dict(job: "Job") -> "OrderedDict[str, Any]":
    """As the REST API shows it."""
    data: OrderedDict[str, Any] = OrderedDict(
        id=job.id, name=job.name, func=job.func_ref, args=list(job.args), kwargs=dict(job.kwargs)
    )
    data.update(trigger_to_dict(job.trigger))
    data["misfire_grace_time"] = job.misfire_grace_time
    data["max_instances"] = job.max_instances
    data["next_run_time"] = job.next_run_time
    return data


def pop_trigger(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Takes the trigger and its arguments out of `data`."""
    name = data.pop("trigger")
    if name not in _TRIGGER_ARGUMENTS:
        raise ValueError(f"Trigger {name} is not supported.")
    return name, {key: data.pop(key) for key in _TRIGGER_ARGUMENTS[name] if key in data}


def trigger_to_dict(trigger: Any) -> "OrderedDict[str, Any]":
    """APScheduler's trigger objects as plain values."""
    data: OrderedDict[str, Any] = OrderedDict()
    if isinstance(trigger, DateTrigger):
        data.update(trigger="date", run_date=trigger.run_date)
    elif isinstance(trigger, IntervalTrigger):
        data.update(trigger="interval", start_date=trigger.start_date)
        if trigger.end_date:
            data["end_date"] = trigger.end_date
        names = ("weeks", "days", "hours", "minutes", "seconds")
        data.update(
            {name: value for name, value in zip(names, extract_timedelta(trigger.interval), strict=True) if value}
        )
    elif isinstance(trigger, CronTrigger):
        data["trigger"] = "cron"
        data.update({name: value for name in ("start_date", "end_date") if (value := getattr(trigger, name))})
        data.update({field.name: str(field) for field in trigger.fields if not field.is_default})
    else:
        data["trigger"] = str(trigger)
    return data


def fix_job_def(job_def: dict[str, Any]) -> None:
    """A trigger given as {"type": "cron", …} becomes flat."""
    trigger = job_def.get("trigger")
    if isinstance(trigger, Mapping):
        flat = dict(trigger)
        job_def["trigger"] = flat.pop("type", "date")
        job_def.update(flat)


def extract_timedelta(delta: timedelta) -> tuple[int, int, int, int, int]:
    """weeks, days, hours, minutes, seconds"""
    weeks, days = divmod(delta.days, 7)
    minutes, seconds = divmod(delta.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return weeks, days, hours, minutes, seconds


def bytes_to_wsgi(data: bytes) -> str:
    """As WSGI has bytes: one character for each."""
    return data.decode("latin1")


def wsgi_to_bytes(data: str | bytes) -> bytes:
    return data if isinstance(data, bytes) else data.encode("latin1")


def our_trigger(trigger: Any, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """APScheduler's words as ours: weekday numbers become names, and day and weekday must both match.

    Raises JobDeclarationError for a trigger that has no JSON form.
    """
    if trigger is None:
        return "date", {}
    if not isinstance(trigger, str):
        return _from_object(trigger)
    if trigger != "cron":
        return trigger, arguments
    return "cron", {**arguments, **_weekday_by_name(arguments), "match": "both"}


def apscheduler_trigger(spec: TriggerSpec, timezone: str, anchor: datetime) -> Any:
    """Our trigger as APScheduler's object, for those who look at `job.trigger`."""
    if spec["type"] == "cron":
        edges = {f"{name}_date": spec.get(name) for name in ("start", "end")}
        return CronTrigger(**_as_said(spec["fields"]), **edges, timezone=timezone)
    if spec["type"] == "interval":
        start = spec.get("start") or anchor + timedelta(seconds=spec["seconds"])
        return IntervalTrigger(seconds=spec["seconds"], start_date=start, end_date=spec.get("end"), timezone=timezone)
    if spec["type"] == "calendarinterval":
        return CalendarIntervalTrigger(**spec["fields"], timezone=timezone)
    return DateTrigger(spec["at"], timezone)


def _as_said(fields: Mapping[str, str]) -> dict[str, str]:
    """Without the fields that APScheduler would fill in itself: after the last one said, each has its lowest value."""
    written = {name: fields.get(name, "*") for name in CronTrigger.FIELD_NAMES}
    names = list(written)
    while names and written[names[-1]] == str(DEFAULT_VALUES[names[-1]]):
        names.pop()
    if not names or written[names[-1]] == "*":  # the next one is what makes it less than "always"
        names += [name for name in written if name not in names and written[name] != "*"][:1]
    return {name: written[name] for name in names if written[name] != "*"}


def _weekday_by_name(arguments: Mapping[str, Any]) -> dict[str, str]:
    written = arguments.get("day_of_week")
    if written is None or str(written) == "*":
        return {}
    field = next(f for f in CronTrigger(day_of_week=written, timezone=UTC).fields if f.name == "day_of_week")
    days = [_MONDAY + timedelta(days=number) for number in range(7)]
    names = [name for name, day in zip(_WEEKDAYS, days, strict=True) if field.get_next_value(day) == day.weekday()]
    return {"day_of_week": "*" if len(names) == len(_WEEKDAYS) else ",".join(names)}


def _from_object(trigger: Any) -> tuple[str, dict[str, Any]]:
    zone = {"timezone": str(trigger.timezone)} if getattr(trigger, "timezone", None) is not None else {}
    jitter = {"jitter": trigger.jitter} if getattr(trigger, "jitter", None) else {}
    if isinstance(trigger, CronTrigger):
        fields = {field.name: str(field) for field in trigger.fields if not field.is_default}
        edges = {"start_date": trigger.start_date, "end_date": trigger.end_date}
        return our_trigger("cron", {**fields, **edges, **zone, **jitter})
    if isinstance(trigger, IntervalTrigger):
        # Without a start of its own it begins at its making: another one for each process. Ours has a stored origin.
        made_now = abs(trigger.start_date - trigger.interval - datetime.now(UTC)) < timedelta(seconds=5)
        start = {} if made_now else {"start_date": trigger.start_date}
        return "interval", {"seconds": trigger.interval_length, **start, "end_date": trigger.end_date, **zone, **jitter}
    if isinstance(trigger, DateTrigger):
        return "date", {"run_date": trigger.run_date}
    raise JobDeclarationError(
        f"{trigger!r} cannot be stored as JSON; write a cron, interval, date or calendarinterval trigger instead."
    )
