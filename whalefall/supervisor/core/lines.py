"""Chunks of bytes → whole lines. A line that is cut by a read is held until its end comes.

Bytes stay bytes: nothing is decoded, so nothing can be undecodable. A line longer than LINE_BYTES_MAX is passed on in
pieces of that size, each a line of its own, because holding more would let one child fill our memory.
"""

from whalefall.plan.records import field, mutable

LINE_BYTES_MAX = 1_048_576  # a 1 MB traceback or JSON record still arrives in one piece


@mutable
class Lines:
    """The unfinished line of one source."""

    parts: list[bytes] = field(factory=list)
    held: int = 0

    def feed(self, chunk: bytes) -> bytes:
        """The finished lines that `chunk` completes, each with its newline; b"" if there is none."""
        end = chunk.rfind(b"\n") + 1
        if end == 0:
            return self._hold(chunk)
        whole = b"".join([*self.parts, chunk[:end]])
        self.parts, self.held = [], 0
        return whole + self._hold(chunk[end:])

    def flush(self) -> bytes:
        """What is left at the end of the source, with a newline so that the next line starts on its own."""
        rest = b"".join(self.parts)
        self.parts, self.held = [], 0
        return rest + b"\n" if rest else b""

    def _hold(self, piece: bytes) -> bytes:
        if piece:
            self.parts.append(piece)
            self.held += len(piece)
        return self.flush() if self.held >= LINE_BYTES_MAX else b""


def prefixed(lines: bytes, prefix: bytes) -> bytes:
    """Every line of `lines` (which end with a newline) behind `prefix`. One pass in C: this is the hot path."""
    return prefix + lines[:-1].replace(b"\n", b"\n" + prefix) + b"\n" if lines else b""
