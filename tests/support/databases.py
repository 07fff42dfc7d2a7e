"""Fixtures: a fresh ledger's database per test, on SQLite and on PostgreSQL, its schema copied from a template.

Use them with `from tests.support.databases import *` in a conftest.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import PostgresServer, binaries
from tests.support.redis import RedisServer, is_installed
from whalefall.scheduler.ledger.engine import make_engine
from whalefall.scheduler.ledger.migrate import migrate

__all__ = ["database_url", "postgres", "postgres_url", "redis_server", "sqlite_url"]

_TEMPLATE = "whalefall_template"
_migrated_sqlite: dict[str, Path] = {}
_migrated_postgres: set[int] = set()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """One server for the session."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    if not is_installed():
        pytest.skip("Redis is not installed (apt-get install redis-server)")
    with RedisServer() as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    template = _migrated_sqlite.get("ledger")
    if template is None:
        template = tmp_path_factory.mktemp("template") / "ledger.db"
        _migrate(f"sqlite:///{template}")
        _migrated_sqlite["ledger"] = template
    target = tmp_path / "whalefall.db"
    shutil.copy(template, target)
    return f"sqlite:///{target}"


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    if postgres.port not in _migrated_postgres:
        with postgres.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {_TEMPLATE}")
        _migrate(postgres.url(_TEMPLATE))
        _migrated_postgres.add(postgres.port)
    url = postgres.new_database(template=_TEMPLATE)
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test, on both databases."""
    return str(request.getfixturevalue(f"{request.param}_url"))


def _migrate(url: str) -> None:
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()
