"""Where may files go? Private directories, and the one secret that is generated.

RUN_DIR may stand in /tmp, where anybody can put a directory or a link before us. So it is made by mkdir(2) with 0700
and then looked at without following links: a directory, ours, closed to others. Anything else is refused, not repaired.
"""

import contextlib
import os
import secrets
import stat
from pathlib import Path

from whalefall.errors import ConfigError
from whalefall.planner import places

SECRET_BYTES = 32
SOCKET_PATH_MAX = 107  # sun_path of unix(7), less the NUL


def make_private(path: Path, variable: str, mode: int = 0o700) -> None:
    """Makes `path` a directory of ours with `mode`. Raises ConfigError naming `variable` when it cannot be trusted."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=mode, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise ConfigError(
            f"{variable}: {path} cannot be made a directory ({error.strerror}). Set {variable} to one that can."
        ) from None
    _trust(path, variable, found)
    if stat.S_IMODE(found.st_mode) & ~mode & 0o077:
        path.chmod(mode)  # ours already, so closing it is safe: a umask or a volume left it open


def _trust(path: Path, variable: str, found: os.stat_result) -> None:
    """Raises ConfigError unless it is a directory of ours."""
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(
            f"{variable}: {path} is no directory (a link, perhaps somebody else's). Remove it, or set {variable}."
        )
    if found.st_uid != os.geteuid():
        raise ConfigError(
            f"{variable}: {path} belongs to user {found.st_uid}, not to us. Remove it, or set {variable}."
        )


def check_run_dir(path: Path, service: str = "scheduler") -> None:
    """Raises ConfigError where `make_run_dir` would refuse the path, or what is there already. Makes nothing."""
    longest = len(os.fsencode(path / f"probe-{service}.99#99999.sock"))
    if longest > SOCKET_PATH_MAX:
        raise ConfigError(
            f"RUN_DIR: {path} is too long for the sockets in it ({longest} bytes of {SOCKET_PATH_MAX}). Shorten it."
        )
    with contextlib.suppress(OSError):
        _trust(path, "RUN_DIR", path.lstat())


def make_run_dir(path: Path, service: str = "scheduler") -> None:
    """RUN_DIR: private, and short enough for the sockets in it; `service` is the longest name of one."""
    check_run_dir(path, service)
    make_private(path, "RUN_DIR")
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"RUN_DIR: {path} cannot be written. Set RUN_DIR to a directory that can.")


def make_data_dir(path: Path) -> None:
    """DATA_DIR: made if it is missing; an existing one keeps its mode, it may be a shared volume."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"DATA_DIR: {path} cannot be made a directory ({error.strerror}). Set DATA_DIR to one that can be written."
        ) from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"DATA_DIR: {path} cannot be written. Set DATA_DIR to a directory that can.")


def is_left_read_only(data_dir: Path, secret_key: str) -> bool:
    """DATA_DIR was good at an earlier start and cannot be written now, as on a disk that has gone read-only.

    No reason not to serve: nothing that a start needs would be written. `secret_key` is the given one, or "".
    """
    return (
        places.is_dir(data_dir)
        and not os.access(data_dir, os.W_OK | os.X_OK)
        and bool(secret_key or stored_secret_key(data_dir))
    )


def secret_key(data_dir: Path) -> str:
    """The secret in DATA_DIR, generated at the first start: once for all processes, and kept."""
    path = data_dir / "secret_key"
    if found := stored_secret_key(data_dir):
        return found
    make_data_dir(data_dir)
    fresh = data_dir / f".secret_key.{secrets.token_hex(4)}"
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)  # fails if another launcher was first; then its key is the key
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    except OSError as error:
        raise ConfigError(
            f"DATA_DIR: {path} cannot be written ({error.strerror}). Mend that, or set SECRET_KEY."
        ) from None
    return stored_secret_key(data_dir)


def stored_secret_key(data_dir: Path) -> str:
    """The secret in DATA_DIR, "" when there is none yet. Raises ConfigError when it is there and cannot be used."""
    path = data_dir / "secret_key"
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"DATA_DIR: {path} cannot be read. Mend it, or set SECRET_KEY.") from None
    if len(text) < SECRET_BYTES:
        raise ConfigError(
            f"DATA_DIR: {path} holds too short a secret. Remove it (all sessions end), or set SECRET_KEY."
        )
    return text
