"""The few things that PID 1 does with files, by name.

No pathlib here: it loads urllib and ipaddress, a tenth of our start and 0.6 MiB for as long as we live.
"""

import contextlib
import os
from collections.abc import Iterable


def read(path: str) -> str:
    """As UTF-8, whatever the locale says: services do not ask it either. Raises OSError."""
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def write(path: str, text: str) -> None:
    """What `read` gives back. Raises OSError."""
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def remove(path: str) -> None:
    """It may have gone already. Raises other OSErrors."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def below(directory: str) -> Iterable[str]:
    """The directories in it, [] where there is none."""
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return []
