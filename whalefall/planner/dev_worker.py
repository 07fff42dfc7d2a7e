"""Gunicorn's worker in `whalefall dev`: code that does not import is shown and waited for, not a crash.

Gunicorn's own reloader does so for a SyntaxError only; with a NameError the worker ends, then the master, and soon the
restart budget. Here every error at import becomes the answer to every request, until a file changes. And an edit that
comes while the application is loading is not lost: each module's time is noted when it is read.
"""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import TracebackType
from typing import Any

from gunicorn import reloader
from gunicorn.util import make_fail_app
from gunicorn.workers.gthread import ThreadWorker

from whalefall.planner.gunicorn import answering_ready

_LOOK_EVERY_S = 0.5  # a thousand files: a few milliseconds


class _Reloader(reloader.Reloader):  # type: ignore[misc]  # Gunicorn has no types
    """Gunicorn's, which takes the time at its first look for that of loading; ours is told what was read when."""

    def __init__(self, times: dict[str, float], callback: Callable[[str], None]) -> None:
        super().__init__(callback=callback)
        self.times = times

    def run(self) -> None:
        while True:
            for name in self.get_files():
                with contextlib.suppress(OSError):  # not there: it was a file of a zip, or is just being replaced
                    modified = Path(name).stat().st_mtime
                    if modified > self.times.setdefault(name, modified):
                        self._callback(name)
                        return
            time.sleep(_LOOK_EVERY_S)


class DevWorker(ThreadWorker):  # type: ignore[misc]  # Gunicorn has no types
    """A gthread worker that outlives what it cannot load."""

    def init_process(self) -> None:
        try:
            super().init_process()
        except (Exception, SystemExit) as error:
            if self.booted or not self.alive:
                raise
            self._wait_for_a_change(error)

    def load_wsgi(self) -> None:
        times = _times_of_loading()
        gunicorns: Any = self.reloader
        self.reloader: Any = _Reloader(times, gunicorns._callback)  # noqa: SLF001 - how it ends a worker is Gunicorn's
        self.wsgi = self.app.wsgi()  # Gunicorn's own method would make an exception of SyntaxError

    def _wait_for_a_change(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        sys.stderr.write(f"{text}The application does not load. Mend it and save: it is loaded again.\n")
        for file in _files(error):
            self.reloader.add_extra_file(file)
        if not self.reloader.is_alive():  # it is when the application was loaded, and its scheduler could not start
            self.reloader.start()
        self.wsgi = answering_ready(make_fail_app(text))  # what waits for this service shall not wait for its mending
        self.booted = True
        self.run()

    def run(self) -> None:
        """With FLASK_DEBUG an error in a request is a page with its traceback, as under `flask run --debug`."""
        from flask.helpers import get_debug_flag  # noqa: PLC0415 - not before the application's own imports

        if get_debug_flag():
            from werkzeug.debug import DebuggedApplication  # noqa: PLC0415 - likewise

            # evalex=False: the console in that page runs code for whoever opens it. `--attach` is the debugger here.
            self.wsgi = DebuggedApplication(self.wsgi, evalex=False)
        super().run()


def _times_of_loading() -> dict[str, float]:
    """Filled from now on with the time of each source file that the import system looks at, before it reads it."""
    times: dict[str, float] = {}
    stats = SourceFileLoader.path_stats

    def noting(loader: SourceFileLoader, path: str) -> Mapping[str, Any]:
        found = stats(loader, path)
        times.setdefault(str(path), found["mtime"])
        return found

    SourceFileLoader.path_stats = noting  # type: ignore[method-assign, assignment]  # in this process only
    return times


def _files(error: BaseException) -> Iterator[str]:
    """The files that the error came through: a module that did not import is in no list of modules to watch."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, SyntaxError) and seen.filename:
            yield seen.filename
        yield from _frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__


def _frames(step: TracebackType | None) -> Iterator[str]:
    while step is not None:
        if os.path.isabs(file := step.tb_frame.f_code.co_filename):  # noqa: PTH117 - `<frozen importlib>` is no path
            yield file
        step = step.tb_next
