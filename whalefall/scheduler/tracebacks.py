"""What a run's record says of an exception: the traceback from the job's own code on. Standard library only."""

from itertools import takewhile
from pathlib import Path
from traceback import StackSummary, TracebackException

_OURS = f"{Path(__file__).parent}/"


def told(error: BaseException) -> str:
    """As Python prints it, without the frames of ours that called the job; with them where there are no others."""
    found = TracebackException.from_exception(error, compact=True)
    part: TracebackException | None = found
    while part is not None:  # what caused it, or was being handled meanwhile, may have passed through us, too
        _begin_at_the_job(part.stack)
        part = part.__cause__ or part.__context__  # compact: of the two only the one that is printed
    return "".join(found.format())


def _begin_at_the_job(stack: StackSummary) -> None:
    ours = sum(1 for _ in takewhile(lambda frame: frame.filename.startswith(_OURS), stack))
    if ours < len(stack):
        del stack[:ours]
