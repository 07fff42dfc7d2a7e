"""What a run's record says of an exception: the traceback from the job's own code on. Standard library only."""

from itertools import takewhile
from pathlib import Path
from traceback import TracebackException

_OURS = f"{Path(__file__).parent}/"


def told(error: BaseException) -> str:
    """As Python prints it, without the frames of ours that called the job; with them where there are no others."""
    found = TracebackException.from_exception(error, compact=True)
    _begin_at_the_job(found)
    return "".join(found.format())


def _begin_at_the_job(found: TracebackException) -> None:
    """Also what was being handled meanwhile, and what caused it: either may have passed through us."""
    ours = sum(1 for _ in takewhile(lambda frame: frame.filename.startswith(_OURS), found.stack))
    if ours < len(found.stack):
        del found.stack[:ours]
    for other in (found.__cause__, found.__context__):
        if other is not None:
            _begin_at_the_job(other)
