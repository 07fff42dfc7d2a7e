"""One contract, five ways to agree on a leader. Whatever decides, the ledger's term fences the old one off."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import psycopg
import pytest
import redis as redis_client

from tests.support.crashing import spawn
from tests.support.ledgers import bring_in, declared, end_lease, opened, rewind
from tests.support.postgres import PostgresServer
from tests.support.redis import RedisServer
from tests.support.waiting import wait_until
from whalefall.errors import ConfigError
from whalefall.scheduler.errors import Deposed, LedgerUnavailable
from whalefall.scheduler.leadership import Leadership
from whalefall.scheduler.leadership.choose import choose
from whalefall.scheduler.leadership.redis import RedisLease
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Tenure

TTL_S = 60.0


@dataclass
class Arena:
    """A database, a lock, and candidates for it."""

    url: str
    lock: str
    ledger: Ledger
    forget: Callable[[], None]  # as if the holder were dead

    def candidate(self, holder: str) -> Leadership:
        return choose(self.lock, self.ledger, holder, TTL_S)


KINDS = ["sql-sqlite", "sql-postgres", "file", "postgres-advisory", "redis"]


@pytest.fixture(params=KINDS)
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    kind = request.param
    url = request.getfixturevalue("postgres_url" if "postgres" in kind or kind == "redis" else "sqlite_url")
    lock = kind.partition("-")[0] if kind.startswith("sql") else kind
    if kind == "redis":
        lock = request.getfixturevalue("redis_server").url
        redis_client.Redis.from_url(lock).flushall()
    with opened(url) as ledger:
        yield Arena(url, lock, ledger, lambda: end_lease(ledger))


def lead(candidate: Leadership) -> Tenure:
    tenure = candidate.take()
    assert tenure is not None
    return tenure


def test_one_leads_and_the_others_stand_by(arena: Arena) -> None:
    one, two = arena.candidate("one"), arena.candidate("two")
    tenure = lead(one)
    assert two.take() is None
    assert one.renew(tenure, 0.0)
    assert two.take() is None
    one.give_back(tenure)


def test_given_back_it_is_free_at_once_and_the_term_moves_on(arena: Arena) -> None:
    one, two = arena.candidate("one"), arena.candidate("two")
    first = lead(one)
    one.give_back(first)
    second = wait_until(two.take, "the second leads")
    assert second.term == first.term + 1
    two.give_back(second)


def test_the_old_one_can_neither_renew_nor_fire(arena: Arena) -> None:
    one, two = arena.candidate("one"), arena.candidate("two")
    old = lead(one)
    one.give_back(old)
    new = wait_until(two.take, "the second leads")
    assert not one.renew(old, 0.0)
    bring_in(arena.ledger, declared("tidy"))
    rewind(arena.ledger, "tidy", timedelta(minutes=1))
    with pytest.raises(Deposed):
        arena.ledger.record_fires(old, arena.ledger.now(), 10)
    assert arena.ledger.record_fires(new, arena.ledger.now(), 10).queued == 1
    two.give_back(new)


def lead_and_wait(url: str, lock: str) -> None:
    with opened(url) as ledger:
        tenure = choose(lock, ledger, "the other process", 2.0).take()
        assert tenure is not None
        signal.pause()


def test_a_killed_leader_is_replaced(arena: Arena) -> None:
    process = spawn(lead_and_wait, arena.url, arena.lock)
    wait_until(
        lambda: (lease := arena.ledger.lease()) and lease.holder == "the other process", "the other process leads"
    )
    successor = arena.candidate("successor")
    assert successor.take() is None
    process.kill()
    process.join(10)
    tenure = wait_until(successor.take, "the successor leads")
    successor.give_back(tenure)


def test_redis_forgetting_its_lock_cannot_double(postgres_url: str, redis_server: RedisServer) -> None:
    with opened(postgres_url) as ledger:
        one, two = (choose(redis_server.url, ledger, name, TTL_S) for name in ("one", "two"))
        old = lead(one)
        redis_server.restart()
        new = lead(two)
        assert not one.renew(old, 0.0)
        with pytest.raises(Deposed):
            ledger.record_fires(old, ledger.now(), 10)
        two.give_back(new)
        one._client.close()
        two._client.close()


def test_a_leader_that_redis_has_forgotten_lets_go_although_nobody_else_leads(
    postgres_url: str, redis_server: RedisServer
) -> None:
    with opened(postgres_url) as ledger, redis_client.Redis.from_url(redis_server.url) as client:
        one = choose(redis_server.url, ledger, "one", TTL_S)
        old = lead(one)
        assert one.renew(old, 0.0)
        client.flushall()
        assert not one.renew(old, 0.0)
        one._client.close()


def test_redis_being_away_is_a_sentence(postgres_url: str, redis_server: RedisServer) -> None:
    with opened(postgres_url) as ledger:
        one = choose(redis_server.url, ledger, "one", TTL_S)
        redis_server.stop()
        try:
            with pytest.raises(LedgerUnavailable, match="Redis does not answer"):
                one.take()
        finally:
            redis_server.start()
            one._client.close()


def test_redis_keeps_a_lock_that_is_another_s(postgres_url: str, redis_server: RedisServer) -> None:
    with opened(postgres_url) as ledger, redis_client.Redis.from_url(redis_server.url) as client:
        client.flushall()
        one = RedisLease(ledger, "one", TTL_S, redis_server.url)
        tenure = lead(one)
        client.set(one.key, "somebody else")
        one.give_back(tenure)
        assert client.get(one.key) == b"somebody else"
        one._client.close()


def test_a_lost_session_ends_the_lead(postgres_url: str, postgres: PostgresServer) -> None:
    with opened(postgres_url) as ledger:
        one = choose("postgres-advisory", ledger, "one", TTL_S)
        tenure = lead(one)
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        assert not one.renew(tenure, 0.0)


@pytest.mark.parametrize(
    ("lock", "sentence"),
    [
        ("postgres-advisory", "needs a PostgreSQL"),
        ("zookeeper", "write sql, postgres-advisory, file, or a redis:// URL"),
    ],
)
def test_what_cannot_work_is_refused(sqlite_url: str, lock: str, sentence: str) -> None:
    with opened(sqlite_url) as ledger, pytest.raises(ConfigError, match=sentence):
        choose(lock, ledger, "one", TTL_S)


def test_a_file_lock_beside_postgres_is_refused(postgres_url: str) -> None:
    with opened(postgres_url) as ledger, pytest.raises(ConfigError, match="for a SQLite file on one host"):
        choose("file", ledger, "one", TTL_S)
