"""The terminal on our standard input, which an attached service uses and may leave in any state. Development only."""

import contextlib
import termios
from collections.abc import Callable

_STDIN = 0


def keep() -> Callable[[], None]:
    """What sets it again as it is now; nothing when standard input is no terminal."""
    try:
        before = termios.tcgetattr(_STDIN)
    except termios.error:
        return lambda: None

    def restore() -> None:
        with contextlib.suppress(termios.error):  # it was closed meanwhile
            termios.tcsetattr(_STDIN, termios.TCSANOW, before)

    return restore
