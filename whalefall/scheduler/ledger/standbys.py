"""Who stands by: a row for each scheduler that would lead if it could. The leader has the lease instead.

For people only: nothing is decided by these rows, so a stale one can do no harm. A row that nobody has renewed is
passed over when it has run out, and deleted by the next standby that tells of itself.
"""

from sqlalchemy import Connection, delete, func, select

from whalefall.scheduler.ledger import leases
from whalefall.scheduler.ledger.dialects import clock, clock_after, insert
from whalefall.scheduler.ledger.records import StandbyRecord
from whalefall.scheduler.ledger.schema import lease, standby


def tell(connection: Connection, holder: str, life_s: float) -> None:
    """Stands by for another `life_s`."""
    connection.execute(delete(standby).where(standby.c.expires_at < clock()))
    fresh = insert(connection, standby).values(
        holder=holder, since=clock(), seen_at=clock(), expires_at=clock_after(life_s)
    )
    connection.execute(
        fresh.on_conflict_do_update(
            index_elements=[standby.c.holder],
            set_={"seen_at": fresh.excluded.seen_at, "expires_at": fresh.excluded.expires_at},
        )
    )


def leave(connection: Connection, holder: str) -> None:
    """It leads, or it stops."""
    connection.execute(delete(standby).where(standby.c.holder == holder))


def alive(connection: Connection) -> list[StandbyRecord]:
    """The longest waiting first; never the leader."""
    leader = select(lease.c.holder).where(lease.c.name == leases.NAME, lease.c.expires_at > clock()).scalar_subquery()
    query = (
        select(standby.c.holder, standby.c.since, standby.c.seen_at)
        .where(standby.c.expires_at > clock(), standby.c.holder != func.coalesce(leader, ""))
        .order_by(standby.c.since, standby.c.holder)
    )
    return [StandbyRecord(*row) for row in connection.execute(query)]
