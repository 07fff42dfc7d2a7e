"""Login attempts: the memory behind the rate limit and the lockout, shared by every process through the database."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, func, insert, select

from whalefall.app.store.tables import login_attempts
from whalefall.scheduler.ledger.engine import reading, writing

# One address may be wrong this often; the original platform's numbers. Right passwords do not count: a whole office may
# log in from behind one address.
RATE_MAX = 10
RATE_WINDOW = timedelta(seconds=60)
# After this many wrong passwords in a row from one address the name is locked for it. Counted per address, so that a
# stranger cannot lock the administrator out; the larger number per name stops many addresses that share the work.
FAILURES_MAX = 5
FAILURES_OF_NAME_MAX = 50
LOCKOUT = timedelta(minutes=15)


def seconds_to_wait(engine: Engine, name: str, address: str) -> int:
    """0 when the next attempt may go ahead, else the seconds until it may."""
    now = datetime.now(UTC)
    with reading(engine) as connection:
        recent = [
            (row.at, row.name, row.address, row.succeeded)
            for row in connection.execute(
                select(login_attempts)
                .where(login_attempts.c.at > now - LOCKOUT)
                .where((login_attempts.c.address == address) | (login_attempts.c.name == _key(name)))
                .order_by(login_attempts.c.id.desc())
                .limit(500)
            )
        ]
    by_address = [at for at, _, where, ok in recent if where == address and not ok and at > now - RATE_WINDOW]
    waits = [timedelta(0)]
    if len(by_address) >= RATE_MAX:
        waits.append(by_address[RATE_MAX - 1] + RATE_WINDOW - now)
    failures = _failures_in_a_row([(at, ok) for at, who, where, ok in recent if (who, where) == (_key(name), address)])
    if len(failures) >= FAILURES_MAX:
        waits.append(failures[0] + LOCKOUT - now)
    of_name = _failures_in_a_row([(at, ok) for at, who, _, ok in recent if who == _key(name)])
    if len(of_name) >= FAILURES_OF_NAME_MAX:
        waits.append(of_name[0] + LOCKOUT - now)
    return max(0, -int(-max(waits).total_seconds() // 1))


def _failures_in_a_row(newest_first: list[tuple[datetime, bool]]) -> list[datetime]:
    found: list[datetime] = []
    for at, succeeded in newest_first:
        if succeeded:
            break
        found.append(at)
    return found


def note(engine: Engine, name: str, address: str, *, succeeded: bool) -> None:
    """Writes the attempt down and forgets what no longer counts."""
    now = datetime.now(UTC)
    with writing(engine) as connection:
        connection.execute(delete(login_attempts).where(login_attempts.c.at < now - 2 * LOCKOUT))
        connection.execute(
            insert(login_attempts).values(at=now, name=_key(name), address=address[:64], succeeded=succeeded)
        )


def failures_since(engine: Engine, since: datetime) -> int:
    """How many attempts failed since then; for the metrics."""
    with reading(engine) as connection:
        query = select(func.count()).select_from(login_attempts)
        query = query.where(login_attempts.c.at > since, ~login_attempts.c.succeeded)
        return int(connection.execute(query).scalar_one())


def _key(name: str) -> str:
    return name.strip().lower()[:64]
