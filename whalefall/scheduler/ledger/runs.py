"""Verbs on runs: claim, keep alive, finish, cancel, sweep. Each write names the claim that it is entitled by.

A runner owns a run by (claimed_by, attempt). Every later write of that runner carries both; if another has taken the
run since, the write touches no row and the result is dropped: that is the fence.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Double, Integer, Text, bindparam, cast, func, insert, literal, or_, select, update

from whalefall.scheduler.clocks import elapsed_s
from whalefall.scheduler.core.policies import policies_of
from whalefall.scheduler.core.retries import reruns_after_crash
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger import events, leases, news
from whalefall.scheduler.ledger.dialects import (
    among,
    as_list,
    as_object,
    chunks,
    clock,
    clock_after,
    pairs,
)
from whalefall.scheduler.ledger.records import (
    Claim,
    ClaimedRun,
    Ending,
    Peek,
    RunRecord,
    Sign,
    Tenure,
    WaitingRun,
    run_record,
)
from whalefall.scheduler.ledger.schema import attempt, event, job, run

_OF_RUN = tuple(RunRecord.__dataclass_fields__)
_STATE = _OF_RUN.index("state")
_TOLD = (run.c.job_id, run.c.source, run.c.scheduled_at, run.c.started_at, run.c.finished_at)
_HOW = attrgetter(*(name for name in Ending.__dataclass_fields__ if name not in ("run_id", "started_s")))
_KEPT = pairs("kept")
_ENDED = pairs("ended")  # run_id, and when its code began
_BY_WHOM = literal("cancelled by ") + run.c.cancelled_by + literal(" while it ran")


def _running() -> Any:
    """How many runs of the same job are running."""
    other = run.alias("other")
    return (
        select(func.count())
        .select_from(other)
        .where(other.c.job_id == run.c.job_id, other.c.state == RunState.RUNNING)
        .correlate(run)
        .scalar_subquery()
    )


_OF_JOB = (
    job.c.func_ref.label("job_func_ref"),
    cast(job.c.args, Text).label("job_args"),
    cast(job.c.kwargs, Text).label("job_kwargs"),
    cast(job.c.policies, Text).label("job_policies"),
)


def _with_job(*, gone_too: bool = False) -> Any:
    """Runs with what is needed of their job; `gone_too`: also those whose job has no row any more."""
    return select(run, *_OF_JOB).select_from(run.join(job, job.c.job_id == run.c.job_id, isouter=gone_too))


def _startable_query(*conditions: Any) -> Any:
    running = _running()
    return (
        select(run.c.run_id, run.c.job_id, run.c.slots, running.label("running"), *_OF_JOB)
        .select_from(run.join(job, job.c.job_id == run.c.job_id))
        .where(
            run.c.state == RunState.QUEUED,
            run.c.executor == bindparam("executor"),
            run.c.not_before <= clock(),
            or_(run.c.slots == 0, running < run.c.slots),
            *conditions,
        )
        .order_by(run.c.not_before)  # and no further: then the index has the order, and the limit ends the search
        .limit(bindparam("most", type_=Integer))
    )


# Made once: to make one of these statements takes a millisecond, to have it answered a tenth of that.
_QUEUED = run.c.state == RunState.QUEUED
_PEEK = select(
    clock(),
    select(func.min(job.c.next_fire_at)).scalar_subquery(),
    select(func.min(run.c.not_before)).where(_QUEUED, run.c.not_before <= clock()).scalar_subquery(),
    select(func.min(run.c.not_before)).where(_QUEUED, run.c.not_before > clock()).scalar_subquery(),
    select(func.count())
    .select_from(run)
    .where(run.c.state == RunState.RUNNING, run.c.cancel_requested, run.c.claimed_by == bindparam("holder"))
    .scalar_subquery(),
)
_STARTABLE = _startable_query()
_TO_SEND = _startable_query(or_(run.c.lease_until.is_(None), run.c.lease_until < clock()))
_CLAIM = (
    update(run)
    .where(among(run.c.run_id, "run_ids"), _QUEUED)
    .values(
        state=RunState.RUNNING,
        attempt=run.c.attempt + 1,
        claimed_by=bindparam("runner"),
        started_at=clock(),
        lease_until=clock_after(bindparam("lease_s", type_=Double)),
        progress=None,
        progress_text="",
    )
    .returning(*(run.c[name] for name in _OF_RUN))
)


def peek(connection: Connection, holder: str) -> Peek:
    """What the loop needs to know, in one query over three small indexes."""
    row = connection.execute(_PEEK, {"holder": holder}).one()
    now, next_fire_at, waiting, next_start_at, cancels = row
    return Peek(now, next_fire_at, waiting is not None, next_start_at, bool(cancels))


def claim(connection: Connection, tenure: Tenure, executor: str, limit: int, lease_s: float) -> list[ClaimedRun]:
    """Makes up to `limit` waiting runs ours, never more of a job than its slots. Raises Deposed."""
    leases.prove(connection, tenure)
    candidates = {row.run_id: row for row in _startable(connection, _STARTABLE, executor, limit)}
    if not candidates:
        return []
    claimed = connection.execute(
        _CLAIM, {"run_ids": as_list(candidates), "runner": tenure.holder, "lease_s": lease_s}
    ).all()
    ours = {row.run_id: row for row in claimed}
    return [_claimed(ours[run_id], its_job) for run_id, its_job in candidates.items() if run_id in ours]


def to_send(connection: Connection, tenure: Tenure, executor: str, limit: int, again_s: float) -> list[WaitingRun]:
    """Runs that a worker elsewhere shall be told of, not told again for `again_s`. Raises Deposed.

    While a run is queued, `lease_until` says until when the message counts as on its way.
    """
    leases.prove(connection, tenure)
    rows = _startable(connection, _TO_SEND, executor, limit)
    for part in chunks([row.run_id for row in rows]):
        connection.execute(
            update(run)
            .where(run.c.run_id.in_(part), run.c.state == RunState.QUEUED)
            .values(lease_until=clock_after(again_s))
        )
    return [WaitingRun(row.run_id, row.job_id, policies_of(row.job_policies)) for row in rows]


def claim_one(connection: Connection, run_id: str, holder: str, lease_s: float) -> ClaimedRun | None:
    """For a worker elsewhere that was told of a run: None if somebody has it or had it, or its job has no free slot."""
    its_job = select(run.c.job_id).where(run.c.run_id == run_id).scalar_subquery()
    # Workers claim at the same time: one by one for each job, or both would see the last slot free.
    connection.execute(select(job.c.job_id).where(job.c.job_id == its_job).with_for_update())
    claimed = connection.execute(
        update(run)
        .where(run.c.run_id == run_id, run.c.state == RunState.QUEUED, or_(run.c.slots == 0, _running() < run.c.slots))
        .values(
            state=RunState.RUNNING,
            attempt=run.c.attempt + 1,
            claimed_by=holder,
            started_at=clock(),
            lease_until=clock_after(lease_s),
        )
        .returning(*(run.c[name] for name in _OF_RUN))
    ).first()
    if claimed is None:
        return None
    return _claimed(claimed, connection.execute(select(*_OF_JOB).where(job.c.job_id == claimed.job_id)).one())


def keep_alive(connection: Connection, holder: str, run_ids: Sequence[str], lease_s: float) -> dict[str, bool]:
    """Extends the leases of our runs. Answers those that are still ours, and whether they shall be cancelled."""
    rows = connection.execute(
        update(run)
        .where(run.c.run_id == _KEPT.c.key, run.c.claimed_by == holder, run.c.state == RunState.RUNNING)
        .values(lease_until=clock_after(lease_s))
        .returning(run.c.run_id, run.c.cancel_requested),
        {"kept": as_object(dict.fromkeys(run_ids))},
    )
    return {run_id: bool(cancel) for run_id, cancel in rows}


def tell(connection: Connection, holder: str, signs: Sequence[Sign]) -> None:
    """Progress and output so far."""
    if not signs:
        return
    connection.execute(
        update(run)
        .where(*_owned(holder))
        .values(progress=bindparam("p"), progress_text=bindparam("t"), output=bindparam("o")),
        [
            {"the_run": s.run_id, "the_attempt": s.attempt, "p": s.progress, "t": s.progress_text, "o": s.output}
            for s in signs
        ],
    )


def take_time(connection: Connection, idle_s: float) -> None:
    """A job writes in this transaction: its statements are its own affair, and between two it may work for `idle_s`.

    The limits of our own transactions guard the lease's row, which this one does not touch.
    """
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; "
            f"SET LOCAL idle_in_transaction_session_timeout = {idle_s * 1000:.0f}"
        )


def finish(connection: Connection, holder: str, endings: Sequence[Ending]) -> list[str]:
    """Writes when runs started and how they ended. Answers those that were ours to end; the others were fenced off."""
    now_s = elapsed_s()
    for ending in endings:
        if ending.retry_in_s is not None:
            _keep_attempt(connection, holder, ending, now_s)
    alike: dict[Any, list[Ending]] = defaultdict(list)  # thousands that ended alike are one statement
    for ending in endings:
        alike[_HOW(ending)].append(ending)
    done: list[str] = []
    told = _TOLD if news.are_gathered(connection) else ()
    for ended in alike.values():
        ending = ended[0]
        rows = connection.execute(
            update(run)
            .where(
                run.c.run_id == _ENDED.c.key,
                run.c.attempt == ending.attempt,
                run.c.claimed_by == holder,
                run.c.state == RunState.RUNNING,
            )
            .values(
                started_at=func.coalesce(clock_after(_ENDED.c.value), run.c.started_at),
                **(_back_to_queue(ending) if ending.retry_in_s is not None else _final(ending)),
            )
            .returning(run.c.run_id, *told),
            {"ended": as_object({each.run_id: _start_s(each, now_s) for each in ended})},
        ).all()
        done += [row.run_id for row in rows]
        state = ending.state if ending.retry_in_s is None else RunState.QUEUED
        news.note(connection, (news.ended(row, state, ending.attempt) for row in rows))
    return done


def claims(connection: Connection) -> list[Claim]:
    """All that runs, and who says so."""
    query = select(
        run.c.run_id, run.c.attempt, run.c.claimed_by, run.c.executor, (run.c.lease_until < clock()).label("expired")
    ).where(run.c.state == RunState.RUNNING)
    return [
        Claim(run_id, number, holder, executor, expired=bool(expired))
        for run_id, number, holder, executor, expired in connection.execute(query)
    ]


def inherit(connection: Connection, claim: Claim, heir: str, lease_s: float) -> ClaimedRun | None:
    """The same attempt with another runner, unless somebody has taken it, or ended it, since `claim` was read."""
    taken = connection.execute(
        update(run)
        .where(
            run.c.run_id == claim.run_id,
            run.c.attempt == claim.attempt,
            run.c.claimed_by == claim.holder,
            run.c.state == RunState.RUNNING,
        )
        .values(claimed_by=heir, lease_until=clock_after(lease_s))
    )
    row = connection.execute(_with_job().where(run.c.run_id == claim.run_id)).mappings().first()
    if not taken.rowcount or row is None:
        return None
    return ClaimedRun(
        run=RunRecord(**{name: row[name] for name in RunRecord.__dataclass_fields__}),
        func_ref=row["job_func_ref"],
        args=json.loads(row["job_args"]),
        kwargs={**json.loads(row["job_kwargs"]), **(row["args"] or {})},
        policies=policies_of(row["job_policies"]),
    )


def return_unstarted(
    connection: Connection, holder: str, run_ids: Sequence[str], again_in_s: float | None = None
) -> None:
    """Claimed, and never begun: back to the queue, as if nobody had touched it; not to be had for `again_in_s`."""
    later = {} if again_in_s is None else {"not_before": clock_after(again_in_s)}
    for part in chunks(run_ids):
        connection.execute(
            update(run)
            .where(run.c.run_id.in_(part), run.c.claimed_by == holder, run.c.state == RunState.RUNNING)
            .values(
                state=RunState.QUEUED,
                attempt=run.c.attempt - 1,
                claimed_by="",
                lease_until=None,
                started_at=None,
                **later,
            )
        )


def note_late(connection: Connection, holder: str, run_id: str, number: int, sentence: str) -> None:
    """What a runner says of an attempt that was given up as lost: kept beside it. It changes no state."""
    told = connection.execute(
        update(run)
        .where(
            run.c.run_id == run_id,
            run.c.attempt == number,
            run.c.claimed_by == holder,
            run.c.state == RunState.LOST,
        )
        .values(reason=run.c.reason + literal(f"; {sentence}"))
    )
    if told.rowcount:
        return
    connection.execute(
        update(attempt)
        .where(
            attempt.c.run_id == run_id,
            attempt.c.attempt == number,
            attempt.c.claimed_by == holder,
            attempt.c.state == RunState.LOST,
        )
        .values(error=attempt.c.error + literal(f"{sentence}\n"))
    )


def hand_back(connection: Connection, holder: str, run_ids: Sequence[str], why: str) -> list[tuple[str, RunState]]:
    """At the end of a stop: runs that go on in a dying process end as their job's on_crash says."""
    query = _with_job(gone_too=True).where(
        run.c.run_id.in_(run_ids), run.c.claimed_by == holder, run.c.state == RunState.RUNNING
    )
    return [_after_crash(connection, row, why) for row in connection.execute(locked_run(query)).mappings()]


def cut_off(connection: Connection, holder: str, run_ids: Sequence[str], why: str) -> list[tuple[str, RunState]]:
    """`hand_back`, remembered for the next start to tell."""
    handed = hand_back(connection, holder, run_ids, why)
    if handed:
        events.note(connection, "cut_off", actor=holder, detail={"runs": dict(handed)})
    return handed


def tell_what_was_cut_off(connection: Connection, actor: str) -> dict[str, str]:
    """Run → what became of it, of all stops since this was asked last."""
    told = select(func.max(event.c.event_id)).where(event.c.kind == "cut_off_told").scalar_subquery()
    query = select(event.c.detail).where(event.c.kind == "cut_off", event.c.event_id > func.coalesce(told, 0))
    found: dict[str, str] = {}
    for detail in connection.execute(query.order_by(event.c.event_id)).scalars():
        found |= detail["runs"]
    if found:
        events.note(connection, "cut_off_told", actor=actor)
    return found


def sweep(
    connection: Connection, tenure: Tenure, is_dead: Callable[[str], bool], *, silence_counts: bool = True
) -> list[tuple[str, RunState]]:
    """Ends or re-queues the runs whose runner has gone silent, or is known to be dead. Raises Deposed.

    A process may outlive its scheduler and be inherited by the next one: there only silence counts; and to whoever
    could not hear for a while, nobody's does.
    """
    leases.prove(connection, tenure)
    runners = connection.execute(select(run.c.claimed_by).distinct().where(run.c.state == RunState.RUNNING)).scalars()
    dead = [runner for runner in runners if is_dead(runner)]
    orphaned = (run.c.claimed_by.in_(dead), run.c.executor != "process")
    if dead:
        connection.execute(
            update(run).where(run.c.state == RunState.RUNNING, *orphaned).values(lease_until=clock_after(-1))
        )
    lost = (run.c.state == RunState.RUNNING, run.c.lease_until < clock(), *(() if silence_counts else orphaned))
    query = _with_job(gone_too=True).where(*lost).limit(500)
    swept = []
    for row in connection.execute(locked_run(query)).mappings().all():
        why = f"its runner {row['claimed_by']} stopped reporting"
        swept.append(_after_crash(connection, row, why))
    return swept


def find(connection: Connection, run_id: str) -> RunRecord | None:
    row = connection.execute(select(run).where(run.c.run_id == run_id)).mappings().first()
    return None if row is None else run_record(dict(row))


def cancel(connection: Connection, run_id: str, actor: str) -> RunState | None:
    """A waiting run ends here; a running one is asked to. Answers the state it was in, or None if it has ended."""
    waiting = connection.execute(
        update(run)
        .where(run.c.run_id == run_id, run.c.state == RunState.QUEUED)
        .values(
            state=RunState.CANCELLED,
            finished_at=clock(),
            cancelled_by=actor,
            reason=f"cancelled by {actor} before it started",
        )
        .returning(run.c.job_id, run.c.source)
    ).first()
    if waiting is not None:
        news.note(connection, [news.Ended(waiting.job_id, RunState.CANCELLED, waiting.source)])
        return RunState.QUEUED
    running = connection.execute(
        update(run)
        .where(run.c.run_id == run_id, run.c.state == RunState.RUNNING)
        .values(cancel_requested=True, cancelled_by=actor)
    )
    return RunState.RUNNING if running.rowcount else None


def locked_run(query: Any) -> Any:
    """Locks the run, not its job: an edit of the job need not wait for us, nor we for it."""
    return query.with_for_update(of=run)


def _startable(connection: Connection, query: Any, executor: str, limit: int) -> list[Any]:
    chosen: list[Any] = []
    taken: Counter[str] = Counter()
    for row in connection.execute(query, {"executor": executor, "most": limit}):
        if row.slots == 0 or row.running + taken[row.job_id] < row.slots:
            taken[row.job_id] += 1
            chosen.append(row)
    return chosen


def _claimed(row: Any, its_job: Any) -> ClaimedRun:
    """From all columns of the run, in the order of RunRecord, and what `_OF_JOB` has."""
    values = list(row)
    values[_STATE] = RunState.RUNNING
    claimed = RunRecord(*values)
    return ClaimedRun(
        run=claimed,
        func_ref=its_job.job_func_ref,
        args=json.loads(its_job.job_args),
        kwargs={**json.loads(its_job.job_kwargs), **(claimed.args or {})},
        policies=policies_of(its_job.job_policies),
    )


def _owned(holder: str) -> tuple[Any, ...]:
    return (
        run.c.run_id == bindparam("the_run"),
        run.c.attempt == bindparam("the_attempt"),
        run.c.claimed_by == holder,
        run.c.state == RunState.RUNNING,
    )


def _final(ending: Ending) -> dict[str, Any]:
    return {
        "state": ending.state,
        "finished_at": clock() if ending.ended_s is None else clock_after(min(ending.ended_s - elapsed_s(), 0.0)),
        "lease_until": None,
        "error": ending.error,
        "output": ending.output,
        "reason": _BY_WHOM if ending.state is RunState.CANCELLED else ending.reason,
        "progress": 1.0 if ending.state is RunState.SUCCEEDED else ending.progress,
        "progress_text": ending.progress_text,
    }


def _back_to_queue(ending: Ending) -> dict[str, Any]:
    assert ending.retry_in_s is not None  # noqa: S101 - the caller asked
    return {
        "state": RunState.QUEUED,
        "not_before": clock_after(ending.retry_in_s),
        "lease_until": None,
        "claimed_by": "",
        "error": ending.error,
        "output": ending.output,
        "reason": f"attempt {ending.attempt} {ending.state.replace('_', ' ')}; again in {ending.retry_in_s:.0f} s",
    }


def _start_s(ending: Ending, now_s: float) -> float | None:
    """When the job's code began, in seconds from now: below 0. None: the claim's time will have to do."""
    return None if ending.started_s is None else min(ending.started_s - now_s, 0.0)


def _keep_attempt(connection: Connection, holder: str, ending: Ending, now_s: float) -> None:
    """The proof of an attempt that is not the last one."""
    connection.execute(
        insert(attempt).from_select(
            ["run_id", "attempt", "state", "claimed_by", "started_at", "finished_at", "error"],
            select(
                run.c.run_id,
                run.c.attempt,
                literal(str(ending.state)),
                run.c.claimed_by,
                func.coalesce(clock_after(literal(_start_s(ending, now_s), Double)), run.c.started_at),
                clock(),
                literal(ending.error),
            ).where(
                run.c.run_id == ending.run_id,
                run.c.attempt == ending.attempt,
                run.c.claimed_by == holder,
                run.c.state == RunState.RUNNING,
            ),
        )
    )


def _after_crash(connection: Connection, row: Any, why: str) -> tuple[str, RunState]:
    policies = row["job_policies"]  # None: the job was deleted meanwhile, so there is nothing to run again
    wanted = policies is not None and reruns_after_crash(policies_of(policies), attempt=row["attempt"])
    again = wanted and not row["cancel_requested"]
    ending = Ending(
        run_id=row["run_id"],
        attempt=row["attempt"],
        state=RunState.LOST,
        error=row["error"],
        output=row["output"],
        retry_in_s=0.0 if again else None,
        reason=f"lost: {why}",
        progress=row["progress"],
        progress_text=row["progress_text"],
    )
    finish(connection, row["claimed_by"], [ending])
    return ending.run_id, RunState.QUEUED if again else RunState.LOST
