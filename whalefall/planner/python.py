"""How is one of our own modules run, in a directory and an environment that are the user's?

`python -m` puts the working directory in front of the standard library, and a project may well have a `queue.py` or a
`logging.py` there. `-P` (Python 3.11) leaves it out. Not for Gunicorn, which puts it in front by itself.
"""

import sys
from pathlib import Path

import whalefall


def module(name: str) -> tuple[str, ...]:
    """The beginning of an argv that runs module `name`, safe from the working directory where we do not live in it."""
    ours = str(Path(whalefall.__file__).parent.parent)
    # With -P, as in a planner that we started ourselves, the first entry is no longer the working directory's.
    entries = sys.path if sys.flags.safe_path else sys.path[1:]
    installed = any(Path(entry).absolute() == Path(ours) for entry in entries)
    return (sys.executable, *(("-P",) if installed else ()), "-m", name)


def supervisor() -> tuple[str, ...]:
    """The beginning of an argv that becomes the supervisor.

    As PID 1 it loads the standard library and itself, and nothing that somebody put before or beside them: `-I` leaves
    out PYTHONPATH, `-S` leaves out site-packages with its .pth files and sitecustomize, which may start threads. `-I`
    leaves out PYTHONUTF8 as well, by which both of us must make the same bytes of an environment, and
    PYTHONDONTWRITEBYTECODE.
    """
    kept = (*(("-X", "utf8=1") if sys.flags.utf8_mode else ()), *(("-B",) if sys.dont_write_bytecode else ()))
    return (sys.executable, "-I", "-S", *kept, str(Path(whalefall.__file__).parent / "supervisor" / "__main__.py"))
