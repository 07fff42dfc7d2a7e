"""The nouns of a Plan. Frozen, complete, comparable: two equal instances need no restart.

Units stand last in names: `_s` seconds, `_bytes` bytes. Words: a *service* is a process type (`web`), an *instance* is
one process of it (`web.1`); everything below is per instance, so that the supervisor does no arithmetic.
"""

from collections.abc import Mapping
from typing import Literal

from whalefall.plan.records import field, frozen


@frozen
class Listener:
    """A listening socket that the supervisor binds once and hands to every generation.

    `address` is `host:port`, `[v6]:port` or `unix:/absolute/path`.
    """

    name: str
    address: str
    backlog: int = 2048  # Gunicorn's own default; the kernel caps it at net.core.somaxconn
    descriptor: int | None = None  # of the supervisor: a service manager has bound it (sd_listen_fds(3))


@frozen
class Command:
    """What to exec: `argv` in `cwd` with exactly `env` (the instance's own variables are already in it)."""

    argv: tuple[str, ...]
    cwd: str
    env: Mapping[str, str] = field(factory=dict)
    user: str = ""  # switch to this user after the fork; "" keeps ours
    umask: int | None = None
    limits: Mapping[str, int] = field(factory=dict)  # setrlimit(2) soft limits: {"nofile": 1024}


@frozen
class Dependency:
    """`service` must be `until` before the instance that names it may start. On stop the order is reversed."""

    service: str
    until: Literal["started", "ready", "finished"] = "ready"


@frozen
class Probe:
    """One question, asked every `period_s`; it fails when there is no good answer within `timeout_s`.

    `http` asks `GET path` at `address` and wants a status below 400; `tcp` wants a connection; `exec` wants exit code 0
    of `argv`; `notify` waits for `READY=1` (sd_notify(3)) and asks nothing.
    `failures` in a row make a liveness probe fail (Kubernetes' `failureThreshold`).
    What a service must say by itself, and how often, is `Instance.watchdog_s`.
    """

    kind: Literal["http", "tcp", "exec", "notify"]
    address: str = ""
    path: str = "/"
    argv: tuple[str, ...] = ()
    period_s: float = 0.25
    timeout_s: float = 2.0
    failures: int = 3


@frozen
class RestartPolicy:
    """First restart at once, then `first_s` x `factor` up to `max_s` with jitter; forgotten after `stable_s` ready.

    Gives up after `early_crashes` before ready within `early_window_s`, or `crashes` of any kind within `window_s`.
    """

    first_s: float = 0.5
    factor: float = 2.0
    max_s: float = 30.0
    stable_s: float = 30.0
    early_crashes: int = 5
    early_window_s: float = 60.0
    crashes: int = 10
    window_s: float = 600.0
    on_give_up: Literal["exit", "degrade", "stop"] = "exit"
    degraded_retry_s: float = 60.0  # `degrade`: one more attempt this often


@frozen
class StopPolicy:
    """`signal` to the leader, `grace_s` later SIGKILL to the whole tree (systemd's KillMode=mixed).

    `quick_signal`, where a program has one for "now, but cleanly" (Nginx's TERM), comes QUICK_S before the SIGKILL.
    `orphans` says what happens to a tree whose leader died by itself: `kill` ends it before a replacement starts;
    `drain` starts the replacement at once and asks the survivors by `orphan_signal` to finish.
    `drain_s` is what a generation has that was replaced while we run on: nothing waits for it, and cutting it short
    would cut its clients' connections. None means `grace_s`; when everything stops, `grace_s` counts for it too.
    `dump_signal` goes to the leader's descendants before a hung service is stopped: Python's faulthandler then writes
    every thread's stack to the log.
    """

    signal: str = "TERM"
    quick_signal: str = ""
    grace_s: float = 5.0
    orphans: Literal["kill", "drain"] = "kill"
    orphan_signal: str = "TERM"
    drain_s: float | None = None
    dump_signal: str = ""


@frozen
class MemoryLimit:
    """What holds more than `bytes` of resident memory, looked at every `period_s`, is replaced before it hurts.

    `each` says what is measured: a `worker` (a child of the leader: the fattest is asked by SIGTERM to finish, and its
    leader replaces it, as Gunicorn does), or the whole `tree`, which is replaced as on a reload. One at a time, and
    `settle_s` later at the earliest the next.
    """

    bytes: int
    each: Literal["worker", "tree"] = "tree"
    period_s: float = 5.0
    settle_s: float = 30.0


@frozen
class Instance:
    """One process that shall run, with everything that is known about its life."""

    service: str
    number: int
    command: Command
    listeners: tuple[str, ...] = ()
    sockets: Literal["listen_fds", "nginx"] = "listen_fds"  # how the listeners are handed over
    after: tuple[Dependency, ...] = ()
    ready: Probe | None = None
    live: Probe | None = None
    watchdog_s: float | None = None  # once ready it must say WATCHDOG=1 this often (sd_watchdog_enabled(3))
    memory: MemoryLimit | None = None
    start_timeout_s: float = 60.0
    restart: RestartPolicy = field(factory=RestartPolicy)
    stop: StopPolicy = field(factory=StopPolicy)
    replace: Literal["start_first", "stop_first"] = "stop_first"
    run_once: bool = False
    log: Literal["", "text", "json", "raw", "none"] = ""  # its lines in another format than the Plan's; none: not shown
    lock: str = ""  # path of a lock file that the whole tree holds: at most one generation alive on this host
    attach: bool = False  # it has our own standard input, output and error: the terminal, for a debugger

    @property
    def name(self) -> str:
        """`web.1`: foreman's and honcho's way to name an instance."""
        return f"{self.service}.{self.number}"


@frozen
class Plan:
    """All that the supervisor needs to know.

    `drain_delay_s` is how long everything goes on serving after a stop was asked for, while readiness already says no.
    """

    instances: tuple[Instance, ...]
    listeners: tuple[Listener, ...] = ()
    drain_delay_s: float = 0.0
    run_dir: str = ""  # for the control socket; private to the user (0700)
    log_format: Literal["text", "json", "raw"] = "text"
    log_dir: str = ""  # "" keeps logs on standard output only
    crash_dir: str = ""  # where crash reports are kept; "" keeps them in memory only
    replan: Command | None = None  # prints the next Plan as JSON; run on reload
    notes: tuple[str, ...] = ()  # sentences that the supervisor prints once at its start
    scratch: tuple[str, ...] = ()  # directories outside of run_dir that are removed when all has ended
    hangup_stops: bool = False  # SIGHUP means that the terminal was closed, and is no wish for a reload
