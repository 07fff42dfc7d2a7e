"""Triggers in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.scheduler.core.triggers import cron_spec
from whalefall.scheduler.core.words import in_words


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("30 6 * * mon-fri", "at 06:30, Monday to Friday"),
        ("0 1 * * *", "at 01:00"),
        ("0 1,13 * * *", "at 01:00 and 13:00"),
        ("*/5 * * * *", "every 5 minutes"),
        ("* * * * *", "every minute"),
        ("0 * * * *", "every hour"),
        ("7 * * * *", "every hour at minute 7"),
        ("0 */2 * * *", "every 2 hours"),
        ("*/30 * * * * *", "every 30 seconds"),
        ("* * * * * *", "every second"),
        ("*/10 9-17 * * 1-5", "every 10 minutes from 09:00 to 17:59, Monday to Friday"),
        ("0 0 1 * *", "at 00:00, on the 1. of the month"),
        ("0 0 L * *", "at 00:00, on the last day of the month"),
        ("0 0 * * sun", "at 00:00, on Sunday"),
        ("0 0 * * 0,6", "at 00:00, on Saturday and Sunday"),
        ("0 0 13 * fri", "at 00:00, on the 13. of the month and also on Friday"),
        ("0 0 * * fri#3", "at 00:00, on the third Friday of the month"),
        ("0 0 1 1,7 *", "at 00:00, on the 1. of the month, in January and July"),
        ("15 30 4 * * * 2099", "at 04:30:15, in 2099"),
        ("1,2,40 * * * *", "at the times of '1,2,40 * * * *'"),
    ],
)
def test_cron(expression: str, words: str) -> None:
    assert in_words(cron_spec(expression)) == words


def test_the_others() -> None:
    assert in_words({"type": "interval", "seconds": 5400.0}) == "every 90 minutes"
    assert in_words({"type": "interval", "seconds": 86_400.0}) == "every day"
    assert in_words({"type": "interval", "seconds": 0.5}) == "every 0.5 seconds"
    assert in_words({"type": "date", "at": "2026-12-31T17:00:00+00:00"}) == "once, at 2026-12-31 17:00:00 UTC"
    assert in_words({"type": "calendarinterval", "fields": {"months": 2, "hour": 3}}) == "every 2 months, 3 hour"
    assert in_words({"type": "cron", "fields": {"hour": "99"}}) == "a cron expression that means nothing"


_FIELD = st.sampled_from(["*", "*/2", "1", "1-5", "1,3,5", "2-4/2"])


@given(st.tuples(_FIELD, _FIELD, _FIELD, _FIELD, _FIELD, _FIELD))
def test_every_expression_has_words(fields: tuple[str, ...]) -> None:
    assert in_words(cron_spec(" ".join(fields)))
