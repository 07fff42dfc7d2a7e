"""Whatever a job prints or raises is stored, on both databases, and its neighbours are, too."""

from collections.abc import Iterator

import pytest

from tests.support.ledgers import bring_in, declared, lead, opened
from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.records import Ending

STRANGE = {
    "a NUL": "a\0b",
    "a lone surrogate": "file \udcff.txt",
    "astral": "\U0001f433",
    "all": "\0\ud800\udcff\U0001f433",
}


@pytest.fixture
def ledger(database_url: str) -> Iterator[Ledger]:
    with opened(database_url) as ledger:
        yield ledger


@pytest.mark.parametrize("words", STRANGE.values(), ids=STRANGE.keys())
def test_strange_words_are_stored_and_the_run_beside_them_ends(ledger: Ledger, words: str) -> None:
    tenure = lead(ledger, "a")
    bring_in(ledger, declared("strange"), declared("plain"))
    runs = {job: ledger.run_now(job, actor="me", args=None, reason=words, dedupe=None) for job in ("strange", "plain")}
    claimed = {each.run.run_id: each.run.attempt for each in ledger.claim(tenure, "thread", 10, 30)}
    assert claimed.keys() == set(runs.values())
    endings = [
        Ending(run_id, claimed[run_id], RunState.SUCCEEDED, error="", output=text, progress=None, progress_text=text)
        for run_id, text in ((runs["strange"], words), (runs["plain"], "fine"))
    ]
    assert set(ledger.finish("a", endings)) == set(runs.values())
    stored = ledger.run(runs["strange"])
    assert stored.state is RunState.SUCCEEDED
    assert stored.output == words.replace("\0", "").encode("utf-8", "replace").decode()
