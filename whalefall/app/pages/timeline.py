"""/scheduler/timeline: the next 24 hours, a lane for each job."""

from datetime import UTC, datetime, timedelta

from flask import Blueprint, render_template
from flask.typing import ResponseReturnValue

from whalefall.app import upcoming
from whalefall.app.pages.scheduler import admin
from whalefall.app.pages.schedules import schedule_words
from whalefall.app.roles import Role, needs

SPAN = timedelta(hours=24)
WIDTH = 1_000  # of the drawing, in its own units


def add_to(blueprint: Blueprint) -> None:
    """Registers the page."""
    blueprint.add_url_rule("/scheduler/timeline", "timeline", show_timeline)


@needs(Role.VIEW)
def show_timeline() -> ResponseReturnValue:
    """The page."""
    start = datetime.now(UTC)
    lanes = upcoming.lanes(admin(), start, SPAN)
    return render_template(
        "whalefall/timeline.html",
        lanes=lanes,
        collisions=upcoming.collisions(lanes)[:50],
        place=lambda moment: round(WIDTH * (moment - start) / SPAN, 1),
        hours=[_next_hour(start) + timedelta(hours=hours) for hours in range(0, 24, 3)],
        width=WIDTH,
        schedule_words=schedule_words,
    )


def _next_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
