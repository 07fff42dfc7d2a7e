"""A lease in Redis: a key with a token and a life, renewed and released by scripts that check the token.

Redis may lose it (a restart without persistence, an asynchronous failover). Then two believe that they lead, for at
most one renewal; the ledger's term, moved on by the second, refuses the first one's fires all the same.
"""

import hashlib
import secrets

import redis

from whalefall.scheduler.errors import LedgerUnavailable
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Tenure

_PREFIX = "whalefall:leader:"
_TIMEOUT_S = 2.0
_RENEW = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


class RedisLease:
    """One key per ledger, named after its DATABASE_URL, which all replicas must therefore spell alike."""

    name = "redis"

    def __init__(self, ledger: Ledger, holder: str, ttl_s: float, url: str) -> None:
        self._ledger, self._holder, self._ttl_s = ledger, holder, ttl_s
        self._client = redis.Redis.from_url(url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S)
        self.key = _PREFIX + hashlib.blake2b(str(ledger.engine.url).encode(), digest_size=8).hexdigest()
        self._token = f"{holder}/{secrets.token_hex(8)}"

    def take(self) -> Tenure | None:
        try:
            taken = self._client.set(self.key, self._token, nx=True, px=self._life_ms)
        except redis.RedisError as error:
            raise LedgerUnavailable(f"Redis does not answer, so nobody can begin to lead: {error}") from error
        if not taken:
            return None
        try:
            return self._ledger.seize_lease(self._holder, self._ttl_s)
        except BaseException:
            self._release()
            raise

    def renew(self, tenure: Tenure, tick_age_s: float) -> bool:
        try:
            held = self._client.eval(_RENEW, 1, self.key, self._token, self._life_ms)
        except redis.RedisError as error:
            raise LedgerUnavailable(f"Redis does not answer, so the lead cannot be kept: {error}") from error
        return bool(held) and self._ledger.renew_lease(tenure, self._ttl_s, tick_age_s)

    def give_back(self, tenure: Tenure) -> None:
        try:
            self._ledger.give_lease_back(tenure)
        finally:
            self._release()

    @property
    def _life_ms(self) -> int:
        return int(self._ttl_s * 1000)

    def _release(self) -> None:
        try:
            self._client.eval(_RELEASE, 1, self.key, self._token)
        except redis.RedisError:
            return  # it ends by itself
