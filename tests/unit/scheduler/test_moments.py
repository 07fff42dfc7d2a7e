"""Times as people write and paste them."""

from datetime import UTC, datetime, timedelta

import pytest

from whalefall.scheduler.moments import moment

NOW = datetime(2026, 11, 29, 16, 4, 5, tzinfo=UTC)
SIX = datetime(2026, 12, 31, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-12-31T18:00", SIX),
        ("2026-12-31 18:00", SIX),
        ("2026-12-31 18:00:00", SIX),
        ("2026-12-31 18:00:00 UTC", SIX),
        ("2026-12-31 18:00:00.000 UTC", SIX),
        ("2026-12-31 18:00:00 (x3)", SIX),
        ("2026-12-31 18:00:00.250 UTC", SIX + timedelta(milliseconds=250)),
        ("2026-12-31T18:00:00.000000+00:00", SIX),
        ("2026-12-31T18:00Z", SIX),
        ("2026-12-31T19:00+01:00", SIX),
        ("2026-12-31 19:00 Europe/Berlin", SIX),
        ("  2026-12-31   18:00 ", SIX),
        ("2026-12-31", datetime(2026, 12, 31, tzinfo=UTC)),
        ("2026-12-31 Europe/Berlin", datetime(2026, 12, 30, 23, tzinfo=UTC)),
        ("18:00", datetime(2026, 11, 29, 18, tzinfo=UTC)),
        ("18:00:30", datetime(2026, 11, 29, 18, 0, 30, tzinfo=UTC)),
        ("today 18:00", datetime(2026, 11, 29, 18, tzinfo=UTC)),
        ("Yesterday 18:00 utc", datetime(2026, 11, 28, 18, tzinfo=UTC)),
        ("tomorrow", datetime(2026, 11, 30, tzinfo=UTC)),
        ("now", NOW),
        ("today 00:30 Asia/Tokyo", datetime(2026, 11, 29, 15, 30, tzinfo=UTC)),  # it is the 30th there already
    ],
)
def test_a_time(text: str, meant: datetime) -> None:
    found = moment(text, NOW)
    assert found == meant
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026",  # no twenty past eight in the evening
        "18",
        "today 18",
        "today 18:00 19:00",
        "18:00 19:00",
        "25:00",
        "2026-13-31",
        "2026-12-31 18:00 Nowhere/Town",
        "2026-12-31T18:00+01:00 UTC",
        "2026-12-31 18:00 Europe",
        "2026-12-31 18:00 ../../etc/passwd",
        "UTC",
    ],
)
def test_what_is_none(text: str) -> None:
    assert moment(text, NOW) is None
