"""The last kilobytes that an instance said, for `logs`, for reports and for the pages; and which of it tells most."""

import re
from collections import deque
from collections.abc import Sequence

from whalefall.plan.records import field, mutable

TAIL_BYTES_MAX = 65_536  # about 500 lines; times the number of instances this is all that logs cost us in memory
LINE_SHOWN_MAX = 4_096  # a longer line is cut where people read it, not where it is passed on
LAST_WORDS_WITHIN = 200  # lines; a traceback through a framework has fewer
_MESSAGE_LINES_MAX = 8  # of an exception: a database's has five; what goes on for longer has lived through it

# What Gunicorn's master says after an application could not be loaded, for each worker: that it ends, and never why.
# (Not compiled here: that takes a millisecond of every start, and only a crash wants it.)
_CLOSING = (
    r"\[[-\d]{10} [^]]*] \[\d+] \[[A-Z]+] (Worker exiting|Worker \(pid:\d+\) (exited with code|was sent SIGTERM)|"
    r"Shutting down: Master|Reason: |Control socket listening)"
)
# Two workers that end together make its master stumble over its own end (27.0): two tracebacks, and both tell nothing.
_HALT = "gunicorn.errors.HaltServer: "
_TRACEBACK = "Traceback (most recent call last):"
_CHAINED = "During handling of the above exception, another exception occurred:"
_LOGGED = r"\[?\d{4}-\d\d-\d\d|(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b"  # the traceback was lived through


def last_words(lines: Sequence[str]) -> list[str]:
    """`lines` without what Gunicorn says behind the reason of its end; all of them where that is all there is."""
    end = len(lines)
    while end and (closing := _closing(lines[:end])):
        end -= closing
    return list(lines[:end] or lines)


def _closing(lines: Sequence[str]) -> int:
    """How many of the last lines are one such word."""
    if lines[-1].startswith(_HALT):
        return next((number for number, line in enumerate(reversed(lines), 1) if line == _TRACEBACK), 0)
    return 1 if lines[-1] == _CHAINED or re.match(_CLOSING, lines[-1]) else 0


def last_error(lines: Sequence[str]) -> str:
    """The exception whose traceback stands at the end of `lines`, as `KeyError: 'x'`; "" when none does."""
    start = max((at for at, line in enumerate(lines) if line == _TRACEBACK), default=None)
    if start is None:
        return ""
    # Another worker's closing words may have come between.
    told = [line for line in lines[start + 1 :] if not line.startswith((" ", "\t")) and not re.match(_CLOSING, line)]
    lived_on = len(told) > _MESSAGE_LINES_MAX or any(re.match(_LOGGED, line) for line in told[1:])
    return "" if lived_on else "".join(told[:1])


@mutable
class Tail:
    """Of all lives of one instance; each chunk remembers which life said it."""

    chunks: deque[tuple[str, bytes]] = field(factory=deque)
    size: int = 0

    def add(self, life: str, lines: bytes) -> None:
        """Whole lines only."""
        kept = lines[-TAIL_BYTES_MAX:]
        self.chunks.append((life, kept))
        self.size += len(kept)
        while self.size > TAIL_BYTES_MAX and len(self.chunks) > 1:
            self.size -= len(self.chunks.popleft()[1])

    def last(self, count: int, life: str = "") -> list[str]:
        """Up to `count` lines as text, oldest first, of `life` alone if it is named.

        What is not UTF-8 is shown with replacement characters.
        """
        if count <= 0:
            return []
        lines = b"".join(chunk for source, chunk in self.chunks if not life or source == life).split(b"\n")
        return [line[:LINE_SHOWN_MAX].decode(errors="replace") for line in lines if line][-count:]
