"""From the scheduler's views to what the API shows: plain mappings, nothing decided here."""

import dataclasses
from typing import Any

from whalefall.scheduler import JobView, RunView, SchedulerHealth


def job(view: JobView) -> dict[str, Any]:
    """A job in the list."""
    return {
        "id": view.id,
        "task_id": view.id,
        "name": view.name,
        "task_name": view.name,
        "description": view.description or "",
        "next_run_time": view.next_run_time,
        "last_run_time": view.last_run_time,
        "trigger_type": view.trigger_type,
        "trigger_args": view.trigger_args,
        "cron_expression": view.cron_expression,
        "timezone": view.timezone,
        "state": view.state,
        "paused_until": view.paused_until,
        "pause_reason": view.pause_reason,
        "broken_reason": view.broken_reason,
        "is_builtin": view.is_builtin,
        "editable_fields": list(view.editable_fields),
        "func": view.func,
        "args": list(view.args),
        "kwargs": dict(view.kwargs),
        "source": view.source,
    }


def job_detail(view: JobView) -> dict[str, Any]:
    """A job with what only its own page needs."""
    return job(view) | {
        "trigger": trigger_text(view),
        "func_ref": view.func_ref,
        "misfire_grace_time": view.misfire_grace_time,
        "max_instances": view.max_instances,
        "coalesce": view.coalesce,
    }


def trigger_text(view: JobView) -> str:
    """`cron[30 2 * * *]`, `interval[minutes=5]`: for people and for logs."""
    inner = view.cron_expression or ", ".join(f"{name}={value}" for name, value in view.trigger_args.items())
    return f"{view.trigger_type}[{inner}]"


def trigger(view: JobView) -> dict[str, Any]:
    """What the audit trail keeps of an edit."""
    return {"trigger": trigger_text(view), "source": view.source}


def pause(view: JobView) -> dict[str, Any]:
    """What the audit trail keeps of a pause and of its end."""
    return {"state": view.state, "until": view.paused_until, "reason": view.pause_reason}


def run(view: RunView) -> dict[str, Any]:
    """A run in the list."""
    names = (
        "run_id",
        "job_id",
        "source",
        "scheduled_at",
        "state",
        "attempt",
        "started_at",
        "finished_at",
        "duration_s",
        "lateness_s",
        "progress",
        "progress_text",
        "created_by",
        "reason",
        "note",
    )
    return {name: getattr(view, name) for name in names}


def run_detail(view: RunView) -> dict[str, Any]:
    """A run with its output and its error."""
    return run(view) | {"output": view.output, "error": view.error}


def health(view: SchedulerHealth) -> dict[str, Any]:
    """The strip on top of the scheduler's page."""
    names = ("leader", "term", "last_tick_age_s", "next_fire_at", "backlog", "healthy", "reason")
    standbys = [dataclasses.asdict(standby) for standby in view.standbys]
    return {name: getattr(view, name) for name in names} | {"standbys": standbys}
