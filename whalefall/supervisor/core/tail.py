"""The last kilobytes that an instance said, for `logs`, for reports and for the pages."""

from collections import deque
from dataclasses import dataclass, field

TAIL_BYTES_MAX = 65_536  # about 500 lines; times the number of instances this is all that logs cost us in memory
LINE_SHOWN_MAX = 4_096  # a longer line is cut where people read it, not where it is passed on


@dataclass(slots=True)
class Tail:
    chunks: deque[bytes] = field(default_factory=deque)
    size: int = 0

    def add(self, lines: bytes) -> None:
        """Whole lines only."""
        self.chunks.append(lines[-TAIL_BYTES_MAX:])
        self.size += len(self.chunks[-1])
        while self.size > TAIL_BYTES_MAX and len(self.chunks) > 1:
            self.size -= len(self.chunks.popleft())

    def last(self, count: int) -> list[str]:
        """Up to `count` lines as text, oldest first; what is not UTF-8 is shown with replacement characters."""
        if count <= 0:
            return []
        lines = b"".join(self.chunks).split(b"\n")
        return [line[:LINE_SHOWN_MAX].decode(errors="replace") for line in lines if line][-count:]
