"""Command → a running process in a session of its own.

fork and exec by hand, because LISTEN_PID must be the child's own pid (sd_listen_fds(3)) and the death signal must be
set after the change of user (prctl(2)); the parent learns of a failed exec through a pipe that exec closes.

Between fork and exec every page that is touched is copied, and a client may be waiting: what can be prepared is
prepared by the parent, and the child makes no call that it can do without.
"""

import contextlib
import errno
import fcntl
import os
import resource
import signal
from collections.abc import Sequence
from typing import NoReturn

from whalefall.plan import Command
from whalefall.plan.records import frozen
from whalefall.supervisor.edge import linux

_FIRST_SOCKET = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START
_REASON_BYTES_MAX = 4_096
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR)


@frozen
class Handed:
    """What the child finds open besides standard input, which is /dev/null unless `attached` leaves ours.

    `output` is its standard output and error (None leaves ours); `sockets` are (name, descriptor) and become 3, 4, …;
    `held` are further descriptors that it keeps without knowing (locks); `group` is the control group it is born in.
    """

    output: int | None = None
    sockets: Sequence[tuple[str, int]] = ()
    as_nginx: bool = False
    held: Sequence[int] = ()
    group: int | None = None
    watchdog_s: float | None = None  # it is told by sd_watchdog_enabled(3)'s variables
    attached: bool = False


class SpawnError(Exception):
    """The program could not be started; `str()` says why."""


@frozen
class Begun:
    """A child on its way to its program; `report` tells how that ends."""

    pid: int
    report: int


def spawn(command: Command, handed: Handed, extra_env: dict[str, str], death_signal: int) -> int:
    """The pid of the new leader. Raises SpawnError; then nothing is left running or open."""
    return finish(begin(command, handed, extra_env, death_signal))


def begin(command: Command, handed: Handed, extra_env: dict[str, str], death_signal: int) -> Begun:
    """Fork; what is handed over may be closed, and the child be left to itself until finish(). Raises SpawnError."""
    try:
        read, write = os.pipe2(os.O_CLOEXEC)
    except OSError as error:
        raise SpawnError(f"cannot make a pipe: {error.strerror}") from None
    parent = os.getpid()
    env = {**command.env, **extra_env, **_socket_variables(handed)}
    try:
        pid = linux.fork(handed.group)
    except OSError as error:  # fork(2): EAGAIN at a limit of processes, ENOMEM
        os.close(read)
        os.close(write)
        raise SpawnError(f"cannot fork: {error.strerror}") from None
    if pid == 0:
        _become(command, handed, env, death_signal, parent, write)
    os.close(write)
    return Begun(pid, read)


def finish(begun: Begun) -> int:
    """Wait for the program to run; its pid. Raises SpawnError; then nothing is left running."""
    try:
        reason = os.read(begun.report, _REASON_BYTES_MAX)
    finally:
        os.close(begun.report)
    if reason:
        os.waitpid(begun.pid, 0)
        raise SpawnError(reason.decode(errors="replace"))
    return begun.pid


def _become(  # noqa: PLR0917 - one caller, in the same words
    command: Command, handed: Handed, env: dict[str, str], death_signal: int, parent: int, report: int
) -> NoReturn:
    """In the child, from fork to exec. Whatever goes wrong here is told through `report`."""
    step = "start"
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        step = "set up descriptors"
        report = _lay_out_descriptors(handed, report)
        step = f"enter {command.cwd}"
        os.chdir(command.cwd)
        step = "set limits"
        _limit(command)
        step = f"become user '{command.user}'"
        _change_user(command.user)
        linux.die_with_parent(death_signal)
        if os.getppid() != parent:  # prctl(2): the parent may have died before the call
            os._exit(1)
        _name_the_addressee(env, handed)
        step = f"run {command.argv[0]}"
        _run(command.argv, env)
    except OSError as error:
        _tell(report, f"cannot {step}: {error.strerror}")
    except (KeyError, ValueError) as error:
        _tell(report, f"cannot {step}: {error}")
    finally:
        os._exit(127)


def _run(argv: tuple[str, ...], env: dict[str, str]) -> NoReturn:
    """execvp(3) by the child's own PATH. os.execvpe() would do, but it imports a module first and filters warnings.

    Returns only as an OSError: of the first program that is there and cannot be run, or that there is none.
    """
    failed: list[OSError] = []
    for directory in [""] if "/" in argv[0] else env.get("PATH", os.defpath).split(os.pathsep):
        try:
            os.execve(os.path.join(directory, argv[0]), argv, env)  # noqa: S606 - no shell is the point
        except OSError as error:
            failed.append(error)
    raise next((error for error in failed if error.errno not in _NOT_THERE), failed[-1])


def _tell(report: int, reason: str) -> None:
    with contextlib.suppress(OSError):
        os.write(report, reason.encode(errors="backslashreplace")[:_REASON_BYTES_MAX])  # a name may be no text


def _lay_out_descriptors(handed: Handed, report: int) -> int:
    """Everything to its number; first out of the way what another one's number would overwrite."""
    wanted = [descriptor for _, descriptor in handed.sockets] + list(handed.held)
    output, above = handed.output, _FIRST_SOCKET + len(wanted)
    if min(report, output or report, *wanted, report) < above:
        report, *wanted = (fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, above) for each in (report, *wanted))
        output = None if output is None else fcntl.fcntl(output, fcntl.F_DUPFD_CLOEXEC, above)
    if not handed.attached:
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, 0)
    if output is not None:
        os.dup2(output, 1)
        os.dup2(output, 2)
    for number, descriptor in enumerate(wanted, start=_FIRST_SOCKET):
        os.dup2(descriptor, number)
    if handed.as_nginx:
        # Nginx leaves inherited sockets as they are (ngx_open_listening_sockets), and on a blocking one the worker that
        # loses the race for a connection sleeps in accept(2): it serves nobody and does not hear QUIT.
        for number, _ in enumerate(handed.sockets, start=_FIRST_SOCKET):
            os.set_blocking(number, False)
    return report


def _socket_variables(handed: Handed) -> dict[str, str]:
    if not handed.sockets:
        return {}
    if handed.as_nginx:
        # Nginx has no LISTEN_FDS; its binary upgrade inherits sockets by this variable.
        return {"NGINX": "".join(f"{_FIRST_SOCKET + i};" for i in range(len(handed.sockets)))}
    return {
        "LISTEN_FDS": str(len(handed.sockets)),
        "LISTEN_FDNAMES": ":".join(name for name, _ in handed.sockets),
    }


def _name_the_addressee(env: dict[str, str], handed: Handed) -> None:
    """Both protocols name the one process that they are meant for, and its pid is known in the child only."""
    if handed.sockets and not handed.as_nginx:
        env["LISTEN_PID"] = str(os.getpid())
    if handed.watchdog_s is not None:
        env |= {"WATCHDOG_USEC": str(int(handed.watchdog_s * 1_000_000)), "WATCHDOG_PID": str(os.getpid())}


def _limit(command: Command) -> None:
    if command.umask is not None:
        os.umask(command.umask)
    for name, soft in command.limits.items():
        which = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if which is None:
            raise ValueError(f"there is no limit '{name}'")
        _, hard = resource.getrlimit(which)
        resource.setrlimit(which, (soft, hard))


def _change_user(user: str) -> None:
    if not user:
        return
    import pwd  # noqa: PLC0415 - only few Plans change users; PID 1 itself never needs it

    entry = pwd.getpwnam(user)
    if os.getuid() != entry.pw_uid:
        os.initgroups(user, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
