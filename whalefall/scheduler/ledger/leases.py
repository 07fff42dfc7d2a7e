"""Who leads: one row with a holder and a term. Every comparison uses the database's clock."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, case, or_, select, update

from whalefall.scheduler.errors import Deposed
from whalefall.scheduler.ledger.dialects import clock, clock_after, in_index_order, insert
from whalefall.scheduler.ledger.records import LeaseRecord, Tenure
from whalefall.scheduler.ledger.schema import lease

NAME = "default"
TTLS_BELIEVED = 3  # replicas may be configured a little differently
# Made once: to make a statement takes longer than to have it answered, and this one is part of every fire.
_PROOF = (
    select(clock().label("now"), in_index_order())  # for what is asked next, without a statement of its own
    .where(
        lease.c.name == NAME,
        lease.c.holder == bindparam("holder"),
        lease.c.term == bindparam("term"),
        lease.c.expires_at > clock(),
    )
    .with_for_update(read=True)
)


def read(connection: Connection) -> LeaseRecord | None:
    row = connection.execute(select(lease, clock().label("now")).where(lease.c.name == NAME)).mappings().first()
    if row is None:
        return None
    return LeaseRecord(**{key: value for key, value in row.items() if key != "name"})


def take(connection: Connection, holder: str, ttl_s: float) -> int | None:
    """Takes the lease if it is free, expired, or ours already. Answers the term, or None to a follower.

    A lease that reaches further than anybody takes one was written by a clock that has been set back since (the
    database's host, or the host of an SQLite file): waiting for it could mean hours without a leader.
    """
    ours = lease.c.holder == holder
    expired = or_(lease.c.expires_at < clock(), lease.c.expires_at > clock_after(TTLS_BELIEVED * ttl_s))
    return _write(connection, holder, ttl_s, where=or_(ours, expired))


def seize(connection: Connection, holder: str, ttl_s: float) -> int:
    """Takes the lease whoever has it: for lock back ends that decide elsewhere. The old holder's term is over."""
    term = _write(connection, holder, ttl_s, where=None)
    assert term is not None  # noqa: S101 - without a condition the row is always written
    return term


def renew(connection: Connection, tenure: Tenure, ttl_s: float, tick_age_s: float) -> bool:
    """Holds on for another `ttl_s`. False: the lease has another holder, or a later term."""
    result = connection.execute(
        update(lease)
        .where(lease.c.name == NAME, lease.c.holder == tenure.holder, lease.c.term == tenure.term)
        .values(expires_at=clock_after(ttl_s), ticked_at=clock_after(-tick_age_s))
    )
    return result.rowcount == 1


def give_back(connection: Connection, tenure: Tenure) -> None:
    """Lets the next one lead at once."""
    connection.execute(
        update(lease)
        .where(lease.c.name == NAME, lease.c.holder == tenure.holder, lease.c.term == tenure.term)
        .values(expires_at=clock_after(-1))
    )


def prove(connection: Connection, tenure: Tenure) -> datetime:
    """The database's clock. Raises Deposed unless we lead; nobody can take over before this transaction ends."""
    held = connection.execute(_PROOF, {"holder": tenure.holder, "term": tenure.term}).first()
    if held is None:
        raise Deposed(
            f"{tenure.holder} no longer leads with term {tenure.term}: another took over, or its lease ran out."
        )
    now: datetime = held.now
    return now


def _write(connection: Connection, holder: str, ttl_s: float, where: Any) -> int | None:
    fresh = insert(connection, lease).values(
        name=NAME, holder=holder, term=1, expires_at=clock_after(ttl_s), taken_at=clock(), ticked_at=clock()
    )
    same = (lease.c.holder == fresh.excluded.holder) & (lease.c.expires_at > clock())
    return connection.execute(
        fresh.on_conflict_do_update(
            index_elements=[lease.c.name],
            set_={
                "holder": fresh.excluded.holder,
                "expires_at": fresh.excluded.expires_at,
                "ticked_at": fresh.excluded.ticked_at,
                "taken_at": case((same, lease.c.taken_at), else_=fresh.excluded.taken_at),
                "term": case((same, lease.c.term), else_=lease.c.term + 1),
            },
            where=where,
        ).returning(lease.c.term)
    ).scalar()
