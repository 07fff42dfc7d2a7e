"""What a person does with jobs and runs. Every verb goes through the ledger, so it works in any process."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from whalefall.scheduler import represent
from whalefall.scheduler.core.nights import YEAR, odd_nights
from whalefall.scheduler.core.triggers import Trigger, TriggerError, TriggerSpec, build_trigger, cron_spec
from whalefall.scheduler.errors import InvalidArguments, InvalidTrigger, JobConflict
from whalefall.scheduler.functions import check_arguments
from whalefall.scheduler.ledger.history import Wanted
from whalefall.scheduler.ledger.ledger import refuse_broken
from whalefall.scheduler.ledger.records import JobRecord
from whalefall.scheduler.state import SchedulerState
from whalefall.scheduler.views import JobPage, JobView, ReloadReport, RunPage, RunView, SchedulerHealth
from whalefall.scheduler.watchman import CLOCK_BACK, Alarm, clock_set_back, look
from whalefall.scheduler.why import why

PAGE_MAX = 500  # runs of one page
PREVIEW_MAX = 1000  # fires of one preview
_DEDUPE_MAX = 190  # characters of an idempotency key
_OVERDUE_S = 30.0  # a fire or a start later than this counts as backlog
_TICK_OLD_S = 20.0  # the leader tells its last tick every few seconds; older means that its loop hangs


class JobAdmin:
    """Of one app. `actor` is who did it, for the record."""

    def __init__(self, state: SchedulerState) -> None:
        self._state = state

    def list_jobs(self, job_ids: Sequence[str] | None = None) -> list[JobView]:
        """By id; all, or those of `job_ids` that exist."""
        ledger = self._state.ledger
        records = ledger.jobs(job_ids)
        last = ledger.last_runs([record.job_id for record in records])
        now = ledger.now()
        return [represent.job_view(record, last.get(record.job_id), now) for record in records]

    def page_of_jobs(self, *, text: str = "", limit: int = 50, offset: int = 0) -> JobPage:
        """Jobs in whose id, name or description `text` occurs; as quick among ten thousand as among ten."""
        job_ids, count = self._state.ledger.page_of_job_ids(text, min(max(limit, 1), PAGE_MAX), max(offset, 0))
        views = {view.id: view for view in self.list_jobs(job_ids)}
        return JobPage([views[job_id] for job_id in job_ids if job_id in views], count)

    def get_job(self, job_id: str) -> JobView:
        """Raises JobNotFound."""
        ledger = self._state.ledger
        record = ledger.job(job_id)
        return represent.job_view(record, ledger.last_runs([job_id]).get(job_id), ledger.now())

    def edit_trigger(self, job_id: str, cron_expression: str, *, actor: str, version: int | None = None) -> JobView:
        """5, 6 or 7 fields. The edit survives deploys. Raises JobNotFound, InvalidTrigger, JobConflict."""
        self._edit(job_id, _spec(cron_expression), actor, version)
        return self._changed(job_id)

    def reset_trigger(self, job_id: str, *, actor: str) -> JobView:
        """Back to what the code declares."""
        self._edit(job_id, None, actor, None)
        return self._changed(job_id)

    def pause(self, job_id: str, *, actor: str, reason: str = "", until: datetime | None = None) -> JobView:
        """Instants in a pause are recorded as skipped. `until` (aware) ends the pause by itself."""
        if until is not None and until.tzinfo is None:
            raise InvalidArguments("The end of a pause needs a time zone, like 2026-12-31T18:00:00+00:00.")
        if until is not None and until <= self._state.ledger.now():
            raise InvalidArguments("The end of the pause has passed already.")
        self._state.ledger.pause(job_id, actor, reason, until)
        return self._changed(job_id)

    def resume(self, job_id: str, *, actor: str) -> JobView:
        """Does nothing to a job that is not paused."""
        self._state.ledger.resume(job_id, actor)
        return self._changed(job_id)

    def run_now(
        self,
        job_id: str,
        *,
        actor: str,
        args: dict[str, Any] | None = None,
        reason: str = "",
        dedupe: str | None = None,
    ) -> str:
        """Queues a run and answers its run_id. `args` are keyword arguments; `dedupe` makes asking twice run once.

        Raises JobNotFound, InvalidArguments, JobConflict.
        """
        record = self._state.ledger.job(job_id)
        if dedupe is not None and not 0 < len(dedupe) <= _DEDUPE_MAX:
            raise InvalidArguments(f"An idempotency key has 1 to {_DEDUPE_MAX} characters.")
        self._check(record, args or {})
        run_id = self._state.ledger.run_now(job_id, actor=actor, args=args, reason=reason, dedupe=dedupe)
        self._state.wake()
        return run_id

    def rerun(self, run_id: str, *, actor: str) -> str:
        """The job of an earlier run once more, with that run's arguments. Raises RunNotFound, and as `run_now`."""
        old = self._state.ledger.run(run_id)
        return self.run_now(old.job_id, actor=actor, args=old.args, reason=f"again, after {run_id}")

    def reload(self, *, actor: str) -> ReloadReport:
        """Re-reads the declarations of this process; edits and pauses survive, deleted jobs come back."""
        done = self._state.reconcile(undelete=True, actor=actor)
        self._state.wake()
        return ReloadReport(deleted=list(done.retired), reloaded=list(done.declared))

    def delete(self, job_id: str, *, actor: str) -> None:
        self._state.ledger.delete(job_id, actor)
        self._state.wake()

    def preview(self, job_id: str, cron_expression: str | None = None, count: int = 20) -> list[datetime]:
        """The next `count` fires, of the trigger in effect or of another expression. Raises InvalidTrigger."""
        trigger = self._trigger(job_id, cron_expression)
        fires: list[datetime] = []
        instant = trigger.next_after(self._state.ledger.now()) if trigger is not None else None
        while trigger is not None and instant is not None and len(fires) < min(count, PREVIEW_MAX):
            fires.append(instant)
            instant = trigger.next_after(instant)
        return fires

    def odd_nights(self, job_id: str, cron_expression: str | None = None) -> list[str]:
        """What the next changes of the clocks would do to the job, a sentence a night. Raises InvalidTrigger."""
        trigger = self._trigger(job_id, cron_expression)
        now = self._state.ledger.now()
        return [] if trigger is None else odd_nights(trigger, now, now + YEAR)

    def list_runs(
        self,
        *,
        job_id: str | None = None,
        state: str | None = None,
        source: str | None = None,
        before: str | None = None,
        after: str | None = None,
        oldest_first: bool = False,
        limit: int = 50,
    ) -> RunPage:
        """Newest first; `before` is the `next` of the page before, or `after` when the oldest come first."""
        size = min(max(limit, 1), PAGE_MAX)
        wanted = Wanted(job_id, state, source, before, size + 1, after=after, oldest_first=oldest_first)
        records = self._state.ledger.page(wanted)
        more = len(records) > size
        return RunPage(
            [represent.run_view(record) for record in records[:size]], records[size - 1].run_id if more else None
        )

    def get_run(self, run_id: str) -> RunView:
        """Raises RunNotFound."""
        return represent.run_view(self._state.ledger.run(run_id))

    def cancel_run(self, run_id: str, *, actor: str) -> None:
        """A waiting run ends at once, a running one is asked to. Raises RunNotFound, JobConflict."""
        self._state.ledger.cancel(run_id, actor)
        self._state.wake()

    def health(self) -> SchedulerHealth:
        """As the ledger shows it, the same from every process."""
        ledger = self._state.ledger
        lease, backlog = ledger.lease(), ledger.backlog(_OVERDUE_S)
        peek = ledger.peek("")
        standbys = tuple(represent.standby(record) for record in ledger.standbys())
        if lease is None:
            why = "no scheduler has ever run"
            return SchedulerHealth(None, 0, None, peek.next_fire_at, backlog, False, why, standbys)
        age_s = (lease.now - lease.ticked_at).total_seconds()
        ahead = clock_set_back(lease, lease.now, None)
        reason = ""
        if not lease.alive:
            reason = f"no scheduler leads since {lease.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        elif ahead > CLOCK_BACK:
            reason = (
                f"the database's clock is {ahead.total_seconds():.0f} s behind the leader's last tick: it was set back"
            )
        elif age_s > _TICK_OLD_S:
            reason = f"the loop of {lease.holder} has not turned for {age_s:.0f} s"
        elif backlog:
            reason = f"{backlog} fires or starts are late by more than {_OVERDUE_S:.0f} s"
        return SchedulerHealth(
            leader=lease.holder if lease.alive else None,
            term=lease.term,
            last_tick_age_s=age_s,
            next_fire_at=peek.next_fire_at,
            backlog=backlog,
            healthy=not reason,
            reason=reason,
            standbys=standbys,
        )

    def alarms(self) -> list[Alarm]:
        """What a person should know now (`watchman.Kind` lists what that may be). Works in any process."""
        return look(self._state.ledger)

    def why(self, job_id: str, moment: datetime) -> list[str]:
        """Sentences: why the job ran, or did not, at that moment (aware). Raises JobNotFound."""
        return why(self._state.ledger, job_id, moment)

    def _trigger(self, job_id: str, cron_expression: str | None) -> Trigger | None:
        """None where the job's own cannot be computed: the job says why, in its `broken_reason`."""
        record = self._state.ledger.job(job_id)
        spec = record.effective_trigger if cron_expression is None else _spec(cron_expression)
        try:
            return build_trigger(spec, timezone=record.timezone, anchor=record.anchor, dst=record.policies.dst)
        except TriggerError as error:
            if cron_expression is None:
                return None
            raise InvalidTrigger(str(error)) from None

    def _edit(self, job_id: str, spec: TriggerSpec | None, actor: str, version: int | None) -> None:
        try:
            self._state.ledger.edit_trigger(job_id, spec, actor, version)
        except TriggerError as error:  # its time zone is gone, or what the code says means nothing here
            raise InvalidTrigger(str(error)) from None

    def _changed(self, job_id: str) -> JobView:
        self._state.wake()
        return self.get_job(job_id)

    def _check(self, record: JobRecord, args: object) -> None:
        if not isinstance(args, Mapping) or not all(isinstance(name, str) for name in args):
            raise InvalidArguments("The arguments of a run are an object: names and values.")
        refuse_broken(record)
        try:
            function = self._state.function(record.job_id, record.func_ref)
        except Exception as error:
            raise JobConflict(
                f"The function {record.func_ref} of job {record.job_id!r} cannot be imported: {error}"
            ) from error
        check_arguments(function, record.args, {**record.kwargs, **args})


def _spec(cron_expression: str) -> TriggerSpec:
    try:
        return cron_spec(cron_expression)
    except TriggerError as error:
        raise InvalidTrigger(str(error)) from None
