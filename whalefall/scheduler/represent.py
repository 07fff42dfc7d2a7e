"""From the ledger's records to what the outside sees: plain conversions."""

from datetime import datetime, timedelta

from whalefall.scheduler.core.cron import FIELDS
from whalefall.scheduler.core.triggers import TriggerError, TriggerSpec, cron_of
from whalefall.scheduler.core.words import in_words
from whalefall.scheduler.holders import host_and_pid
from whalefall.scheduler.ledger.records import JobRecord, LastRun, RunRecord, StandbyRecord
from whalefall.scheduler.views import JobView, RunView, Standby


def job_view(record: JobRecord, last: LastRun | None, now: datetime) -> JobView:
    """`now` is the database's: a pause that has ended by it is shown as ended."""
    spec = record.effective_trigger
    pause = record.pause
    paused = pause is not None and pause.covers(now)
    fires = record.fires and not paused and not record.broken_reason
    next_run_time = record.next_fire_at if fires else None
    return JobView(
        id=record.job_id,
        name=record.name,
        description=record.description,
        func=record.func_ref.rpartition(":")[2].rpartition(".")[2],
        func_ref=record.func_ref,
        trigger_type=spec["type"],
        trigger_args=trigger_args(spec),
        cron_expression=cron_expression(spec),
        timezone=record.timezone,
        next_run_time=next_run_time,
        last_run_time=last.started_at if last else None,
        state="STATE_RUNNING" if next_run_time is not None else "STATE_PAUSED",
        paused_until=record.paused_until if paused else None,
        pause_reason=record.pause_reason if paused else "",
        broken_reason=record.broken_reason,
        is_builtin=record.is_builtin,
        editable_fields=("trigger",) if record.fires else (),
        args=record.args,
        kwargs=record.kwargs,
        misfire_grace_time=record.policies.misfire_grace_s,
        max_instances=record.policies.max_instances,
        coalesce=record.policies.catch_up != "all",
        source=source_of(record),
        trigger_words=in_words(spec),
        paused_by=record.paused_by if paused else "",
        code_cron_expression=cron_expression(record.code_trigger) if record.code_trigger else None,
        policies=record.policies.to_json(),
        last_state=str(last.state) if last else None,
        version=record.version,
    )


def source_of(record: JobRecord) -> str:
    if not record.fires:
        return "retired"
    if record.broken_reason:
        return "broken"
    if record.override_trigger is not None:
        return "edited"
    return record.origin


def cron_expression(spec: TriggerSpec) -> str | None:
    if spec["type"] != "cron":
        return None
    try:
        return cron_of(spec).expression
    except (TriggerError, AttributeError, KeyError, TypeError):
        return None


def trigger_args(spec: TriggerSpec) -> dict[str, str]:
    """second … year for cron; what was said for the others."""
    stored = spec.get("fields")
    fields = stored if isinstance(stored, dict) else {}  # a job in quarantine is shown, too
    if spec["type"] == "cron":
        return {name: fields.get(name, "*") for name in FIELDS} | ({"week": fields["week"]} if "week" in fields else {})
    if spec["type"] == "interval" and isinstance(spec.get("seconds"), int | float):
        return _interval_args(spec["seconds"])
    if spec["type"] == "date":
        return {"run_date": str(spec.get("at"))}
    return {name: str(value) for name, value in fields.items()}


def run_view(record: RunRecord) -> RunView:
    started, finished = record.started_at, record.finished_at
    return RunView(
        run_id=record.run_id,
        job_id=record.job_id,
        source=record.source,
        scheduled_at=record.scheduled_at,
        state=str(record.state),
        attempt=record.attempt,
        started_at=started,
        finished_at=finished,
        duration_s=(finished - started).total_seconds() if started and finished else None,
        lateness_s=(started - record.scheduled_at).total_seconds() if started else None,
        progress=record.progress,
        progress_text=record.progress_text,
        output=record.output,
        error=record.error,
        created_by=record.created_by,
        reason=record.reason or record.note,
        note=record.note,
        claimed_by=record.claimed_by,
        fired_by=record.fired_by,
        fired_term=record.fired_term,
        span_end=record.span_end,
        span_count=record.span_count,
        args=record.args,
        cancel_requested=record.cancel_requested,
    )


def standby(record: StandbyRecord) -> Standby:
    host, pid = host_and_pid(record.holder)
    return Standby(record.holder, host, pid, record.since, record.seen_at)


def _interval_args(seconds: float) -> dict[str, str]:
    every = timedelta(seconds=seconds)
    for name, size in (("weeks", 604_800), ("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if every.total_seconds() % size == 0:
            return {name: str(int(every.total_seconds() // size))}
    return {"seconds": f"{seconds:g}"}
