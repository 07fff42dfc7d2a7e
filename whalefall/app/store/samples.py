"""Host samples: load, CPU, memory and disk over time, written by a built-in job, drawn by the dashboard."""

from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Engine, delete, insert, select

from whalefall.app.store.tables import host_samples
from whalefall.scheduler.ledger.engine import reading, writing

_POINTS_MAX = 2_880  # a day of half minutes


@dataclass(frozen=True, slots=True)
class HostSample:
    """One look at the machine; sizes in bytes."""

    at: datetime
    load_1m: float
    cpu_percent: float
    memory_used: int
    memory_total: int
    disk_used: int
    disk_total: int


def write(engine: Engine, host: str, sample: HostSample) -> None:
    """Adds the sample."""
    with writing(engine) as connection:
        connection.execute(insert(host_samples).values(host=host, **asdict(sample)))


def since(engine: Engine, start: datetime, host: str) -> list[HostSample]:
    """The samples of this host after `start`, oldest first."""
    columns = [host_samples.c[name] for name in HostSample.__slots__]
    query = (
        select(*columns)
        .where(host_samples.c.at > start, host_samples.c.host == host)
        .order_by(host_samples.c.at.desc())
        .limit(_POINTS_MAX)
    )
    with reading(engine) as connection:
        rows = [HostSample(*row) for row in connection.execute(query)]
    return rows[::-1]


def prune(engine: Engine, until: datetime) -> int:
    """Removes what is older; returns how many."""
    with writing(engine) as connection:
        return connection.execute(delete(host_samples).where(host_samples.c.at < until)).rowcount
