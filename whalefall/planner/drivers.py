"""Can the processes of ours that would start speak to the database of DATABASE_URL? They would die of it one by one."""

import importlib.util

from whalefall.errors import ConfigError
from whalefall.planner.world import World

_POSTGRESQL = ("postgres:", "postgresql:", "postgresql+")
_OURS = "psycopg"
# With one of these the variable may be the application's own, and its ledger elsewhere (SCHEDULER_DATABASE_URL).
_OTHERS = ("psycopg2", "asyncpg", "pg8000", "psycopg2cffi")


def check(world: World) -> None:
    """Raises ConfigError where there is certainly none. An application that is imported tells of its own ledger."""
    if not world.settings.database_url.startswith(_POSTGRESQL) or _is_there(_OURS):
        return
    for role in world.running_roles():
        ours = role.ours and role.role in ("web", "scheduler")
        known = not (role.app or world.app) or not any(map(_is_there, _OTHERS))
        if ours and known and "DATABASE_URL" not in world.options.of(role.name).env:
            raise ConfigError(
                f"DATABASE_URL needs a driver that is not installed ({_OURS}): pip install 'whalefall[postgres]'"
            )


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ValueError:  # one that was taken out of sys.modules on purpose
        return False
