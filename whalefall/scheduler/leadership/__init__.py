"""WHO MAY FIRE: several ways to agree on one leader, behind one protocol.

Whatever decides, the ledger's lease row carries the leader's *term*, and every fire is recorded under it. So a lock
that fails (a Redis that loses it, a holder that was stopped and goes on) delays, but never doubles.
"""

from typing import Protocol

from whalefall.scheduler.ledger.records import Tenure


class Leadership(Protocol):
    """One candidate. Called by the keeper's thread only."""

    name: str

    def take(self) -> Tenure | None:
        """Leads if nobody else does. None: somebody else does."""

    def renew(self, tenure: Tenure, tick_age_s: float) -> bool:
        """Holds on. False: it is over."""

    def give_back(self, tenure: Tenure) -> None:
        """Lets the next one lead at once."""
