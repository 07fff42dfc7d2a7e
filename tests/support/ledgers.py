"""A ledger in a test: declarations without decorators, clocks that are the database's."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text, update

from whalefall.scheduler.declaration import Declaration, Labels, declare
from whalefall.scheduler.ledger import Ledger, jobs
from whalefall.scheduler.ledger.engine import make_engine
from whalefall.scheduler.ledger.reconcile import Code, Reconciled
from whalefall.scheduler.ledger.records import Tenure
from whalefall.scheduler.ledger.schema import event, job, lease, run

A_MINUTE = timedelta(minutes=1)


def some_work(x: int = 0) -> None:
    """Does nothing, by name."""


def declared(
    job_id: str, trigger: str = "interval", function: Callable[..., Any] = some_work, **options: Any
) -> Declaration:
    if trigger == "interval" and not {"seconds", "minutes", "hours"} & set(options):
        options["minutes"] = 1
    return declare(function, trigger, Labels(job_id), now=datetime.now(UTC), options=options)


@contextlib.contextmanager
def opened(url: str, **options: Any) -> Iterator[Ledger]:
    ledger = Ledger(make_engine(url), **options)
    try:
        yield ledger
    finally:
        ledger.engine.dispose()


def bring_in(ledger: Ledger, *declarations: Declaration, **options: Any) -> Reconciled:
    broken = options.pop("broken", {})
    return ledger.reconcile(Code(declarations, broken, timezone="UTC", actor="a test", **options))


def lead(ledger: Ledger, holder: str = "me", ttl_s: float = 60) -> Tenure:
    tenure = ledger.take_lease(holder, ttl_s)
    assert tenure is not None, f"{holder} could not lead: {ledger.lease()}"
    return tenure


def rewind(ledger: Ledger, job_id: str, by: timedelta) -> None:
    """As if the scheduler had been away for `by`: cursor, anchor and birth of the job lie that much further back."""
    record = ledger.job(job_id)
    assert record.next_fire_at is not None
    with ledger.writing() as connection:
        connection.execute(
            update(job)
            .where(job.c.job_id == job_id)
            .values(next_fire_at=record.next_fire_at - by, anchor=record.anchor - by)
        )


def age(ledger: Ledger, job_id: str, by: timedelta) -> None:
    """As if the job had been declared `by` ago and nobody had been there since; what `verify` expects goes back too."""
    rewind(ledger, job_id, by)
    record = ledger.job(job_id)
    with ledger.writing() as connection:
        connection.execute(event.delete().where(event.c.job_id == job_id))
        jobs.note_schedule(connection, record, since=record.anchor, actor="a test", why="aged")


def end_lease(ledger: Ledger) -> None:
    """As if the leader had been silent for longer than its lease."""
    with ledger.writing() as connection:
        connection.execute(update(lease).values(expires_at=datetime.now(UTC) - A_MINUTE))


def end_run_leases(ledger: Ledger) -> None:
    """As if every runner had been silent for longer than its runs' leases."""
    with ledger.writing() as connection:
        connection.execute(update(run).where(run.c.state == "running").values(lease_until=datetime.now(UTC) - A_MINUTE))


def rows(ledger: Ledger, query: str) -> list[tuple[Any, ...]]:
    with ledger.reading() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
