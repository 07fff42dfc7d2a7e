"""The key that signs sessions: SECRET_KEY, else one made once in DATA_DIR, so that every process signs alike."""

import os
import secrets
from pathlib import Path

from whalefall.errors import ConfigError
from whalefall.settings import Settings

FILE_NAME = "secret_key"


def secret_key(settings: Settings) -> str:
    """The key. Raises ConfigError when DATA_DIR cannot hold one."""
    if settings.secret_key:
        return settings.secret_key
    path = settings.data_path(Path.cwd()) / FILE_NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _made_once(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot keep a secret key here ({error.strerror}). Set SECRET_KEY.") from None


def _made_once(path: Path) -> str:
    """Written beside and linked into place: whoever comes second reads the first one's, and never half of it."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(48))
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was faster
        finally:
            draft.unlink()
    key = path.read_text().strip()
    if not key:
        raise ConfigError(f"{path} is empty. Remove it, or set SECRET_KEY.")
    return key
