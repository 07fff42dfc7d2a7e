"""What does Nginx read? One file, rendered from `nginx/*.template` and believed only after `nginx -t`.

Jinja2 renders: it is there already (Flask), it has includes for what locations share, and StrictUndefined turns a
forgotten value into an error instead of a hole. `$name` stays Nginx's, which rules out string.Template.

A file is named after its contents and those of the certificate. So a reload knows whether Nginx has anything new to
read, and an Nginx that crashes while a new file is being refused starts again from the one that was good.
"""

import contextlib
import functools
import hashlib
import os
import pwd
import re
import resource
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import whalefall
from whalefall.errors import ConfigError
from whalefall.planner import places
from whalefall.planner.directories import make_private

if TYPE_CHECKING:
    import jinja2

BACKLOG = 2048  # the listeners' own; Nginx calls listen(2) again on what it inherits when its own number differs
WORKERS_MAX = 4  # it only proxies: one worker serves thousands of connections
OPEN_FILES_MAX = 8192
SYSTEM_DIRECTORIES = "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/nginx/sbin:/opt/homebrew/bin"
TEST_TIMEOUT_S = 20.0
SCHEDULER_TIMEOUT_S_MAX = 30
KEPT_CONFIGURATIONS = 3
DIGEST_LENGTH = 12
HEALTH = "/whalefall/nginx/health"
MAIN = "nginx.conf.template"
ELSEWHERE = Path("/tmp")  # noqa: S108 - what is ours there is made by mkdir(2) and its owner checked
_BIND = re.compile(r"bind\(\) to (\S+:\d+) failed \((\d+): (.*)\)")
_WHOSE = "run_dir"  # a file in a place of ours there: the mount namespace, and the RUN_DIR that it belongs to


@dataclass(frozen=True, slots=True)
class Site:
    """What the templates want to know."""

    http: str  # address of the public listener
    web: Sequence[str]  # addresses behind it
    scheduler: Sequence[str] = ()
    https: str = ""
    certificate: str = ""
    key: str = ""
    acme: str = ""  # directory that holds .well-known/acme-challenge
    static: str = ""  # directory that is served as /static/
    request_timeout_s: int = 120
    trusted_proxies: int = 0
    shutdown_timeout_s: float = 3.0
    private: str = ""  # unix:/path of a socket that the supervisor binds for its questions to this generation
    log_level: str = "info"
    bound: Sequence[str] = ()  # addresses that a service manager has bound for us, perhaps because we may not
    version: tuple[int, ...] = field(default=(1, 22, 0))


def find(binary: str, path: str) -> str:
    """The nginx program's path, "" when there is none. Debian keeps it in /usr/sbin, which users' PATHs lack."""
    return shutil.which(binary, path=f"{path}:{SYSTEM_DIRECTORIES}") or "" if binary else ""


@functools.cache
def version(binary: str) -> tuple[int, ...]:
    """`(1, 22, 1)`. Raises ConfigError when the program does not answer like Nginx."""
    try:
        done = subprocess.run([binary, "-v"], capture_output=True, text=True, timeout=TEST_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"NGINX_BINARY: {binary} does not run ({error}). Set it to nginx, or to nothing.") from None
    match = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", done.stderr)
    if not match:
        raise ConfigError(f"NGINX_BINARY: {binary} is no nginx: `-v` answered {done.stderr.strip()[:80]!r}.")
    return tuple(int(part) for part in match.groups())


def templates() -> Path:
    """The folder `nginx/`: inside the package when installed, beside it in a checkout."""
    package = Path(whalefall.__file__).parent
    carried = package / "_nginx"
    return carried if places.is_dir(carried) else package.parent / "nginx"


def home(run_dir: Path) -> Path:
    """Where Nginx's files lie. Its workers run as another user when we are root, so then they cannot be in RUN_DIR.

    Beside it, then; or in /tmp where that user cannot reach it either (a run directory below /root or /run/user/0).
    """
    if os.geteuid() != 0:
        return run_dir / "nginx"
    if _open_to_all(run_dir.parent):
        return run_dir.with_name(run_dir.name + "-nginx")
    digest = hashlib.sha256(os.fsencode(run_dir)).hexdigest()[:DIGEST_LENGTH]
    return ELSEWHERE / f"whalefall-nginx-{digest}"


def static_directory() -> str:
    """The built-in application's files, "" where Nginx's workers could not read them (a checkout in /root)."""
    directory = Path(whalefall.__file__).parent / "app" / "static"
    if not places.is_dir(directory):
        return ""
    return str(directory) if os.geteuid() != 0 or _open_to_all(directory) else ""


def _open_to_all(directory: Path) -> bool:
    """Whether any user may enter it, by every directory on the way."""
    return all(
        stat.S_IMODE(each.stat().st_mode) & 0o001 for each in (directory, *directory.parents) if places.exists(each)
    )


def make_home(run_dir: Path) -> Path:
    """Creates it: entered by all when we are root (its contents are no secret), private otherwise."""
    directory = home(run_dir)
    make_private(directory, "RUN_DIR", 0o711 if os.geteuid() == 0 else 0o700)
    if directory.parent == ELSEWHERE:
        (directory / _WHOSE).write_bytes(_namespace() + b"\n" + os.fsencode(run_dir))
        _remove_abandoned()
    return directory


def _remove_abandoned() -> None:
    """Those whose RUN_DIR is no more: a whalefall that was killed outright could not take its own along."""
    for place in ELSEWHERE.glob("whalefall-nginx-*"):
        with contextlib.suppress(OSError, ValueError):
            found = place.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                continue
            namespace, _, run_dir = (place / _WHOSE).read_bytes().partition(b"\n")
            if namespace == _namespace() and run_dir and not Path(os.fsdecode(run_dir)).exists():
                shutil.rmtree(place, ignore_errors=True)


def _namespace() -> bytes:
    """A container that shares our /tmp has RUN_DIRs that we cannot see."""
    return os.fsencode(Path("/proc/self/ns/mnt").readlink())


def render(site: Site, directory: Path, digest: str = "0") -> str:
    """The whole configuration. Raises ConfigError for a path that Nginx's syntax cannot hold."""
    text: str = _template().render(_context(site, directory), digest=digest)
    return text


def configuration_path(site: Site, run_dir: Path) -> Path:
    """Where `write` puts the configuration: the name tells its contents."""
    digest = hashlib.sha256(render(site, home(run_dir)).encode())
    for file in filter(None, (site.certificate, site.key)):
        with contextlib.suppress(OSError):  # Nginx itself will say what is wrong with it
            digest.update(Path(file).read_bytes())
    return home(run_dir) / f"nginx-{digest.hexdigest()[:DIGEST_LENGTH]}.conf"


def write(site: Site, run_dir: Path, binary: str) -> Path:
    """Renders, tests by `nginx -t`, and moves into place. Raises ConfigError with Nginx's own words."""
    directory = make_home(run_dir)
    _copy_errors(directory)
    final = configuration_path(site, run_dir)
    fresh = final.with_suffix(".new")
    fresh.write_text(render(site, directory, _digest(final)), encoding="utf-8")
    try:
        test(binary, fresh, site)
        fresh.replace(final)
    finally:
        fresh.unlink(missing_ok=True)
    _forget_older(directory)
    return final


def try_out(site: Site, place: Path, binary: str) -> None:
    """What `write` would be told by `nginx -t`, without leaving anything outside of `place`. Raises ConfigError."""
    _copy_errors(place)
    configuration = place / "nginx.conf"
    configuration.write_text(render(site, place), encoding="utf-8")
    test(binary, configuration, site)


def test(binary: str, configuration: Path, site: Site) -> None:
    """`nginx -t`. Raises ConfigError with the first line that says what is wrong, or the setting that moves a port."""
    argv = [binary, "-e", "stderr", "-t", "-q", "-c", str(configuration)]
    environ = {name: value for name, value in os.environ.items() if name != "NGINX"}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, errors="replace", env=environ, timeout=TEST_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"NGINX_BINARY: {binary} -t does not run ({error}).") from None
    if done.returncode != 0:
        complaint = _complaint(done.stderr)
        refused = _BIND.match(complaint)
        if refused and refused[1] in site.bound:  # it binds last of all, so the rest was good
            return
        raise ConfigError(
            _unbindable(complaint, site)
            or f"nginx refuses its configuration: {complaint}. Mend the setting that it names."
        )


def command(binary: str, configuration: Path) -> tuple[str, ...]:
    """What to exec. In the foreground always: a daemon would look like an exit."""
    return (binary, "-e", "stderr", "-c", str(configuration), "-g", "daemon off;")


def _context(site: Site, directory: Path) -> Mapping[str, object]:
    files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], OPEN_FILES_MAX)
    if files < 0:
        files = OPEN_FILES_MAX
    upstreams = {"web": list(site.web)} | ({"scheduler": list(site.scheduler)} if site.scheduler else {})
    return asdict(site) | {
        "backlog": BACKLOG,
        "error_level": {"debug": "info", "info": "error", "warning": "error"}.get(site.log_level, site.log_level),
        "errors": str(directory / "errors"),
        "home": str(directory),
        "http2": "directive" if site.version >= (1, 25, 1) else "listen",
        "https_port": int(site.https.rpartition(":")[2] or 0),
        "open_files": files,
        "scheduler_timeout_s": min(site.request_timeout_s, SCHEDULER_TIMEOUT_S_MAX),
        "shutdown_timeout_ms": max(100, int(site.shutdown_timeout_s * 1000)),
        "timeout_s": site.request_timeout_s,
        "upstreams": upstreams,
        "user": _worker_user() if os.geteuid() == 0 else "",
        "worker_connections": min(2048, files // 2),
        "worker_processes": min(len(os.sched_getaffinity(0)), WORKERS_MAX),
    }


def _digest(configuration: Path) -> str:
    return configuration.stem.removeprefix("nginx-")


@functools.cache
def _template() -> "jinja2.Template":
    import jinja2  # noqa: PLC0415 - `status` and `health` come by here, too, and shall be quick

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates()),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - no HTML; `quoted` and `path` know Nginx's syntax
    )
    environment.filters.update(quoted=_quoted, path=_path)
    return environment.get_template(MAIN)


def _forget_older(directory: Path) -> None:
    """All but the newest few: the generation that is being replaced may have to start once more."""
    files = sorted(directory.glob("nginx-*.conf"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in files[KEPT_CONFIGURATIONS:]:
        old.unlink(missing_ok=True)
        old.with_suffix(".pid").unlink(missing_ok=True)


def _worker_user() -> str:
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in ("www-data", "nginx") if name in names), "nobody")


def _copy_errors(directory: Path) -> None:
    """The pages beside the configuration, because Nginx's workers may not be allowed into our own folder."""
    target = directory / "errors"
    make_private(target, "RUN_DIR", 0o755)
    for page in (templates() / "errors").iterdir():
        fresh = target / f".{page.name}"
        fresh.write_bytes(page.read_bytes())
        fresh.chmod(0o644)
        fresh.replace(target / page.name)


def _path(text: str) -> str:
    """A path that stands before `/name`: Nginx joins a quoted string to nothing, so it must need no quotes."""
    if re.search(r"[\s;{}\"'\\$#]", text):
        raise ConfigError(
            f"{text!r} cannot stand in an Nginx configuration. Choose a path without spaces, quotes, $ and ;."
        )
    return text


def _quoted(text: str) -> str:
    if "$" in text or "\n" in text:
        raise ConfigError(f"{text!r} cannot stand in an Nginx configuration: $ is a variable there. Choose another.")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unbindable(complaint: str, site: Site) -> str:
    """In our words: Nginx names no setting. "" for any other complaint."""
    match = _BIND.match(complaint)
    if not match:
        return ""
    from whalefall.planner import addresses  # noqa: PLC0415 - it loads psutil, and `status` shall be quick

    mend = addresses.TLS_PORT if match[1] == site.https else addresses.PORT
    return addresses.why(match[1], OSError(int(match[2]), match[3]), mend)


def _complaint(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    worst = [line for line in lines if "[emerg]" in line or "[crit]" in line]
    line = (worst or lines or ["no reason given"])[0]
    return re.sub(r"^(\d{4}/\d\d/\d\d \S+ )?(nginx: )?\[\w+\] (\d+#\d+: )?", "", line)
