"""The text of one run: grows without end, stays bounded. Standard library only: a minder loads it, too."""

import threading

OUTPUT_MAX = 100_000  # characters kept of one run: the first and the last half of them
_HALF = OUTPUT_MAX // 2


class Output:
    """The beginning and the end survive. Safe from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._head = ""
        self._tail = ""
        self._dropped = 0

    def write(self, text: str) -> None:
        with self._lock:
            room = _HALF - len(self._head)
            self._head += text[:room] if room > 0 else ""
            self._tail += text[max(room, 0) :]
            over = len(self._tail) - _HALF
            if over > 4096 or (over > 0 and not self._dropped):  # cut in larger pieces, not at every character
                self._dropped += over
                self._tail = self._tail[over:]

    def replace(self, text: str) -> None:
        """All of it anew: somebody else has bounded it."""
        with self._lock:
            self._head, self._tail, self._dropped = text, "", 0

    def text(self) -> str:
        with self._lock:
            if not self._dropped:
                return (self._head + self._tail).replace("\0", "")  # PostgreSQL's text has no NUL
            gap = f"\n… {self._dropped} characters left out …\n"
            return (self._head + gap + self._tail[-_HALF:]).replace("\0", "")
