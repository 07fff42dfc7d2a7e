"""May a service have this user and these limits? Asked before anything starts, of the machine that it starts on."""

import os
import pwd
import resource
from collections.abc import Mapping

from whalefall.errors import ConfigError


def check_user(user: str, where: str, *, ours: bool) -> None:
    """Raises ConfigError for a user that is unknown, that we cannot become, or that our own roles cannot live as."""
    if not user:
        return
    if ours:
        # They share RUN_DIR and DATA_DIR, which are private to one user.
        raise ConfigError(f"{where}: whalefall's own roles run as whalefall does. Start whalefall itself as '{user}'.")
    try:
        wanted = pwd.getpwnam(user).pw_uid
    except (KeyError, ValueError):
        raise ConfigError(f"{where}: there is no user '{user}' here. Make it, or mend the name.") from None
    if os.geteuid() not in (0, wanted):
        raise ConfigError(f"{where}: only root can become '{user}'. Start whalefall as root or as '{user}'.")


def home_of(user: str) -> dict[str, str]:
    """What a login would set: a program that looks into HOME must find its own, not ours."""
    try:
        entry = pwd.getpwnam(user)
    except (KeyError, ValueError):  # "" and unknown ones; check_user tells of these
        return {}
    return {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user}


def check_limits(limits: Mapping[str, int], where: str) -> None:
    """Raises ConfigError for a soft limit above our hard one, which setrlimit(2) would refuse in the child."""
    for name, soft in limits.items():
        _, hard = resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))
        above = soft == resource.RLIM_INFINITY or soft > hard
        if hard != resource.RLIM_INFINITY and above:
            shown = "unlimited" if soft == resource.RLIM_INFINITY else soft
            raise ConfigError(
                f"{where}: {name} = {shown} is above the hard limit {hard} here. Lower it, or raise that."
            )
