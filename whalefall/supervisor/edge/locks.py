"""Proof of death: a flock(2) that a whole tree inherits is free only when its last process is gone.

It holds through SIGKILL of the supervisor and of the leader, and past setsid: whoever inherited the descriptor and
still lives keeps the lock, also when the tree belongs to another supervisor on this host.
"""

import fcntl
import os

_HOLDER_BYTES_MAX = 200


class HeldError(Exception):
    """Somebody of an earlier tree is alive; `str()` says whose."""


def take(path: str, holder: str) -> int:
    """A descriptor that holds the lock, with `holder` written into the file for others to read.

    Raises HeldError with the present holder's words, or OSError when the file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)
    except BlockingIOError:
        present = os.pread(descriptor, _HOLDER_BYTES_MAX, 0).decode(errors="replace")
        os.close(descriptor)
        raise HeldError(present or "somebody") from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
