"""Is something there, as far as we may see? Where we may not look, `Path.exists()` raises (before Python 3.14).

Nothing is changed. Gunicorn's master comes by here, so nothing heavy may be imported.
"""

import os
from pathlib import Path

from whalefall.errors import ConfigError


def exists(path: Path) -> bool:
    """False also where we may not look."""
    return os.path.exists(path)  # noqa: PTH110 - the one that never raises


def is_dir(path: Path) -> bool:
    """False also where we may not look."""
    return os.path.isdir(path)  # noqa: PTH112 - the one that never raises


def is_file(path: Path) -> bool:
    """False also where we may not look."""
    return os.path.isfile(path)  # noqa: PTH113 - the one that never raises


def is_to_be_read(path: Path) -> bool:
    """For a file that counts when it is there. Raises ConfigError where we may not look."""
    try:
        path.stat()
    except PermissionError as error:
        raise ConfigError(
            f"{path.parent} cannot be entered ({error.strerror}), so {path.name} there cannot be read. Open it to this "
            "user, or work in another directory (cd, -f)."
        ) from None
    except OSError:
        return False
    return True
