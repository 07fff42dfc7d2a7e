"""The odd nights ahead: when the clocks change, would a cron run twice, elsewhere, or not at all? For people; pure.

The rule is in zones.py; here is only said what it will do, each night in one sentence.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from whalefall.scheduler.core.triggers import CronTrigger, Trigger
from whalefall.scheduler.core.zones import changes, wall_clock

_SECOND = timedelta(seconds=1)
YEAR = timedelta(days=366)  # each kind of night comes once in it


def odd_nights(trigger: Trigger, start: datetime, end: datetime) -> list[str]:
    """Sentences, the soonest night first. Empty for what follows elapsed time, and where no clock changes."""
    if not isinstance(trigger, CronTrigger) or trigger.cron.follows_elapsed_time:
        return []
    return [sentence for change in changes(trigger.zone, start, end) for sentence in _night(trigger, change)]


def _night(trigger: CronTrigger, change: datetime) -> Iterator[str]:
    before, after = wall_clock(change - _SECOND, trigger.zone) + _SECOND, wall_clock(change, trigger.zone)
    wanted = trigger.cron.after(min(before, after) - _SECOND)
    if wanted is None or wanted >= max(before, after):
        return
    if (trigger.start is not None and change < trigger.start) or (trigger.end is not None and change > trigger.end):
        return
    day, at = f"{wanted:%Y-%m-%d}", f"{wanted:%H:%M}"
    if before < after:
        if trigger.dst.gap == "skip":
            yield f"{day}: it would not run. There is no {at} in that night (dst_gap='skip')."
        else:
            yield f"{day}: it would run at {after:%H:%M}. There is no {at} in that night (dst_gap='run')."
    elif trigger.dst.fold == "both":
        yield f"{day}: it would run twice. There are two {at} in that night (dst_fold='both')."
    else:
        yield f"{day}: it would run once, at the {trigger.dst.fold} {at} of two (dst_fold='{trigger.dst.fold}')."
