"""What of this machine will hurt: room, limits, clock, certificate, ports. Looked at now, told by `check`.

What would keep `serve` from starting is an error, all else a warning; what is asked changes nothing and takes a moment.
"""

import contextlib
import difflib
import os
import re
import resource
import socket
import ssl
import time
import zoneinfo
from collections.abc import Iterator
from pathlib import Path

import psutil

import whalefall
from whalefall.control.client import ask
from whalefall.control.protocol import SOCKET_NAME, Request
from whalefall.errors import ConfigError, ControlError
from whalefall.planner import addresses, directories, nginx, places
from whalefall.planner.environment import is_set
from whalefall.planner.findings import Finding
from whalefall.planner.layout import lay_out
from whalefall.planner.world import World

MEBIBYTE = 1_048_576
UPLOAD_BYTES = 32 * MEBIBYTE  # client_max_body_size in nginx.conf.template; Nginx keeps one on disk until it is whole
RUN_ROOM_BYTES = 2 * UPLOAD_BYTES
DATA_ROOM_BYTES = 256 * MEBIBYTE  # the ledger, its write-ahead log, and a VACUUM's second copy
FILES_WANTED = 4096  # half of them are connections of an Nginx worker, and each request takes two
CERTIFICATE_DAYS = 14  # renewers of a 90-day certificate begin at 30; one that is still here has been missed
# sqlite.org/wal.html: processes share memory beside the file, which no network file system can give them.
NETWORK_FILESYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "lustre", "glusterfs", "afs"})
_DAY_S = 86_400
_POSIX_ZONE = re.compile(r":?/|(<[^>]+>|[A-Za-z]{3,})[+-]?\d")  # tzset(3): a file, or names with their offsets
_PID = re.compile(r"\(pid (\d+)\)\Z")
_UTC = ("UTC", "Etc/UTC", "GMT", "Etc/GMT", "Zulu", "UCT")


def findings(world: World) -> Iterator[Finding]:
    """A sentence each, with the mend."""
    yield from _ports(world)
    for sentence in (*_places(world), *_zone_of_jobs(world)):
        yield Finding(sentence, "error")
    for sentence in _hurts(world):
        yield Finding(sentence)


def _hurts(world: World) -> Iterator[str]:
    yield from _log_dir(world)
    yield from _rooms(world)
    yield from _ledger_file(world)
    yield from _open_files(world)
    yield from _certificate(world)
    yield from _clock(world)


def _ports(world: World) -> Iterator[Finding]:
    """Those that the very whalefall has which is asked about are no trouble."""
    ours = _supervisor(world.run_dir)
    if ours is not None:
        yield Finding(f"whalefall already runs here{f' (pid {ours})' if ours else ''}, and holds its own ports", "note")
    layout = lay_out(world)
    for listener in layout.listeners:
        try:
            addresses.check_free([listener], dict(layout.movers))
        except ConfigError as error:
            if ours is None or _is_anothers(listener.address, ours):
                what = "`serve` would not start" if ours is None else "`reload` would be refused"
                yield Finding(f"{what} now: {error}", "error")


def _supervisor(run_dir: Path) -> int | None:
    """The pid of the one that runs here; 0 when it does not say, None when there is none."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        probe.connect(str(run_dir / SOCKET_NAME))
        with contextlib.suppress(ControlError, KeyError, TypeError):
            return int(ask(run_dir, Request("status"), 1.0)["supervisor"]["pid"])
        return 0
    return None


def _is_anothers(address: str, ours: int) -> bool:
    """Somebody has it who is neither our supervisor nor started by it; false where we may not see who."""
    port = addresses.port_of(address)
    who = [int(match[1]) for each in addresses.owners(port) if (match := _PID.search(each))] if port and ours else []
    return bool(who) and not any(ours in _line(pid) for pid in who)


def _line(pid: int) -> list[int]:
    """Itself, its parent, and so on."""
    with contextlib.suppress(psutil.Error):
        return [pid, *(each.pid for each in psutil.Process(pid).parents())]
    return [pid]


def _places(world: World) -> Iterator[str]:
    """Directories that a start would make."""
    try:
        directories.check_run_dir(world.run_dir, world.longest_name)
        yield from _place("RUN_DIR", world.run_dir)
    except ConfigError as error:
        yield str(error)
    place = nginx.home(world.run_dir)
    if _has_nginx(world) and not place.is_relative_to(world.run_dir):
        yield from _place("RUN_DIR: Nginx's place beside it", place)
    if not directories.is_left_read_only(world.data_dir, world.settings.secret_key):
        yield from _place("DATA_DIR", world.data_dir)
    file = _sqlite_file(world)
    if file and not places.exists(file) and any(role.ours for role in world.running_roles()):
        yield from _place("DATABASE_URL", file.parent)


def _log_dir(world: World) -> Iterator[str]:
    """What cannot be written there goes to standard output alone."""
    if log_dir := world.absolute(world.settings.log_dir):
        yield from _place("LOG_DIR", Path(log_dir))


def _rooms(world: World) -> Iterator[str]:
    """Directories that a start would fill."""
    if _has_nginx(world):
        why = f"Nginx keeps what it cannot pass on at once there, uploads of {UPLOAD_BYTES // MEBIBYTE} MB for example"
        yield from _room("RUN_DIR", nginx.home(world.run_dir), RUN_ROOM_BYTES, why)
    yield from _room("DATA_DIR", world.data_dir, DATA_ROOM_BYTES, "the ledger and crash reports grow there")
    if log_dir := world.absolute(world.settings.log_dir):
        yield from _room("LOG_DIR", Path(log_dir), DATA_ROOM_BYTES, "log files grow there")


def _has_nginx(world: World) -> bool:
    front = world.running("nginx")
    return front is not None and front.ours and bool(world.nginx_binary)


def _place(what: str, path: Path) -> Iterator[str]:
    there = _existing(path)
    if not places.is_dir(there):
        yield f"{what}: {path} cannot be made, because {there} is no directory. Set another."
    elif not os.access(there, os.W_OK | os.X_OK):
        yield f"{what}: {there} cannot be written. Make it writable, or set another."


def _room(what: str, path: Path, wanted: int, why: str) -> Iterator[str]:
    with contextlib.suppress(OSError):
        found = os.statvfs(_existing(path))
        free = found.f_bavail * found.f_frsize
        if found.f_blocks and free < wanted:  # what counts no blocks knows no end
            yield (
                f"{what}: {path} has only {free // MEBIBYTE} MB of room, and {why}. "
                f"Make room for {wanted // MEBIBYTE} MB, or set another."
            )
        elif found.f_files and not found.f_favail:
            yield f"{what}: the file system of {path} has no inode left, so no file can be made. Remove some files."


def _existing(path: Path) -> Path:
    """Itself, or the nearest directory above that is there."""
    return next((each for each in (path, *path.parents) if places.exists(each)), path)


def _ledger_file(world: World) -> Iterator[str]:
    url, file = world.settings.database_url, _sqlite_file(world)
    if url and not file:
        return
    path = file.parent if file else world.data_dir
    with contextlib.suppress(OSError):
        kind = filesystem(path, Path("/proc/self/mountinfo").read_text())
        if kind.removeprefix("fuse.") in NETWORK_FILESYSTEMS or kind == "fuse.sshfs":
            yield (
                f"{'DATABASE_URL' if url else 'DATA_DIR'}: {path} is on a network file system ({kind}), where SQLite's "
                "locks and shared memory do not hold: the ledger would be damaged. Take a local disk, or PostgreSQL."
            )


def _sqlite_file(world: World) -> Path | None:
    """The one that DATABASE_URL names; None for a server, a database in memory, and none."""
    scheme, _, rest = world.settings.database_url.partition(":///")
    file = rest.partition("?")[0]
    named = scheme.partition("+")[0] == "sqlite" and file and file != ":memory:" and not file.startswith("file:")
    return Path(world.absolute(file)) if named else None


def filesystem(path: Path, mounts: str) -> str:
    """The type of the file system that `path` is on, by /proc/self/mountinfo (proc(5)); "" when it does not say."""
    found, kind = Path(), ""
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = Path(re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), fields.split()[4]))
        if path.is_relative_to(point) and len(point.parts) >= len(found.parts):  # a later mount hides an earlier one
            found, kind = point, rest.split()[0]
    return kind


def _open_files(world: World) -> Iterator[str]:
    front = world.running("nginx")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if front and front.ours and world.nginx_binary and 0 <= hard < FILES_WANTED:
        yield (
            f"the limit of open files is {hard}: each Nginx worker takes {hard // 2} connections at most. Raise it to "
            f"{nginx.OPEN_FILES_MAX}: `ulimit -Hn`, `docker run --ulimit nofile=…` or LimitNOFILE= of systemd."
        )


def _certificate(world: World) -> Iterator[str]:
    path = world.absolute(world.settings.tls_certificate)
    ends_at = _ends_at(path) if path else None
    if ends_at is None:
        return
    days = (ends_at - time.time()) / _DAY_S
    renew = "Renew it, then: whalefall reload nginx"
    if days < 0:
        yield f"TLS_CERTIFICATE: {path} has expired {-days:.0f} days ago: browsers refuse the site. {renew}"
    elif days < CERTIFICATE_DAYS:
        yield f"TLS_CERTIFICATE: {path} expires in {days:.0f} days. {renew}"


def _ends_at(path: str) -> float | None:
    """Of the first certificate in the file; None where it cannot be told: Nginx says what is wrong with it."""
    # The one decoder in the standard library; private, but there since 2.6, and its absence costs only this advice.
    decode = getattr(getattr(ssl, "_ssl", None), "_test_decode_cert", None)
    if decode is None:
        return None
    try:
        return float(ssl.cert_time_to_seconds(decode(path)["notAfter"]))
    except (OSError, ValueError, KeyError):  # ssl.SSLError is an OSError
        return None


def _clock(world: World) -> Iterator[str]:
    if time.time() < Path(whalefall.__file__).stat().st_mtime - _DAY_S:
        yield (
            f"the clock says {time.strftime('%Y-%m-%d')}, before whalefall was installed: jobs would be due at the "
            "wrong time, and certificates not yet valid. Set it (timedatectl, chronyc)."
        )
    name = world.environment["TZ"].value if is_set(world.environment, "TZ") else ""
    if not name:
        return
    source = world.environment["TZ"].source
    if not _POSIX_ZONE.match(name) and not _is_zone(name):
        yield f"TZ={name} ({source}) names no time zone here, so local times are UTC. Mend it, or install tzdata."
    elif name not in _UTC and world.running("scheduler") and not is_set(world.environment, "SCHEDULER_TIMEZONE"):
        yield (
            f"TZ={name} ({source}) is for local times in logs; jobs that name no zone go by SCHEDULER_TIMEZONE, which "
            f"is {world.settings.scheduler_timezone}. Set SCHEDULER_TIMEZONE, too, if that is not meant."
        )


def _zone_of_jobs(world: World) -> Iterator[str]:
    """Our scheduler would end with this, again and again."""
    name = world.settings.scheduler_timezone
    if any(role.role == "scheduler" and role.ours for role in world.running_roles()) and not _is_zone(name):
        zones = {zone.lower(): zone for zone in zoneinfo.available_timezones()}
        near = difflib.get_close_matches(name.lower(), zones, 1)
        mend = f"Did you mean '{zones[near[0]]}'?" if near else "Write one like 'Europe/Berlin' or 'UTC'."
        source = world.environment["SCHEDULER_TIMEZONE"].source
        yield f"SCHEDULER_TIMEZONE ({source}): there is no zone '{name}'. {mend}"


def _is_zone(name: str) -> bool:
    try:
        zoneinfo.ZoneInfo(name.removeprefix(":"))
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
