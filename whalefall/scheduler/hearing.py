"""Whose silence counts. A run is lost when its runner has been silent, and a scheduler that was listening can tell.

After an outage of the ledger the leases of all runs are old, and the first who is back must not end what the others
still run: they had nobody to tell that they live. So whoever could not hear listens first, for a run's lease long.
"""


class Hearing:
    """One of each loop. Times are our elapsed seconds, which go on while the host sleeps."""

    def __init__(self, listen_s: float, break_s: float) -> None:
        """`break_s` without an answer from the ledger is deafness: shorter than any lease could run out in."""
        self._listen_s, self._break_s = listen_s, break_s
        self._since_s: float | None = None
        self._last_s = 0.0

    def answered(self, now_s: float) -> None:
        """The ledger has answered."""
        if self._since_s is None or now_s - self._last_s > self._break_s:
            self._since_s = now_s
        self._last_s = now_s

    def silence_counts(self, now_s: float) -> bool:
        """Whether we have been listening for long enough, without a break, up to now."""
        heard = self._since_s is not None and now_s - self._last_s <= self._break_s
        return heard and self._since_s is not None and now_s - self._since_s >= self._listen_s
