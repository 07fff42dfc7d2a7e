"""Times as people write and paste them: ISO 8601, what our own tables print, and a few words. UTC unless it is said."""

import re
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAYS = {"yesterday": -1, "today": 0, "tomorrow": 1}
_SPAN = re.compile(r"\s*\(x\d+\)$")  # `jobs history` writes it behind the first instant of a row that stands for many


def moment(text: str, now: datetime) -> datetime | None:
    """The time in UTC, or None for what is none. `now` (aware) is what `today` and a mere `18:00` are taken from."""
    words = _SPAN.sub("", text).split()
    if words == ["now"]:
        return now.astimezone(UTC)
    zone = _zone(words[-1]) if len(words) > 1 else None
    found = _written(words[:-1] if zone else words, now.astimezone(zone or UTC))
    if found is None or (zone and found.tzinfo is not None):
        return None
    return (found if found.tzinfo else found.replace(tzinfo=zone or UTC)).astimezone(UTC)


def _written(words: list[str], now: datetime) -> datetime | None:
    try:
        if words and words[0].lower() in _DAYS:
            clock = _clock(words[1:]) if words[1:] else time()
            return datetime.combine(now.date() + timedelta(days=_DAYS[words[0].lower()]), clock)
        if len(words) == 1 and ":" in words[0] and "-" not in words[0].partition(":")[0]:
            return datetime.combine(now.date(), _clock(words))
        return datetime.fromisoformat(" ".join(words))
    except ValueError:
        return None


def _clock(words: list[str]) -> time:
    """Raises ValueError. `18` alone is refused: a year would be taken for hours and minutes."""
    [text] = words
    if ":" not in text:
        raise ValueError(text)
    return time.fromisoformat(text)


def _zone(word: str) -> ZoneInfo | None:
    """A zone by its name; None for a word that is no zone's, as the clock in `2026-12-31 18:00`."""
    if not word[:1].isalpha():
        return None
    try:
        return ZoneInfo("UTC" if word.upper() in ("UTC", "Z", "GMT") else word)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None
