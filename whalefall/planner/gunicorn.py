"""What do our two Gunicorn configurations share? They are files that Gunicorn executes; this is their library.

It runs in Gunicorn's master and workers, not in the planner, so nothing heavy may be imported here.
"""

import contextlib
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from whalefall.planner import places
from whalefall.settings import Settings

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

READY_PATH = "/whalefall/ready"
LIVE_PATH = "/whalefall/live"
DUMP_SIGNAL = "USR2"  # a worker has no other use for it; the master has (re-exec), so it must never get it
LOGGED_BY = "WHALEFALL_LOGGED_BY"  # `nginx`: ours is in front, and its line of each request is in the same output
_SOCKET_PATH_MAX = 107  # unix(7)


def memory_directory() -> str | None:
    """A directory in memory where there is one: Gunicorn's workers touch a file there all the time."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None  # noqa: S108 - Gunicorn unlinks it at once


def control_socket(settings: Settings, role: str) -> tuple[str, bool]:
    """(path, disabled). Every master and every generation of it has its own; Gunicorn's default is one for all.

    WHALEFALL_LIFE is the supervisor's tag, as `web.1#3`: with it an old generation cannot delete the new one's socket.
    """
    directory = settings.run_path(Path.cwd())
    if not places.is_dir(directory):
        return "", True  # by hand, without a run directory: nobody would ask it
    mine = os.environ.get("WHALEFALL_LIFE") or os.environ.get("PS") or role
    _forget_older(directory, mine)
    path = str(directory / f"{mine}.gunicorn.ctl")
    return path, len(os.fsencode(path)) > _SOCKET_PATH_MAX


def log_files(settings: Settings, name: str) -> tuple[str, str]:
    """(access log, error log): files in LOG_DIR when it is set and can be written, else standard output and error."""
    if not settings.log_dir:
        return "-", "-"
    directory = Path(settings.log_dir)
    with contextlib.suppress(OSError):  # `check` warns of it
        directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        return "-", "-"
    return str(directory / f"{name}-access.log"), str(directory / f"{name}-error.log")


def answering_ready(application: Wsgi) -> Wsgi:
    """`application`, with 200 at /whalefall/ready and /whalefall/live: a worker that answers there has loaded it.

    This is the readiness of an application of which we know no address. Gunicorn's own READY=1 comes before any worker
    has imported anything, and a connection proves nothing about a socket that the supervisor holds.
    """

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") in (READY_PATH, LIVE_PATH):
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "3")])
            return [b"ok\n"]
        return application(environ, start_response)

    return serve


def tell_stacks_when_asked() -> None:
    """In a worker: DUMP_SIGNAL and SIGABRT write every thread's Python stack to the log.

    The supervisor sends the first before it ends a hung service, Gunicorn the second to a worker without a sign of
    life. faulthandler works in C, so it also speaks for a process whose interpreter no longer does.
    """
    faulthandler.register(getattr(signal, f"SIG{DUMP_SIGNAL}"), all_threads=True)
    faulthandler.enable(all_threads=True)


def begin_tracebacks_at_the_application() -> None:
    """In a worker: Gunicorn logs without the thirteen frames of its own before the application's code; at debug with.

    A filter, because a logger_class in our configuration would take the place of the one that --statsd-host asks for.
    """
    log = logging.getLogger("gunicorn.error")
    if not log.isEnabledFor(logging.DEBUG):
        log.addFilter(_begin_at_the_application)


def _begin_at_the_application(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1] is not None:
        kind, error, found = record.exc_info
        record.exc_info = (kind, error, _from_the_application_on(found, error))
    return True


def _from_the_application_on(found: TracebackType | None, error: BaseException) -> TracebackType | None:
    """All of it where nothing else is in it; of a syntax error, which names file and line itself, the last frame."""
    last, rest = found, found
    while rest is not None and _leads_to_the_application(str(rest.tb_frame.f_globals.get("__name__", ""))):
        last, rest = rest, rest.tb_next
    return rest or (last if isinstance(error, SyntaxError) else found)


def _leads_to_the_application(module: str) -> bool:
    return module.partition(".")[0] in ("gunicorn", "importlib") or module == "whalefall.app.direct"


def when_told_to_stop(action: Callable[[], None]) -> None:
    """In a worker: TERM also starts `action`, in a thread of its own."""
    before = signal.getsignal(signal.SIGTERM)

    def told(number: int, frame: FrameType | None) -> None:
        threading.Thread(target=action, name="wf-stopping", daemon=True).start()
        if callable(before):
            before(number, frame)

    signal.signal(signal.SIGTERM, told)


def will_be_followed(settings: Settings) -> bool:
    """In a worker that ends: does the supervisor put another generation in its place, or is this the end of it all?

    In any doubt it is the end: then what goes on is waited for, and what cannot be waited for is named.
    """
    from whalefall.control.client import ask  # noqa: PLC0415 - asked once, at the end
    from whalefall.control.protocol import Request  # noqa: PLC0415
    from whalefall.errors import ControlError  # noqa: PLC0415

    mine = os.environ.get("WHALEFALL_LIFE", "").partition("#")[0]
    if not mine:
        return False  # no supervisor
    try:
        rows = ask(settings.run_path(Path.cwd()), Request("status"), timeout_s=1.0)["instances"]
    except ControlError:
        return False
    return any(row["name"] == mine and row.get("wanted", False) for row in rows)


def send_whole_responses() -> None:
    """In a worker: a small answer leaves as a whole or not at all, so that Nginx can ask another worker."""
    from whalefall.planner import whole_response  # noqa: PLC0415 - the planner itself must not load Gunicorn

    whole_response.use()


def refuse_preload() -> None:
    """Ends this process when the command line asks for --preload: its threads would stay behind in the master."""
    words = [*sys.argv[1:], *os.environ.get("GUNICORN_CMD_ARGS", "").split()]
    if any(word in ("--preload", "--preload-app") for word in words):
        _refuse(
            "--preload is refused for the scheduler: it is threads, and threads do not survive the fork of a worker"
        )


def refuse_second_scheduler(configuration: Any) -> None:
    """Ends this process when a setting would give the jobs a second owner, or take them from the first."""
    if configuration.preload_app:
        _refuse(
            "preload_app is refused for the scheduler: it is threads, and threads do not survive the fork of a worker"
        )
    if configuration.workers != 1:
        _refuse(f"workers = {configuration.workers} is refused for the scheduler: each worker would own all jobs")
    if configuration.max_requests:
        _refuse("max_requests is refused for the scheduler: recycling the worker would end the runs in it")


def _refuse(reason: str) -> NoReturn:
    sys.stderr.write(f"whalefall: {reason}. Remove it.\n")
    sys.exit(2)


def _forget_older(directory: Path, mine: str) -> None:
    """Sockets that killed generations left behind. The one just before us may still be draining and keeps its own."""
    name, _, generation = mine.partition("#")
    if not generation.isdigit():
        return
    for stale in directory.glob(f"{name}#*.gunicorn.ctl"):
        number = stale.name.removeprefix(f"{name}#").removesuffix(".gunicorn.ctl")
        if number.isdigit() and int(number) < int(generation) - 1:
            stale.unlink(missing_ok=True)
