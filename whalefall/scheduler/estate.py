"""What dead schedulers have left on this host: processes that run on, endings nobody wrote, claims never begun.

Looked at before every sweep, so that the sweeper sees as lost only what is. Whatever is done here is conditional on
the claim that was read: of two heirs one inherits.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from enum import Enum

from whalefall.scheduler import begun
from whalefall.scheduler.executors.place import Place, Places
from whalefall.scheduler.executors.processes import ProcessExecutor
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Claim
from whalefall.scheduler.running import Roster

_log = logging.getLogger("whalefall.scheduler")


class Fate(Enum):
    """What becomes of a run's directory that we do not watch."""

    LEAVE = "its runner lives"
    INHERIT = "its runner is gone"
    GIVE_BACK = "its runner is gone, and it never began"
    END = "nobody owns the run any more"


def fate(claim: Claim | None, *, ours: str, runner_is_dead: bool, has_begun: bool, silence_counts: bool = True) -> Fate:
    """`claim` is what the ledger says of this very attempt; None: it has ended, or somebody runs it anew."""
    if claim is None:
        return Fate.END
    silent = claim.expired and silence_counts
    if not silent and (claim.holder == ours or not runner_is_dead):
        return Fate.LEAVE
    return Fate.INHERIT if has_begun else Fate.GIVE_BACK


class Estate:
    """One of each scheduler. Not thread-safe: the loop looks."""

    def __init__(
        self,
        ledger: Ledger,
        holder: str,
        roster: Roster,
        places: Places,
        executor: ProcessExecutor,
        *,
        run_lease_s: float,
        is_dead: Callable[[str], bool],
    ) -> None:
        self._ledger, self._holder, self._roster = ledger, holder, roster
        self._places, self._executor = places, executor
        self._run_lease_s, self._is_dead = run_lease_s, is_dead

    def settle(self, silence_counts: bool) -> frozenset[str]:
        """Answers the runners that are certainly dead. Raises LedgerUnavailable; then it may be called again."""
        self._keep_ours()
        places = [place for place in self._places if not self._is_ours(place)]
        claims = self._ledger.claims()  # after the directories: who has made one had claimed before
        dead = frozenset(runner for runner in {claim.holder for claim in claims} if self._is_dead(runner))
        by_attempt = {(claim.run_id, claim.attempt): claim for claim in claims}
        for place in places:
            self._settle(place, by_attempt.get(place.key), dead, silence_counts=silence_counts)
        kept = {place.key for place in places}
        self._give_back([claim for claim in claims if claim.holder in dead], kept)
        return dead

    def _keep_ours(self) -> None:
        """While the ledger was away the leases of our own runs may have run out. We know better: they are not lost."""
        if run_ids := self._roster.run_ids():
            self._ledger.keep_alive(self._holder, run_ids, self._run_lease_s)

    def _is_ours(self, place: Place) -> bool:
        """Watched, or ended here and not yet on record."""
        return self._executor.watches(place.key) or self._roster.get(place.run_id) is not None

    def _settle(self, place: Place, claim: Claim | None, dead: Iterable[str], *, silence_counts: bool) -> None:
        alive = place.is_alive()
        has_begun = alive or place.condition() is not None
        match fate(
            claim,
            ours=self._holder,
            runner_is_dead=claim is not None and claim.holder in dead,
            has_begun=has_begun,
            silence_counts=silence_counts,
        ):
            case Fate.INHERIT if claim is not None:
                self._inherit(claim)
            case Fate.GIVE_BACK if claim is not None:
                place.discard()
                self._ledger.return_unstarted(claim.holder, [claim.run_id])
                _log.warning("run %s was claimed by %s and never began; it waits again", claim.run_id, claim.holder)
            case Fate.END if alive:
                _log.warning("run %s goes on although nobody owns it any more; ending its process", place.run_id)
                place.kill()
            case Fate.END:
                place.discard()

    def _inherit(self, claim: Claim) -> None:
        claimed = self._ledger.inherit(claim, self._holder, self._run_lease_s)
        if claimed is not None:
            self._executor.inherit(claimed)
            _log.info(
                "run %s of job %s goes on here; %s had started it", claim.run_id, claimed.run.job_id, claim.holder
            )

    def _give_back(self, claims: Iterable[Claim], kept: set[tuple[str, int]]) -> None:
        """What the dead had only claimed. Where they left no journal, it may have begun."""
        by_holder: dict[str, list[Claim]] = defaultdict(list)
        for claim in claims:
            by_holder[claim.holder].append(claim)
        for holder, held in by_holder.items():
            known = begun.begun_by(self._places.root, holder)
            if known is None:
                continue
            never = [
                claim.run_id
                for claim in held
                if (claim.run_id, claim.attempt) not in known and (claim.run_id, claim.attempt) not in kept
            ]
            if never:
                self._ledger.return_unstarted(holder, never)
                _log.warning("%d runs were claimed by %s and never began; they wait again", len(never), holder)
        for holder in begun.holders(self._places.root):
            if holder not in by_holder and holder != self._holder and self._is_dead(holder):
                begun.forget(self._places.root, holder)
