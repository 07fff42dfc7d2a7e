"""Reading another library's table: APScheduler's `apscheduler_jobs`, once, without running what is in it."""

from collections.abc import Iterator

from sqlalchemy import LargeBinary, String, column, create_engine, inspect, select, table

from whalefall.errors import UsageError

APSCHEDULER_TABLE = "apscheduler_jobs"


def apscheduler_rows(url: str, name: str = APSCHEDULER_TABLE) -> Iterator[tuple[str, bytes]]:
    """(id, pickled state) of every job. Raises UsageError if there is no such table."""
    engine = create_engine(url)
    try:
        if not inspect(engine).has_table(name):
            raise UsageError(f"The database has no table {name!r}; name another one if APScheduler was given one.")
        jobs = table(name, column("id", String), column("job_state", LargeBinary))
        with engine.connect() as connection:
            yield from [(row.id, row.job_state) for row in connection.execute(select(jobs).order_by(jobs.c.id))]
    finally:
        engine.dispose()
