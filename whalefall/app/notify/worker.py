"""Notifications in a Gunicorn worker of web or scheduler: called from post_worker_init and worker_exit.

def post_worker_init(worker): whalefall.app.notify.worker.start_worker(worker.wsgi)
def worker_exit(server, worker): whalefall.app.notify.worker.stop_worker()
"""

import logging
from typing import Any

from whalefall.app.notify.channels import channels_of, rules_of, site_of
from whalefall.app.notify.crew import Crew, Duty, Observe, Pace
from whalefall.app.notify.watch import Watch
from whalefall.scheduler import SchedulerState, holders
from whalefall.scheduler.state import KEY
from whalefall.scheduler.worker import flask_apps

_WAIT_S = 2.0  # for what is being sent when the worker stops
_started: list[Crew] = []


def start_worker(wsgi_app: Any, pace: Pace | None = None) -> int:
    """Starts the crew of each ledger that the Flask apps in `wsgi_app` have. Answers how many were started."""
    states = {state.database_url: state for app in flask_apps(wsgi_app) if (state := app.extensions.get(KEY))}
    _speak()
    crews = [crew_of(state, pace or Pace()) for state in states.values()]
    for crew in crews:
        crew.start()
    _started.extend(crews)
    return len(crews)


def _speak() -> None:
    """Where the application configured no logging, what is seen goes to standard error; also that it is over (INFO)."""
    log = logging.getLogger("whalefall.notify")
    if not log.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False  # should the application configure its logging later, nothing is said twice


def stop_worker(wait_s: float = _WAIT_S) -> None:
    """Stops what `start_worker` started."""
    while _started:
        _started.pop().stop(wait_s)


def crew_of(state: SchedulerState, pace: Pace) -> Crew:
    """Not started yet. Without a receiver in the settings it tells the log alone."""
    settings = state.settings
    channels = channels_of(settings)
    holder = holders.name()
    has_pages = "whalefall" in state.app.extensions
    duty = Duty(state.ledger, channels, site_of(settings, has_pages=has_pages), holder, _observer(state), pace)
    return Crew(duty, Watch(state.ledger, rules_of(settings), [channel.name for channel in channels], holder))


def _observer(state: SchedulerState) -> Observe:
    """Counts for /metrics, where the application has it."""
    if "whalefall" not in state.app.extensions:
        return lambda _channel, _outcome: None
    from whalefall.app.counted import counts  # noqa: PLC0415 - an application without our pages has no use for it

    return counts.notice
