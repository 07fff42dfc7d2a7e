"""The lease row: works on any database of ours, through any pooler, and ends by itself when the holder is silent."""

from whalefall.scheduler.holders import is_certainly_dead
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Tenure


class SqlLease:
    """Default. A stopping leader is replaced at once, a dead one too on its own host, else after the lease's life."""

    name = "sql"

    def __init__(self, ledger: Ledger, holder: str, ttl_s: float) -> None:
        self._ledger, self._holder, self._ttl_s = ledger, holder, ttl_s

    def take(self) -> Tenure | None:
        return self._ledger.take_lease(self._holder, self._ttl_s, is_certainly_dead)

    def renew(self, tenure: Tenure, tick_age_s: float) -> bool:
        return self._ledger.renew_lease(tenure, self._ttl_s, tick_age_s)

    def give_back(self, tenure: Tenure) -> None:
        self._ledger.give_lease_back(tenure)
