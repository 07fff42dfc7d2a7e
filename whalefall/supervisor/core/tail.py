"""The last kilobytes that an instance said, for `logs`, for reports and for the pages."""

from collections import deque

from whalefall.plan.records import field, mutable

TAIL_BYTES_MAX = 65_536  # about 500 lines; times the number of instances this is all that logs cost us in memory
LINE_SHOWN_MAX = 4_096  # a longer line is cut where people read it, not where it is passed on


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
