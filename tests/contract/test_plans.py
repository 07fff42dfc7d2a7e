"""However long the history is, what people ask often is answered from an index: shown by the plans of both databases.

Each question is asked of a ledger with a past; every statement that it makes is then explained by the database itself,
with the same parameters.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from tests.support.history import fill
from tests.support.ledgers import opened
from tests.support.postgres import PostgresServer
from whalefall.scheduler.ledger import Ledger
from whalefall.scheduler.ledger.history import Wanted

JOBS, RUNS_EACH = 100, 200
# What is asked, and an index without which it would read the whole history.
QUESTIONS: dict[str, tuple[Callable[[Ledger], Any], str]] = {
    "the loop's look": (lambda ledger: ledger.peek("me"), "wf_run_waiting"),
    "the last run of each job of a page": (lambda ledger: ledger.last_runs(["job00001", "job00002"]), "wf_run_started"),
    "the watchman's look": (lambda ledger: ledger.trouble(30, 100), "wf_run_started"),
    "what waits": (lambda ledger: ledger.page(Wanted(state="queued")), "wf_run_waiting"),
    "what runs": (lambda ledger: ledger.page(Wanted(state="running")), "wf_run_held"),
    "what is alive": (lambda ledger: ledger.alive_runs(), "wf_run_alive"),
    "what failed": (lambda ledger: ledger.page(Wanted(state="failed")), "wf_run_rare"),
    "what was lost": (lambda ledger: ledger.page(Wanted(state="lost")), "wf_run_rare"),
    "what was missed": (lambda ledger: ledger.page(Wanted(state="skipped_late")), "wf_run_rare"),
    "what never happens": (lambda ledger: ledger.page(Wanted(state="skipped_broken")), "wf_run_rare"),
    "what people started": (lambda ledger: ledger.page(Wanted(source="manual")), "wf_run_by_hand"),
    "one job's history": (lambda ledger: ledger.page(Wanted(job_id="job00007")), "wf_run_history"),
    "what a job usually takes": (lambda ledger: ledger.durations_s("job00007"), "wf_run_history"),
    "the backlog": (lambda ledger: ledger.backlog(30), "wf_run_waiting"),
}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans')}/whalefall.db"
    else:
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.new_database()
    with opened(url) as ledger:
        fill(ledger, jobs=JOBS, runs_each=RUNS_EACH)
        yield ledger


def plans(ledger: Ledger, question: Callable[[Ledger], Any]) -> str:
    """Asks, and answers how the database went about it."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(ledger.engine, "before_cursor_execute", note)
    try:
        question(ledger)
    finally:
        event.remove(ledger.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if ledger.engine.dialect.name == "sqlite" else "EXPLAIN "
    lines = []
    with ledger.reading() as connection:
        for statement, parameters in asked:
            if statement.startswith("SELECT"):
                lines += [str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters)]
    return "\n".join(lines)


@pytest.mark.parametrize("what", QUESTIONS)
def test_an_index_answers(ledger: Ledger, what: str) -> None:
    question, index = QUESTIONS[what]
    plan = plans(ledger, question)
    assert index in plan, plan
    assert not re.search(r"(?m)Seq Scan on wf_run|SCAN wf_run$", plan), plan


def test_a_page_of_everything_walks_the_key_backwards(ledger: Ledger) -> None:
    plan = plans(ledger, lambda ledger: ledger.page(Wanted()))
    assert re.search("wf_run_pkey|sqlite_autoindex_wf_run_1", plan), plan
    assert not re.search("Sort|TEMP B-TREE", plan), plan
