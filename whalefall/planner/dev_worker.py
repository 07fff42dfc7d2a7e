"""Gunicorn's worker in `whalefall dev`: code that does not import is shown and waited for, not a crash.

Gunicorn's own reloader does so for a SyntaxError only; with a NameError the worker ends, then the master, and soon the
restart budget. Here every error at import becomes the answer to every request, until a file changes.
"""

import os
import sys
import traceback
from collections.abc import Iterator
from types import TracebackType

from gunicorn.util import make_fail_app
from gunicorn.workers.gthread import ThreadWorker

from whalefall.planner.gunicorn import answering_ready


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
        self.wsgi = self.app.wsgi()  # Gunicorn's own would make an exception of SyntaxError

    def _wait_for_a_change(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        sys.stderr.write(f"{text}The application does not load. Mend it and save: it is loaded again.\n")
        for file in _files(error):
            self.reloader.add_extra_file(file)
        if not self.reloader.is_alive():
            self.reloader.start()
        self.wsgi = answering_ready(make_fail_app(text))  # what waits for this service shall not wait for its mending
        self.booted = True
        self.run()

    def run(self) -> None:
        """With FLASK_DEBUG an error in a request is a page with its traceback, as under `flask run --debug`."""
        if os.environ.get("FLASK_DEBUG", "").lower() not in ("", "0", "false", "no"):  # Flask's own reading of it
            from werkzeug.debug import DebuggedApplication  # noqa: PLC0415 - not before the application's own imports

            # evalex=False: the console in that page runs code for whoever opens it. `--attach` is the debugger here.
            self.wsgi = DebuggedApplication(self.wsgi, evalex=False)
        super().run()


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
