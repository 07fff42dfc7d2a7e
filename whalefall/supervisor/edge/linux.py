"""prctl(2) by number: the only file that knows them. Where it is missing (not Linux), the answer is False."""

import ctypes

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_libc = ctypes.CDLL(None, use_errno=True)


def become_subreaper() -> bool:
    """What outlives its parent becomes our child instead of init's (PR_SET_CHILD_SUBREAPER, Linux 3.4)."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signum: int) -> bool:
    """This process gets `signum` when its parent thread ends. Cleared by fork and by a change of credentials."""
    return _prctl(_PR_SET_PDEATHSIG, signum)


def _prctl(option: int, value: int) -> bool:
    return hasattr(_libc, "prctl") and _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) == 0
