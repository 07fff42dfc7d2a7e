"""Brings the database to this release's schema, at start, safely when several processes start at once.

One Alembic folder with two branches: `ledger` (files 0001 to 0099) and `app` (0100 to 0199), so that the two rooms
number their files alone. All migrations of a start run in one transaction under a lock: an advisory lock on PostgreSQL,
BEGIN IMMEDIATE on SQLite. Whoever comes second finds nothing to do.
"""

import logging
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.ledger.engine import reading, writing

VERSION_TABLE = "wf_alembic_version"  # the user's own Alembic has the usual name
_MIGRATIONS = Path(__file__).with_name("migrations")
_LOCK = 0x77686C66  # "whlf": any number that nobody else uses
_log = logging.getLogger("whalefall.scheduler.ledger")


def migrate(engine: Engine) -> None:
    """Upgrades to the newest schema. Raises LedgerUnavailable if the database is of a newer release."""
    with reading(engine) as connection:  # a ledger that is up to date can be read although nobody can write it
        if _present(connection) == newest():
            return
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            # Others may hold the lock for as long as their migration takes; that is not an error.
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        if _present(connection) != newest():
            _upgrade(connection)


def newest() -> set[str]:
    """The last file of each branch, by its number."""
    numbers = sorted(path.name[:4] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))
    return set({number[:2]: number for number in numbers}.values())


def _present(connection: Connection) -> set[str]:
    if not inspect(connection).has_table(VERSION_TABLE):
        return set()
    return set(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars())  # noqa: S608 - a constant


def _upgrade(connection: Connection) -> None:
    # Alembic is needed once per release. It costs 9 MB of memory and a tenth of a second: not in each worker for ever.
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.environment import EnvironmentContext  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("path_separator", "os")
    script = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    present, wanted = set(context.get_current_heads()), set(script.get_heads())
    if present == wanted:
        return
    known = {revision.revision for revision in script.walk_revisions()}
    if not present <= known:
        raise LedgerUnavailable(
            f"The database has migration {min(present - known)}, which this release does not know: "
            "it was written by a newer whalefall. Install that release, or restore a backup."
        )
    config.attributes["connection"] = connection
    with EnvironmentContext(config, script, fn=lambda rev, _context: script._upgrade_revs("heads", rev)):  # noqa: SLF001 - what alembic.command.upgrade does, without its printing
        script.run_env()
    _log.info("the ledger's schema went from %s to %s", sorted(present) or "nothing", sorted(wanted))
