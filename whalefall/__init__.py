"""whalefall runs a Flask + APScheduler application the right way: Nginx, web and scheduler under one small PID 1.

Importing this package costs nothing: the Flask side is loaded on first touch (PEP 562), because PID 1 imports it too.
"""

from typing import TYPE_CHECKING

from whalefall._version import __version__

if TYPE_CHECKING:
    from whalefall.scheduler import Scheduler as Scheduler
    from whalefall.scheduler import current_run as current_run

__all__ = ["Scheduler", "__version__", "current_run"]


def __getattr__(name: str) -> object:
    if name in ("Scheduler", "current_run"):
        from whalefall import scheduler  # noqa: PLC0415 - PEP 562: the point is not to import it earlier

        return getattr(scheduler, name)
    raise AttributeError(f"module 'whalefall' has no attribute {name!r}")
