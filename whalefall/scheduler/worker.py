"""The scheduler's role in a Gunicorn worker: called from post_worker_init and worker_exit.

def post_worker_init(worker): whalefall.scheduler.start_worker(worker.wsgi)
def worker_exit(server, worker): whalefall.scheduler.stop_worker(followed=…)
"""

import logging
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

from flask import Flask

from whalefall.scheduler.state import KEY, SchedulerState

_WRAPPERS = (
    "app",
    "application",
    "wsgi_app",
    "wrapped",
    "_app",
    "_application",
    "_wsgi_app",
    "__wrapped__",
    "__self__",
    "func",
)
_LOOK_MAX = 200  # objects looked at in search of a Flask app inside middleware
_RESERVE_S = 2.5  # of the grace period: to end what did not end, to say so, and for the process itself

_started: list[SchedulerState] = []
_stopping = threading.Lock()
_log = logging.getLogger("whalefall.scheduler")


def start_worker(wsgi_app: Any) -> int:
    """Starts the scheduler of every Flask app found in `wsgi_app`. Answers how many were started."""
    apps = list(flask_apps(wsgi_app))
    states = [app.extensions[KEY] for app in apps if KEY in app.extensions]
    if not apps:
        _log.warning("no Flask application was found in %r: no scheduler runs in this process", wsgi_app)
    elif not states:
        names = ", ".join(repr(app.name) for app in apps)
        _log.warning(
            "the Flask application %s has no scheduler, so no job will run; "
            "add `from whalefall import Scheduler; scheduler = Scheduler(app)`",
            names,
        )
    if states:
        _speak(states[0].settings.log_level)
    _started.extend(state for state in states if state.start())
    return len(_started)


def stop_worker(grace_s: float | None = None, *, followed: bool = False) -> None:
    """Stops what `start_worker` started, within the grace period of the settings unless told another.

    `followed`: another scheduler takes this one's place at once, as in a reload. May be called again: that waits.
    """
    with _stopping:
        while _started:
            state = _started.pop()
            grace = state.settings.grace_s if grace_s is None else grace_s
            state.stop(max(grace - _RESERVE_S, 1.0), followed=followed)


def _speak(level: str) -> None:
    """Where the application configured no logging, what the scheduler and the jobs say goes to standard error."""
    if not logging.getLogger().handlers:
        logging.basicConfig(level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("alembic").setLevel(logging.WARNING)


def flask_apps(wsgi_app: Any) -> Iterator[Flask]:
    """Flask apps inside middleware, dispatchers, partials and closures; breadth first, each once."""
    seen: set[int] = set()
    waiting: deque[Any] = deque([wsgi_app])
    while waiting and len(seen) < _LOOK_MAX:
        candidate = waiting.popleft()
        if id(candidate) in seen or not callable(candidate):
            continue
        seen.add(id(candidate))
        if isinstance(candidate, Flask):
            yield candidate
        else:
            waiting.extend(_inside(candidate))


def _inside(candidate: Any) -> Iterator[Any]:
    for name in _WRAPPERS:
        inner = getattr(candidate, name, None)
        if inner is not None:
            yield inner
    mounts = getattr(candidate, "mounts", None)  # werkzeug's DispatcherMiddleware
    if isinstance(mounts, dict):
        yield from mounts.values()
    for cell in getattr(candidate, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # an empty cell
            continue
