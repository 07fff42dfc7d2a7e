"""What a job prints and logs goes to its run, and to where it went before.

`sys.stdout` and `sys.stderr` are wrapped once per process; a line is a run's if it is written by the run's own
context (thread, or a thread that was given a copy of the context).
"""

import io
import logging
import sys
import threading
from collections.abc import Callable
from typing import Any, TextIO

from whalefall.scheduler.output import Output

Current = Callable[[], Output | None]


class Tee(io.TextIOBase):
    """A stream that also writes to the current run."""

    def __init__(self, stream: TextIO, current: Current) -> None:
        self.stream = stream
        self._current = current

    def write(self, text: str) -> int:
        output = self._current()
        if output is not None:
            output.write(text)
        return self.stream.write(text)

    def flush(self) -> None:
        if not self.stream.closed:  # io closes, and so flushes, whatever is collected; the stream may be gone by then
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


class RunLog(logging.Handler):
    """Log records of the current run, as one line each."""

    def __init__(self, current: Current) -> None:
        super().__init__()
        self._current = current
        self.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        output = self._current()
        if output is not None:
            output.write(self.format(record) + "\n")
        # Where nobody configured logging, warnings go to standard error; our being here must not change that.
        fallback = logging.lastResort if logging.getLogger().handlers == [self] else None
        if fallback is not None and record.levelno >= fallback.level:
            fallback.handle(record)


class Capturing:
    """Installs both and puts things back. One per process is enough, however many apps there are."""

    def __init__(self, current: Current) -> None:
        self._current = current
        self._users = 0
        self._lock = threading.Lock()
        self._log = RunLog(current)

    def install(self) -> None:
        with self._lock:
            self._users += 1
            # Also for the second user: somebody may have put other streams there meanwhile.
            if not isinstance(sys.stdout, Tee):
                sys.stdout = Tee(sys.stdout, self._current)
            if not isinstance(sys.stderr, Tee):
                sys.stderr = Tee(sys.stderr, self._current)
            if self._log not in logging.getLogger().handlers:
                logging.getLogger().addHandler(self._log)

    def remove(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                logging.getLogger().removeHandler(self._log)
                # Somebody may have wrapped our wrapper meanwhile; then it stays, harmless.
                if isinstance(sys.stdout, Tee):
                    sys.stdout = sys.stdout.stream
                if isinstance(sys.stderr, Tee):
                    sys.stderr = sys.stderr.stream
