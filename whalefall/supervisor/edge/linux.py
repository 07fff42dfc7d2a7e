"""prctl(2) and clone3(2) by number: the only file that knows them. Where prctl is missing (not Linux), it is False."""

import contextlib
import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36

_SYS_clone3 = 435  # the same on every architecture that Linux has got since 5.3
_CLONE_INTO_CGROUP = 0x2_0000_0000

_libc = ctypes.CDLL(None, use_errno=True)
_prctl_of_libc = getattr(_libc, "prctl", None)
_python = ctypes.PyDLL(None, use_errno=True)  # calls that keep the interpreter's lock: a fork must not let go of it


def become_subreaper() -> bool:
    """What outlives its parent becomes our child instead of init's (PR_SET_CHILD_SUBREAPER, Linux 3.4)."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signum: int) -> bool:
    """This process gets `signum` when its parent thread ends. Cleared by fork and by a change of credentials."""
    return _prctl(_PR_SET_PDEATHSIG, signum)


def fork(group: int | None) -> int:
    """fork(2) for a child that goes on to exec, born in the control group of this directory's descriptor.

    os.fork() also makes a Python ready to go on as one (PyOS_AfterFork_Child: locks, threads, signals), and that takes
    the child 0.2 ms of copied pages; with one thread, and an exec ahead, there is nothing to be made ready.

    Moving it into the group afterwards takes a lock of the kernel's that can be 10 ms away (cgroup_threadgroup_rwsem
    waits for RCU); that is the way where clone3(2) is not allowed. A child that cannot be moved stays where we are.
    Raises OSError.
    """
    pid: int = -1 if group is None else _clone_into(group)
    if pid >= 0:
        return pid
    pid = _python.fork()
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if pid == 0 and group is not None:
        _join(group)
    return pid


def _clone_into(group: int) -> int:
    """Negative where it is refused."""
    arguments = (ctypes.c_uint64 * 11)()  # struct clone_args up to `cgroup`
    arguments[0], arguments[4], arguments[10] = _CLONE_INTO_CGROUP, signal.SIGCHLD, group
    pid: int = _python.syscall(ctypes.c_long(_SYS_clone3), arguments, ctypes.c_size_t(ctypes.sizeof(arguments)))
    return pid


def _join(group: int) -> None:
    with contextlib.suppress(OSError):
        procs = os.open("cgroup.procs", os.O_WRONLY | os.O_CLOEXEC, dir_fd=group)
        os.write(procs, b"0")
        os.close(procs)


def _prctl(option: int, value: int) -> bool:
    return _prctl_of_libc is not None and _prctl_of_libc(option, ctypes.c_ulong(value), 0, 0, 0) == 0
