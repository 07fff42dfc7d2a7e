"""Runs the migrations on the connection, and in the transaction, that `migrate.py` has opened."""

from alembic import context

from whalefall.scheduler.ledger.migrate import VERSION_TABLE
from whalefall.scheduler.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
