"""The runs that are ours: by attempt, for an older one may end while a newer one is here already."""

from typing import Any

from whalefall.scheduler.core.policies import Policies
from whalefall.scheduler.ledger.records import ClaimedRun, RunRecord
from whalefall.scheduler.running import Roster, RunContext


def attempt(number: int) -> RunContext:
    values: dict[str, Any] = {**dict.fromkeys(RunRecord.__dataclass_fields__), "run_id": "a-run", "attempt": number}
    return RunContext(ClaimedRun(RunRecord(**values), "module:job", [], {}, Policies()))


def test_the_end_of_an_older_attempt_does_not_take_the_newer_one_away() -> None:
    """Or nobody would keep its lease alive: it would be swept as lost while it runs."""
    roster = Roster()
    older, newer = attempt(1), attempt(2)
    roster.add(older)
    roster.add(newer)
    roster.remove(older.key)
    assert roster.get("a-run") is newer
    roster.remove(newer.key)
    assert roster.run_ids() == []


def test_an_attempt_goes_on_until_its_end_is_on_its_way_to_the_ledger() -> None:
    roster = Roster()
    one = attempt(1)
    roster.add(one)
    assert roster.goes_on("a-run")
    assert not roster.goes_on("another")
    one.ended.set()
    assert not roster.goes_on("a-run")
