"""What every template has at hand: who is here, the language, and how times, sizes and durations are written."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from flask import request, url_for
from markupsafe import Markup

from whalefall import __version__
from whalefall.app import access
from whalefall.app.language import language, translate
from whalefall.app.pages.assets import asset_url
from whalefall.app.retelling import retold
from whalefall.app.roles import Role

NOTHING = "\N{EN DASH}"
_LAST_WORDS_MAX = 200  # characters; the run's page has all of it

# One word, one mark and one colour per state; the mark says it to those who do not see the colour.
STATE_KINDS = {
    "succeeded": "good",
    "ready": "good",
    "running": "busy",
    "starting": "busy",
    "queued": "idle",
    "waiting": "idle",
    "finished": "idle",
    "stopped": "idle",
    "stopping": "busy",
    "cancelled": "idle",
    "failed": "bad",
    "timed_out": "bad",
    "lost": "bad",
    "backoff": "bad",
}


def context() -> dict[str, Any]:
    """The template context of a page of ours."""
    who = access.identity()
    return bare_context() | {
        "who": who,
        "is_admin": who.role.may(Role.ADMIN),
        "csrf_token": access.csrf_token,
        "page_endpoint": (request.endpoint or "").rpartition(".")[2],
    }


def bare_context() -> dict[str, Any]:
    """What needs neither session nor database."""
    return {
        "who": access.NOBODY,
        "is_admin": False,
        "_": translate,
        "lang": language(),
        "asset": asset_url,
        "version": __version__,
        "when": when,
        "duration": duration,
        "size": size,
        "spark": spark,
        "kind": kind,
        "word": word,
        "retold": retold,
        "last_words": last_words,
        "page_endpoint": "",
        "page": page_url,
    }


def page_url(name: str, /, **values: Any) -> str:
    """The address of one of our pages."""
    return url_for(f"whalefall_pages.{name}", **values)


def kind(state: str | None) -> str:
    """good, bad, busy, idle or skip: what a state means at a glance."""
    if not state:
        return "none"
    return "skip" if state.startswith("skipped") else STATE_KINDS.get(state, "idle")


def word(name: str | None) -> str:
    """A state, source or role as people say it."""
    return translate((name or "none").replace("_", " "))


def last_words(error: str | None) -> str:
    """The line of a traceback that says what it was."""
    lines = (error or "").strip().splitlines()
    return lines[-1][:_LAST_WORDS_MAX] if lines else ""


def when(moment: datetime | None, style: str = "ago", zone: str = "") -> Markup:
    """A <time> that reads without JavaScript (UTC) and that live.js turns into "3 min ago", a countdown or "due now".

    With `zone` it is written in that time zone, else in the visitor's.
    """
    if moment is None:
        return Markup('<span class="none">{}</span>').format(NOTHING)
    moment = moment.astimezone(UTC)
    text = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" data-when="{}" data-zone="{}" title="{}">{}</time>').format(
        moment.isoformat(timespec="milliseconds"), style, zone, text, text
    )


def duration(seconds: float | None) -> str:
    """`0.12 s`, `12 s`, `3 min 4 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return NOTHING
    if seconds < 0.9995:
        return f"{max(seconds, 0) * 1000:.0f} {translate('ms')}"
    if seconds < 60:
        return f"{seconds:.{1 if seconds < 10 else 0}f} {translate('s')}"
    whole = round(seconds)
    for unit_s, unit, below_s, below in ((60, "min", 1, "s"), (3_600, "h", 60, "min"), (86_400, "d", 3_600, "h")):
        if whole < unit_s * (60 if unit == "min" else 24) or unit == "d":
            rest = whole % unit_s // below_s
            most = f"{whole // unit_s} {translate(unit)}"
            return f"{most} {rest} {translate(below)}" if rest else most
    raise AssertionError("the last unit takes everything")


def size(count: float | None) -> str:
    """Bytes in the unit that leaves one to three digits."""
    if count is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1_000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1_024
    return f"{count:.1f} TiB"


@dataclass(frozen=True, slots=True)
class Bar:
    """One run in the plot of durations: where it stands, how high it is, and what it says when pointed at."""

    x: float
    height: float
    kind: str
    title: str


def bars(runs: Sequence[Any], *, width: float = 1_000, height: float = 100) -> list[Bar]:
    """Runs, oldest first, as bars as high as they took long; one that took no time is still seen."""
    highest = max((run.duration_s or 0 for run in runs), default=0) or 1
    step = width / max(len(runs), 20)
    return [
        Bar(
            x=round(index * step, 2),
            height=round(max((run.duration_s or 0) / highest * height, 3), 2),
            kind=kind(run.state),
            title=f"{word(run.state)} · {duration(run.duration_s)} · {run.scheduled_at:%m-%d %H:%M:%S} UTC",
        )
        for index, run in enumerate(runs)
    ]


def spark(values: Sequence[float | None], *, top: float | None = None) -> Markup:
    """A line of values as an SVG; `top` is the full height, else the largest value. Gaps are left out."""
    known = [(index, value) for index, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return Markup("")
    highest = max(top or 0, *(value for _, value in known)) or 1
    width = max(len(values) - 1, 1)
    points = " ".join(f"{index * 100 / width:.1f},{30 - 28 * value / highest:.1f}" for index, value in known)
    first, last = known[0][0] * 100 / width, known[-1][0] * 100 / width
    return Markup(
        '<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        '<polygon points="{0:.1f},30 {1} {2:.1f},30"/><polyline points="{1}"/></svg>'
    ).format(first, points, last)
