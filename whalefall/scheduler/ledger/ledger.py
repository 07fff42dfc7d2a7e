"""The ledger's verbs, one transaction each. A database that does not answer becomes one sentence, LedgerUnavailable."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from whalefall.scheduler.core.runs import RunState, Source
from whalefall.scheduler.core.triggers import TriggerSpec
from whalefall.scheduler.errors import JobConflict, JobNotFound, LedgerUnavailable, RunNotFound
from whalefall.scheduler.ledger import events, fires, history, jobs, leases, news, overview, runs, standbys
from whalefall.scheduler.ledger.engine import compact, file_of, reading, writing
from whalefall.scheduler.ledger.history import Retention, Wanted
from whalefall.scheduler.ledger.migrate import migrate
from whalefall.scheduler.ledger.news import News
from whalefall.scheduler.ledger.reconcile import Code, Reconciled, first_cursor, reconcile, refuse_foreign
from whalefall.scheduler.ledger.records import (
    Claim,
    ClaimedRun,
    Ending,
    EventRecord,
    JobRecord,
    LastRun,
    LeaseRecord,
    Peek,
    RunRecord,
    Sign,
    StandbyRecord,
    Tenure,
    Trouble,
    WaitingRun,
)
from whalefall.scheduler.ledger.troubles import refuse_unwritable, sentences

Reached = Callable[[str], None]
Watcher = Callable[[Sequence[News]], None]

_log = logging.getLogger("whalefall.scheduler")


def _nothing(step: str) -> None:
    """The default of `reached`: tests put a process's death here."""


def _unknown(holder: str) -> bool:
    """Nobody is known to be dead."""
    return False


class Ledger:
    """One database. Safe to use from many threads; the schema is brought up to date at the first use."""

    def __init__(self, engine: Engine, *, reached: Reached = _nothing, watchers: Sequence[Watcher] = ()) -> None:
        """`watchers`, who may come later, hear after each commit what it did to runs."""
        self.engine = engine
        self._reached, self._watchers = reached, watchers
        self._migrated: tuple[int, ...] | None = None  # which file is; () for a server
        self._failure: LedgerUnavailable | None = None  # of the last try that was in vain
        self._migrating = threading.Lock()

    def prepare(self) -> None:
        """Migrates, once per process; and again if another file is at the path: it may be an older backup."""
        if self._migrated is not None and self._migrated == file_of(self.engine):
            return
        failure = self._failure
        with self._migrating:
            if self._failure is not failure:
                raise LedgerUnavailable(str(self._failure))  # tried in vain while we waited: not each for ten seconds
            try:
                self._migrate()
            except LedgerUnavailable as error:
                self._failure = error
                raise

    def _migrate(self) -> None:
        if self._migrated is None or self._migrated != file_of(self.engine):
            with sentences():
                migrate(self.engine)
            self._migrated = file_of(self.engine)

    def refuse_unwritable(self) -> None:
        """Raises LedgerUnavailable, with what is wrong and how to mend it, unless the ledger can be written now."""
        refuse_unwritable(self.engine)  # first: it has less patience
        self.prepare()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for looking."""
        self.prepare()
        with sentences(), reading(self.engine) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A connection for changing: all of it or nothing."""
        self.prepare()
        with sentences(), writing(self.engine) as connection, self._gathering(connection) as gathered:
            yield connection
        if gathered:
            self._tell(gathered)

    def _gathering(self, connection: Connection) -> AbstractContextManager[Sequence[News]]:
        return news.gathering(connection) if self._watchers else nullcontext(())

    def _tell(self, gathered: Sequence[News]) -> None:
        for watcher in self._watchers:
            try:
                watcher(gathered)
            except Exception:  # noqa: BLE001 - what is committed is committed, whatever a watcher makes of it
                _log.exception("a watcher of the ledger failed")

    def now(self) -> datetime:
        """The database's clock."""
        with self.reading() as connection:
            return jobs.now(connection)

    # Who leads

    def lease(self) -> LeaseRecord | None:
        with self.reading() as connection:
            return leases.read(connection)

    def take_lease(self, holder: str, ttl_s: float, is_dead: Callable[[str], bool] = _unknown) -> Tenure | None:
        """Only writes if the lease looks free, so that standbys do not queue for the leader's row.

        `is_dead` may know of a holder that it is certainly gone: then its lease need not run out.
        """
        lease = self.lease()
        held = lease is not None and lease.alive and lease.holder != holder
        if (
            lease is not None
            and held
            and lease.expires_at - lease.now > timedelta(seconds=leases.TTLS_BELIEVED * ttl_s)
        ):
            held = False  # written by a clock that was set back since; `leases.take` judges it once more
        orphan = lease is not None and held and is_dead(lease.holder)
        if held and not orphan:
            return None
        with self.writing() as connection:
            if orphan and lease is not None:
                leases.give_back(connection, Tenure(lease.holder, lease.term))
            return self._led(connection, holder, leases.take(connection, holder, ttl_s), lease)

    def seize_lease(self, holder: str, ttl_s: float) -> Tenure:
        lease = self.lease()
        with self.writing() as connection:
            tenure = self._led(connection, holder, leases.seize(connection, holder, ttl_s), lease)
            assert tenure is not None  # noqa: S101 - seizing never answers None
            return tenure

    def renew_lease(self, tenure: Tenure, ttl_s: float, tick_age_s: float) -> bool:
        with self.writing() as connection:
            return leases.renew(connection, tenure, ttl_s, tick_age_s)

    def give_lease_back(self, tenure: Tenure) -> None:
        with self.writing() as connection:
            leases.give_back(connection, tenure)

    def stand_by(self, holder: str, life_s: float) -> None:
        """Tells people that this scheduler is there, and does not lead."""
        with self.writing() as connection:
            standbys.tell(connection, holder, life_s)

    def leave_standby(self, holder: str) -> None:
        with self.writing() as connection:
            standbys.leave(connection, holder)

    def standbys(self) -> list[StandbyRecord]:
        with self.reading() as connection:
            return standbys.alive(connection)

    @staticmethod
    def _led(connection: Connection, holder: str, term: int | None, before: LeaseRecord | None) -> Tenure | None:
        if term is None:
            return None
        standbys.leave(connection, holder)
        if before is None or before.term != term:
            detail = {"term": term, "before": before.holder if before else "", "vacant_since": ""}
            if before is not None and not before.alive:
                detail["vacant_since"] = before.expires_at.isoformat()
            events.note(connection, "led", actor=holder, detail=detail)
        return Tenure(holder, term)

    # The loop

    def peek(self, holder: str) -> Peek:
        with self.reading() as connection:
            return runs.peek(connection, holder)

    def record_fires(self, tenure: Tenure, now: datetime, limit: int) -> fires.Fired:
        with self.writing() as connection:
            fired = fires.record(connection, tenure, now, limit, self._reached)
        self._reached("fire.committed")
        return fired

    def fire(self, tenure: Tenure, now: datetime | None, limit: int, offer: fires.Offer) -> fires.Fired:
        """Records and, if that was all that is due, claims what is offered a place: one commit for a fire, not two.

        `now`: None for the database's clock. Nothing starts before the commit.
        """
        self._reached("fire.asked")
        with self.writing() as connection:
            fired = fires.record(connection, tenure, now, limit, self._reached, offer=offer)
            if fired.claimed:
                self._reached("claim.written")
        self._reached("fire.committed")
        if fired.claimed:
            self._reached("claim.committed")
        return fired

    def claim(self, tenure: Tenure, executor: str, limit: int, lease_s: float) -> list[ClaimedRun]:
        with self.writing() as connection:
            claimed = runs.claim(connection, tenure, executor, limit, lease_s)
            if claimed:
                self._reached("claim.written")
        if claimed:
            self._reached("claim.committed")
        return claimed

    def to_send(self, tenure: Tenure, executor: str, limit: int, again_s: float) -> list[WaitingRun]:
        with self.writing() as connection:
            return runs.to_send(connection, tenure, executor, limit, again_s)

    def claim_one(self, run_id: str, holder: str, lease_s: float) -> ClaimedRun | None:
        with self.writing() as connection:
            return runs.claim_one(connection, run_id, holder, lease_s)

    def sweep(
        self, tenure: Tenure, is_dead: Callable[[str], bool] = _unknown, *, silence_counts: bool = True
    ) -> list[tuple[str, RunState]]:
        with self.writing() as connection:
            return runs.sweep(connection, tenure, is_dead, silence_counts=silence_counts)

    def refuse_foreign(self, code: Code) -> None:
        """Raises ForeignLedger before this application has changed anything."""
        with self.reading() as connection:
            refuse_foreign(jobs.owners(connection), code)

    def reconcile(self, code: Code) -> Reconciled:
        with self.writing() as connection:
            return reconcile(connection, code)

    # Runners

    def claims(self) -> list[Claim]:
        with self.reading() as connection:
            return runs.claims(connection)

    def inherit(self, claim: Claim, heir: str, lease_s: float) -> ClaimedRun | None:
        with self.writing() as connection:
            return runs.inherit(connection, claim, heir, lease_s)

    def keep_alive(self, holder: str, run_ids: Sequence[str], lease_s: float) -> dict[str, bool]:
        with self.writing() as connection:
            return runs.keep_alive(connection, holder, run_ids, lease_s)

    def tell(self, holder: str, signs: Sequence[Sign]) -> None:
        with self.writing() as connection:
            runs.tell(connection, holder, signs)

    def finish(self, holder: str, endings: Sequence[Ending]) -> list[str]:
        with self.writing() as connection:
            done = runs.finish(connection, holder, endings)
            self._reached("finish.written")
        self._reached("finish.committed")
        return done

    def finish_within(self, connection: Connection, ending: Ending, holder: str) -> None:
        """Ends a run in a transaction that its job has written in. Raises JobConflict if it is no longer ours."""
        if not runs.finish(connection, holder, [ending]):
            raise JobConflict(f"Run {ending.run_id!r} belongs to another runner by now; what it wrote does not count.")

    def return_unstarted(self, holder: str, run_ids: Sequence[str], *, again_in_s: float | None = None) -> None:
        with self.writing() as connection:
            runs.return_unstarted(connection, holder, run_ids, again_in_s)

    def note_late(self, holder: str, run_id: str, attempt: int, sentence: str) -> None:
        with self.writing() as connection:
            runs.note_late(connection, holder, run_id, attempt, sentence)

    def hand_back(self, holder: str, run_ids: Sequence[str], why: str) -> list[tuple[str, RunState]]:
        with self.writing() as connection:
            return runs.hand_back(connection, holder, run_ids, why)

    def cut_off(self, holder: str, run_ids: Sequence[str], why: str) -> list[tuple[str, RunState]]:
        with self.writing() as connection:
            return runs.cut_off(connection, holder, run_ids, why)

    def tell_what_was_cut_off(self, actor: str) -> dict[str, str]:
        with self.writing() as connection:
            return runs.tell_what_was_cut_off(connection, actor)

    @contextmanager
    def writing_for_a_job(self, idle_s: float) -> Iterator[Connection]:
        """A job's own transaction, in which its run ends too."""
        with self.writing() as connection:
            runs.take_time(connection, idle_s)
            yield connection

    # People

    def jobs(self, job_ids: Sequence[str] | None = None) -> list[JobRecord]:
        """By id; all, or those of `job_ids` that exist."""
        with self.reading() as connection:
            return jobs.every(connection) if job_ids is None else jobs.some(connection, job_ids)

    def page_of_job_ids(self, text: str, limit: int, offset: int) -> tuple[list[str], int]:
        """Ids of jobs in whose id, name or description `text` occurs, retired ones last; and how many there are."""
        with self.reading() as connection:
            return overview.page_of_ids(connection, text, limit, offset)

    def job(self, job_id: str) -> JobRecord:
        with self.reading() as connection:
            return _found(jobs.find(connection, job_id), job_id)

    def edit_trigger(self, job_id: str, spec: TriggerSpec | None, actor: str, version: int | None = None) -> None:
        """Stores an override, or removes it (None). Raises JobNotFound, JobConflict."""
        with self.writing() as connection:
            old = _found(jobs.hold(connection, job_id), job_id)
            if version is not None and version != old.version:
                raise JobConflict(f"Job {job_id!r} was changed by somebody else meanwhile; look at it again.")
            if not old.fires:
                raise JobConflict(f"Job {job_id!r} is gone from the code; it fires no more.")
            if spec is None and old.code_trigger is None:
                raise JobConflict(f"Job {job_id!r} was not declared in code, so there is no trigger to go back to.")
            now = jobs.now(connection)
            new = replace(old, override_trigger=spec)
            new = replace(new, next_fire_at=first_cursor(new, now))
            why = "edited" if spec is not None else "reset to the code's trigger"
            late = jobs.unfired(connection, old, now, f"its trigger was {why} by {actor} before it fired")
            fires.insert_new(connection, [fires.run_row(old, now=now, not_before=r["scheduled_at"], **r) for r in late])
            healed = jobs.has_bad_trigger(old)
            new = replace(new, broken_reason="" if healed else old.broken_reason)
            jobs.change(
                connection, old, override_trigger=spec, next_fire_at=new.next_fire_at, broken_reason=new.broken_reason
            )
            if healed:
                events.note(connection, "healed", job_id=job_id, actor=actor)
            jobs.note_schedule(connection, new, since=now, actor=actor, why=why)

    def change_job(self, job_id: str, **values: Any) -> None:
        """Other columns than the trigger: name, arguments, policies. A declared job gets its own back at a deploy."""
        with self.writing() as connection:
            jobs.change(connection, _found(jobs.hold(connection, job_id), job_id), **values)

    def pause(self, job_id: str, actor: str, reason: str, until: datetime | None) -> None:
        with self.writing() as connection:
            old = _found(jobs.hold(connection, job_id), job_id)
            now = jobs.now(connection)
            jobs.change(connection, old, paused_at=now, paused_until=until, paused_by=actor, pause_reason=reason)
            detail = {"reason": reason, "until": until.isoformat() if until else None}
            events.note(connection, "paused", job_id=job_id, actor=actor, detail=detail)

    def resume(self, job_id: str, actor: str) -> None:
        with self.writing() as connection:
            old = _found(jobs.hold(connection, job_id), job_id)
            if old.paused_at is None:
                return
            jobs.change(connection, old, paused_at=None, paused_until=None, paused_by="", pause_reason="")
            events.note(connection, "resumed", job_id=job_id, actor=actor, detail={"paused_by": old.paused_by})

    def delete(self, job_id: str, actor: str) -> None:
        """A job added at run time goes; a declared one is marked, and comes back with an explicit reload."""
        with self.writing() as connection:
            old = _found(jobs.hold(connection, job_id), job_id)
            now = jobs.now(connection)
            late = jobs.unfired(connection, old, now, f"the job was deleted by {actor}")
            fires.insert_new(connection, [fires.run_row(old, now=now, not_before=r["scheduled_at"], **r) for r in late])
            for waiting in history.alive(connection, job_id):
                runs.cancel(connection, waiting.run_id, actor)
            events.note(connection, "deleted", job_id=job_id, actor=actor)
            gone = replace(old, deleted_at=now, next_fire_at=None)
            jobs.note_schedule(connection, gone, since=now, actor=actor, why="deleted")
            if old.origin == "code":
                jobs.change(connection, old, deleted_at=now, next_fire_at=None)
            else:
                jobs.remove(connection, job_id)

    def add_job(self, record: JobRecord, actor: str, *, replace_existing: bool) -> None:
        """A job that no code declares. Raises JobConflict if the id is taken."""
        with self.writing() as connection:
            old = jobs.every_row(connection).get(record.job_id)
            if old is not None and old.fires and not replace_existing:
                raise JobConflict(f"There is a job {record.job_id!r} already.")
            if old is not None:
                jobs.remove(connection, record.job_id)
            now = jobs.now(connection)
            new = replace(record, created_at=now, updated_at=now, anchor=now.replace(microsecond=0))
            new = replace(new, next_fire_at=first_cursor(new, now))
            jobs.add(connection, [jobs.as_row(new)])
            jobs.note_schedule(connection, new, since=jobs.just_before(new.next_fire_at, now), actor=actor, why="added")

    def run_now(self, job_id: str, *, actor: str, args: dict[str, Any] | None, reason: str, dedupe: str | None) -> str:
        """Queues a run. With a dedupe key that was used before, answers that run instead."""
        with self.writing() as connection:
            record = _found(jobs.hold(connection, job_id), job_id)
            refuse_broken(record)
            if dedupe:
                known = history.with_dedupe(connection, job_id, dedupe)
                if known is not None:
                    return known
            now = jobs.now(connection)
            row = fires.run_row(
                record,
                now=now,
                source=Source.MANUAL,
                scheduled_at=now,
                not_before=now,
                args=args,
                created_by=actor,
                note=reason,
            )
            row["dedupe"] = dedupe or row["run_id"]
            fires.insert_new(connection, [row])
            return str(row["run_id"])

    def run(self, run_id: str) -> RunRecord:
        with self.reading() as connection:
            found = runs.find(connection, run_id)
        if found is None:
            raise RunNotFound(run_id)
        return found

    def cancel(self, run_id: str, actor: str) -> None:
        """Raises RunNotFound, and JobConflict if it has ended already."""
        with self.writing() as connection:
            if runs.cancel(connection, run_id, actor) is not None:
                return
            found = runs.find(connection, run_id)
        if found is None:
            raise RunNotFound(run_id)
        raise JobConflict(f"Run {run_id!r} has ended already: {found.state}.")

    # Looking back

    def page(self, wanted: Wanted) -> list[RunRecord]:
        with self.reading() as connection:
            return history.page(connection, wanted)

    def last_runs(self, job_ids: Sequence[str]) -> dict[str, LastRun]:
        with self.reading() as connection:
            return history.last_runs(connection, job_ids)

    def trouble(self, late_s: float, limit: int) -> Trouble:
        """What a watchman looks for, at most `limit` of each; a few short queries, however large the ledger is."""
        with self.reading() as connection:
            return Trouble(
                now=jobs.now(connection),
                lease=leases.read(connection),
                newest=history.newest_instant(connection),
                broken=jobs.broken(connection, limit),
                overdue=jobs.overdue(connection, late_s, limit),
                failing=history.failing(connection, limit),
                waiting=history.waiting(connection, late_s, limit),
                running=history.page(connection, Wanted(state=RunState.RUNNING, limit=limit)),
                missed=history.page(connection, Wanted(state=RunState.SKIPPED_LATE, limit=limit)),
            )

    def alive_runs(self, job_id: str | None = None) -> list[RunRecord]:
        with self.reading() as connection:
            return history.alive(connection, job_id)

    def backlog(self, late_s: float) -> int:
        with self.reading() as connection:
            return history.backlog(connection, late_s)

    def covering(self, job_id: str, start: datetime, end: datetime) -> list[RunRecord]:
        with self.reading() as connection:
            return history.covering(connection, job_id, start, end)

    def durations_s(self, job_id: str) -> list[float]:
        with self.reading() as connection:
            return history.durations_s(connection, job_id)

    def events_of(self, job_id: str, kinds: Sequence[str] = ()) -> list[EventRecord]:
        with self.reading() as connection:
            return events.of_job(connection, job_id, kinds)

    def newest_events(self, limit: int) -> list[EventRecord]:
        with self.reading() as connection:
            return events.newest(connection, limit)

    def attempts(self, run_id: str) -> list[Mapping[str, object]]:
        """The attempts before the last one."""
        with self.reading() as connection:
            return history.attempts(connection, run_id)

    def orphaned_job_ids(self) -> list[str]:
        """Jobs that exist only in history."""
        with self.reading() as connection:
            return history.orphaned_job_ids(connection)

    def prune_events(self, before: datetime) -> int:
        with self.writing() as connection:
            return events.prune(connection, before)

    def fast_forward(self, actor: str) -> list[str]:
        """Moves every cursor that lies in the past to now, and records what was passed over as skipped.

        For a ledger restored from a backup, whose instants did fire although it does not know. Answers the jobs moved.
        """
        moved = []
        with self.writing() as connection:
            now = jobs.now(connection)
            for record in jobs.every_row(connection).values():
                if record.next_fire_at is None or record.next_fire_at > now or jobs.uncomputable(record):
                    continue  # one without a trigger is put into quarantine by the next leader
                why = f"passed over by a fast-forward of {actor}"
                late = jobs.unfired(connection, record, now, why)
                fires.insert_new(
                    connection, [fires.run_row(record, now=now, not_before=r["scheduled_at"], **r) for r in late]
                )
                jobs.change(connection, record, next_fire_at=record.trigger().next_after(now))
                moved.append(record.job_id)
            events.note(connection, "fast_forward", actor=actor, detail={"jobs": moved})
        return sorted(moved)

    def compact(self) -> None:
        """Gives space back to the file system (SQLite) or to the tables (PostgreSQL)."""
        self.prepare()
        with sentences():
            compact(self.engine)

    def prune(self, job_id: str, retention: Retention) -> int:
        with self.writing() as connection:
            return history.prune(connection, job_id, retention)


def refuse_broken(record: JobRecord) -> None:
    """Raises JobConflict for a job that is in quarantine."""
    if record.broken_reason:
        raise JobConflict(
            f"Job {record.job_id!r} is broken and cannot run: {record.broken_reason.strip().splitlines()[-1]}"
        )


def _found(record: JobRecord | None, job_id: str) -> JobRecord:
    if record is None:
        raise JobNotFound(job_id)
    return record
