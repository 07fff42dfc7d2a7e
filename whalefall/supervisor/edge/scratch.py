"""Directories that only made sense while we lived: emptied and removed at our end, whoever's files are in them.

Somebody else may have written there (Nginx's workers are another user), perhaps a link in the place of a directory. So
everything goes by the descriptor of the directory that it is in (os.fwalk), and no link is followed.
"""

import contextlib
import os


def remove(path: str) -> None:
    """As far as it goes: what cannot be removed stays, and is nobody's failure."""
    with contextlib.suppress(OSError):
        for _, directories, files, descriptor in os.fwalk(path, topdown=False):
            for name in files:
                _unlink(name, descriptor)
            for name in directories:
                _rmdir(name, descriptor)
        os.rmdir(path)


def _rmdir(name: str, descriptor: int) -> None:
    try:
        os.rmdir(name, dir_fd=descriptor)
    except NotADirectoryError:  # a link to one
        _unlink(name, descriptor)
    except OSError:
        return


def _unlink(name: str, descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=descriptor)
