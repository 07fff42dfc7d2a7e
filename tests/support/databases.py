"""Fixtures: a fresh ledger's database per test, on SQLite and on PostgreSQL, its schema copied from a template.

Use them with `from tests.support.databases import *` in a conftest.
"""

import atexit
import functools
import shutil
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import PostgresServer, binaries
from tests.support.redis import RedisServer, is_installed
from whalefall.scheduler.ledger.engine import make_engine
from whalefall.scheduler.ledger.migrate import migrate

__all__ = ["database_url", "postgres", "postgres_url", "redis_server", "sqlite_url"]

_TEMPLATE = "whalefall_template"
_migrated_sqlite: dict[str, Path] = {}
_migrated_postgres: dict[int, object] = {}
_emptied: list[str] = []


@functools.cache
def _postgres() -> PostgresServer:
    """One for the process: each module that imports the fixtures has a session-wide fixture of its own."""
    server = PostgresServer().__enter__()
    atexit.register(server.__exit__)
    return server


@functools.cache
def _redis() -> RedisServer:
    server = RedisServer().__enter__()
    atexit.register(server.__exit__)
    return server


@pytest.fixture(scope="session")
def postgres() -> PostgresServer:
    """A real server."""
    if binaries() is None:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    return _postgres()


@pytest.fixture(scope="session")
def redis_server() -> RedisServer:
    if not is_installed():
        pytest.skip("Redis is not installed (apt-get install redis-server)")
    return _redis()


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
    """A database with the schema and nothing in it: an emptied one if there is one, which is quicker than a new one."""
    if postgres.port not in _migrated_postgres:
        with postgres.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {_TEMPLATE}")
        _migrate(postgres.url(_TEMPLATE))
        _migrated_postgres[postgres.port] = _shape(postgres.url(_TEMPLATE))
    url = _emptied.pop() if _emptied else postgres.new_database(template=_TEMPLATE)
    yield url
    if _shape(url) == _migrated_postgres[postgres.port]:
        _empty(url)
        _emptied.append(url)
    else:
        postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The same test, on both databases."""
    return str(request.getfixturevalue(f"{request.param}_url"))


def _migrate(url: str) -> None:
    engine = make_engine(url)
    migrate(engine)
    engine.dispose()


def _shape(url: str) -> object:
    """Tables and migrations: a test may have made or changed some."""
    with psycopg.connect(url, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT LIKE 'pg_%' "
            "AND schemaname <> 'information_schema' ORDER BY 1, 2"
        ).fetchall()
        versions = connection.execute("SELECT version_num FROM wf_alembic_version ORDER BY 1").fetchall()
    return tables, versions


def _empty(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        # What a test left open must not be what the next one waits for.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        names = ", ".join(name for (name,) in tables if name != "wf_alembic_version")
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY")
