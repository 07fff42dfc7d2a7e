"""`ledger verify` on a living site: an instant that is recorded between its two looks is no row too many."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from tests.support.ledgers import age, bring_in, declared, lead, opened
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import EventRecord
from whalefall.scheduler.verify import verify


def test_what_is_recorded_while_it_looks_is_judged_the_next_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(database_url) as ledger:
        bring_in(ledger, declared("tick", "interval", seconds=60))
        age(ledger, "tick", timedelta(minutes=5))
        tenure, asked = lead(ledger), Ledger.events_of

        def recorded_meanwhile(self: Ledger, job_id: str, kinds: Sequence[str]) -> list[EventRecord]:
            assert self.record_fires(tenure, self.now(), 500).jobs, "something was due"
            return asked(self, job_id, kinds)

        now = ledger.now()
        with monkeypatch.context() as patched:
            patched.setattr(Ledger, "events_of", recorded_meanwhile)
            assert verify(ledger, now - timedelta(hours=1), now).problems == ()
        report = verify(ledger, now - timedelta(hours=1), now)
        assert report.problems == ()
        assert report.recorded == report.expected >= 4
