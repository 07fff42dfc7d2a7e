"""How is one of our own modules run, in a directory that is the user's?

`python -m` puts the working directory in front of the standard library, and a project may well have a `queue.py` or a
`logging.py` there. `-P` (Python 3.11) leaves it out. Not for Gunicorn, which puts it in front by itself.
"""

import sys
from pathlib import Path

import whalefall


def module(name: str) -> tuple[str, ...]:
    """The beginning of an argv that runs module `name`, safe from the working directory where we do not live in it."""
    ours = str(Path(whalefall.__file__).parent.parent)
    installed = any(Path(entry).absolute() == Path(ours) for entry in sys.path[1:])
    return (sys.executable, *(("-P",) if installed else ()), "-m", name)
