"""Nobody answers in RUN_DIR: where may the whalefall be that was meant, and what has the last one left?

It may run as another user, in a directory above, or with another XDG_RUNTIME_DIR: each has a RUN_DIR with another name,
which a person cannot guess and we can, as `Settings.run_path` makes it. The first that answers is told.
"""

import contextlib
import json
import os
import pwd
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from whalefall.control.protocol import SOCKET_NAME
from whalefall.errors import ControlError
from whalefall.planner.world import View

_DEFAULT_NAME = re.compile(r"whalefall-(?P<uid>\d+)-[0-9a-f]+")
_ANSWER_WITHIN_S = 1.0


@dataclass(frozen=True, slots=True)
class Other:
    """A whalefall that runs in `home`."""

    run_dir: Path
    uid: int
    home: Path


def refuse(view: View) -> None:
    """Raises ControlError when nobody answers there, saying where somebody does."""
    if answers(view.run_dir) is False:
        raise ControlError(
            f"no whalefall is running here (nothing answers at {view.run_dir / SOCKET_NAME}). {_mend(view)}"
        )


def answers(run_dir: Path) -> bool | None:
    """Is somebody there? None where that cannot be told, as in a directory of somebody else's."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_ANSWER_WITHIN_S)
        try:
            connection.connect(str(run_dir / SOCKET_NAME))
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return False
        except OSError:
            return None
    return True


def crash_reports(view: View, service: str, count: int) -> list[dict[str, Any]]:
    """The newest `count` that the last whalefall left of a service or instance ("": of all), oldest first.

    [] while one answers: it knows them, too.
    """
    if count <= 0 or answers(view.run_dir) is not False:
        return []
    with contextlib.suppress(OSError):
        # Their names begin with their times.
        found = [_report(file) for file in sorted(crash_directory(view).glob("*.json"))]
        return [each for each in found if _is_about(each, service)][-count:]
    return []


def _report(file: Path) -> dict[str, Any]:
    """As the supervisor wrote it; {} for anything else."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(file.read_text(encoding="utf-8", errors="surrogateescape"))
        if isinstance(found, dict) and {"at", "instance", "lines"} <= found.keys():
            return found
    return {}


def _is_about(report: dict[str, Any], service: str) -> bool:
    name = str(report.get("instance", ""))
    return bool(name) and service in ("", name, name.rpartition(".")[0])


def crash_directory(view: View) -> Path:
    """Where they are kept, over a restart of the whole."""
    return view.data_dir / "crashes"


def _mend(view: View) -> str:
    other = next(_others(view), None)
    if other is None:
        return "Start one: whalefall serve, or go to its directory, or set its RUN_DIR."
    is_here = other.home == _home(view)
    where, go = ("here", "") if is_here else (f"in {other.home}", "go there, and ")
    if other.uid == os.geteuid():
        return f"One runs {where}: " + (f"set RUN_DIR={other.run_dir}." if is_here else "go there.")
    # Not "set RUN_DIR": root would believe what anybody's process in /tmp answers.
    return f"{_name(other.uid)} runs one {where}: {go}ask as that user."


def _others(view: View) -> Iterator[Other]:
    """The nearest first: whoever is somewhere below goes up least."""
    if view.settings.run_dir:
        return  # a name that somebody chose says nothing of others
    found = list(_run_dirs(view.run_dir.parent))
    for home in (_home(view), *_home(view).parents):
        wanted = _directory_in(view.settings.run_path(home))
        for run_dir, uid in found:
            if _directory_in(run_dir) == wanted and (answers(run_dir) or _is_bound(run_dir)):
                yield Other(run_dir, uid, home)


def _is_bound(run_dir: Path) -> bool:
    """Somebody has the socket, whom we may not ask. proc(5), /proc/net/unix: it tells the paths of all users."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
        return any(line.endswith(f" {run_dir / SOCKET_NAME}") for line in lines)
    return False


def _home(view: View) -> Path:
    return view.request.home.resolve()


def _run_dirs(ours: Path) -> Iterator[tuple[Path, int]]:
    """(a RUN_DIR by default, whose it is), wherever one may lie. In /tmp anybody may take the name, not the owner."""
    for base in dict.fromkeys([ours, Path("/tmp"), *Path("/run/user").glob("*")]):  # noqa: S108 - looked at only
        with contextlib.suppress(OSError):
            for each in base.iterdir():
                if (match := _DEFAULT_NAME.fullmatch(each.name)) and each.lstat().st_uid == int(match["uid"]):
                    yield each, int(match["uid"])


def _directory_in(run_dir: Path) -> str:
    """What its name has of the directory that it is for."""
    return run_dir.name.rpartition("-")[2]


def _name(uid: int) -> str:
    """A container has users without a name."""
    try:
        return f"The user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"The user {uid}"
