"""The proof itself: what `verify` makes of rows that the ledger's own constraint would never let in."""

from datetime import UTC, datetime, timedelta
from typing import Any

from whalefall.scheduler.core.runs import RunState
from whalefall.scheduler.ledger.records import EventRecord, RunRecord
from whalefall.scheduler.verify import compare, expected_instants

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def row(minute: int, until: int | None = None) -> RunRecord:
    """Of that minute, or of a stretch of them."""
    empty: dict[str, Any] = dict.fromkeys(RunRecord.__dataclass_fields__)
    at = NOON + minute * MINUTE
    end = None if until is None else NOON + until * MINUTE
    count = 1 if until is None else until - minute + 1
    return RunRecord(**{**empty, "scheduled_at": at, "state": RunState.QUEUED, "span_end": end, "span_count": count})


def problems(rows: list[RunRecord], *, minutes: int = 3) -> list[tuple[str, int]]:
    wanted = [NOON + minute * MINUTE for minute in range(minutes)]
    found = compare("tidy", wanted, rows, NOON)
    return [(problem.kind, (problem.instant - NOON) // MINUTE) for problem in found]


def test_each_once_is_no_problem() -> None:
    assert problems([row(0), row(1), row(2)]) == []
    assert problems([row(0), row(1, until=2)]) == []


def test_an_instant_without_a_row_is_missing() -> None:
    assert problems([row(0), row(2)]) == [("missing", 1)]
    assert problems([row(0, until=1)]) == [("missing", 2)]


def test_an_instant_with_two_rows_is_doubled() -> None:
    assert problems([row(0), row(1), row(1), row(2)]) == [("doubled", 1)]


def test_also_where_a_stretch_covers_it_again() -> None:
    assert problems([row(0, until=2), row(1)]) == [("doubled", 1)]
    assert problems([row(0, until=1), row(1, until=2)]) == [("doubled", 1)]


def test_a_row_that_no_trigger_named_is_unexpected_but_not_before_the_question() -> None:
    assert problems([row(0), row(1), row(2), row(7)]) == [("unexpected", 7)]
    assert problems([row(-1), row(0), row(1), row(2)]) == []


def schedule(minute: int, trigger: dict[str, Any] | None) -> EventRecord:
    detail = {
        "why": "declared", "since": (NOON + minute * MINUTE).isoformat(), "trigger": trigger, "timezone": "UTC",
        "anchor": NOON.isoformat(), "dst_gap": "run", "dst_fold": "first",
    }  # fmt: skip
    return EventRecord(minute, NOON, "schedule", "tidy", "a test", detail)


def test_each_trigger_counts_from_its_beginning_to_that_of_the_next() -> None:
    """Exclusive and inclusive: what was due at the moment of a change belonged to the one before."""
    minutely, three = {"type": "interval", "seconds": 60.0}, {"type": "interval", "seconds": 180.0}
    schedules = [schedule(0, minutely), schedule(3, three), schedule(9, None), schedule(12, minutely)]
    found = expected_instants(schedules, NOON - MINUTE, NOON + 14 * MINUTE)
    assert [(instant - NOON) // MINUTE for instant in found] == [1, 2, 3, 6, 9, 13, 14]
    within = expected_instants(schedules, NOON + 2 * MINUTE, NOON + 6 * MINUTE)
    assert [(instant - NOON) // MINUTE for instant in within] == [2, 3, 6]
    at_the_change = expected_instants(schedules, NOON + 3 * MINUTE, NOON + 3 * MINUTE)
    assert at_the_change == [NOON + 3 * MINUTE]
