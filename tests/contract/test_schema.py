"""The migrations create what `schema.py` says: tables, columns, types, constraints, indexes; on both databases."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from tests.support.ledgers import opened
from whalefall.scheduler.ledger.engine import reading
from whalefall.scheduler.ledger.schema import metadata


def test_the_migrations_create_what_the_schema_says(database_url: str) -> None:
    with opened(database_url) as ledger, reading(ledger.engine) as connection:
        options = {
            "compare_type": True,
            "include_name": lambda name, kind, _: kind != "table" or name in metadata.tables,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []


def test_the_promise_is_a_constraint_of_the_database(database_url: str) -> None:
    with opened(database_url) as ledger, reading(ledger.engine) as connection:
        [key] = inspect(connection).get_unique_constraints("wf_run")
    assert (key["name"], key["column_names"]) == ("wf_run_fire_key", ["job_id", "scheduled_at", "source", "dedupe"])
