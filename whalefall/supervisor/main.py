"""Plan in, exit code out. `python -m whalefall.supervisor --plan-fd N` (or `--plan FILE`)."""

import contextlib
import os
import selectors
import sys
from collections.abc import Callable

from whalefall.errors import ConfigError, UsageError, WhalefallError
from whalefall.plan import Plan, plan_from_json
from whalefall.plan.order import check
from whalefall.supervisor.core.engine import Engine
from whalefall.supervisor.edge import files, groups, guardian, linux, scratch
from whalefall.supervisor.edge.chance import Chance
from whalefall.supervisor.edge.dossiers import Dossiers
from whalefall.supervisor.edge.logfiles import LogFiles
from whalefall.supervisor.edge.output import Output
from whalefall.supervisor.edge.probes import Probes
from whalefall.supervisor.edge.signals import Signals
from whalefall.supervisor.edge.sink import Sink
from whalefall.supervisor.loop import Loop
from whalefall.supervisor.manager import ServiceManager
from whalefall.supervisor.refusal import Refusal
from whalefall.supervisor.reload import Reload
from whalefall.supervisor.requests import Requests

_STDOUT = 1
_STDERR = 2


def main(argv: list[str] | None = None) -> int:
    try:
        return supervise(_read_plan(sys.argv[1:] if argv is None else argv))
    except WhalefallError as error:
        os.write(_STDERR, f"whalefall: {error}\n".encode(errors="replace"))
        return error.exit_code


def supervise(plan: Plan) -> int:
    """Runs `plan` to its end. Raises ConfigError before anything is started."""
    check(plan)
    run_dir = _private_directory(plan.run_dir)
    restore_terminal = _keep_terminal(plan)
    _keep_to_ourselves()
    linux.become_subreaper()
    identity = f"{os.getpid()}-{os.urandom(8).hex()}"
    divided = groups.divide(identity)
    watching = guardian.watch_over(identity, divided.directory)
    selector = selectors.DefaultSelector()
    output = Output(Sink.on(_STDOUT, selector), selector, plan.log_format)
    output.files = LogFiles(plan.log_dir) if plan.log_dir else None
    output.name_all([instance.name for instance in plan.instances])
    loop = Loop(Engine(Chance()), selector, output, Probes(selector), Signals(), run_dir)
    loop.identity, loop.groups, loop.guardian = identity, divided, watching
    loop.hangup_stops = plan.hangup_stops
    loop.dossiers = Dossiers(plan.crash_dir)
    reload = Reload(loop, plan)
    requests = Requests(loop, reload)
    requests.control.listen(run_dir)  # first, because a second whalefall on this directory ends here
    manager = ServiceManager(loop, os.environ, run_dir)
    reload.before, reload.after = manager.reloading, manager.reloaded
    loop.after_turn += [Refusal(loop), manager, reload, requests]  # a reload's answer leaves in the same turn
    try:
        loop.bind(plan)
        for note in plan.notes:
            output.say(note)
        return loop.run(plan)
    finally:
        restore_terminal()
        manager.close()
        requests.control.close()
        divided.leave()
        for path in reload.plan.scratch:
            scratch.remove(path)


def _read_plan(arguments: list[str]) -> Plan:
    """`--plan-fd N` (an inherited descriptor) or `--plan FILE`. No argparse: a megabyte for two words."""
    try:
        match arguments:
            case ["--plan", path]:
                return plan_from_json(files.read(path))
            case ["--plan-fd", number] if number.isdigit():
                with os.fdopen(int(number), "rb") as file:
                    file.seek(0)
                    return plan_from_json(file.read().decode())
    except OSError as error:
        raise ConfigError(f"cannot read the Plan ({' '.join(arguments)}): {error.strerror}") from None
    raise UsageError("usage: python -m whalefall.supervisor --plan-fd N | --plan FILE")


def _private_directory(path: str) -> str:
    """Exists, is ours and nobody else's: the control socket and the children's sockets live there."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
        found = os.lstat(path)
    except OSError as error:
        raise ConfigError(f"cannot make the run directory {path}: {error.strerror}. Set RUN_DIR.") from None
    if found.st_uid != os.geteuid() and os.geteuid() != 0:
        raise ConfigError(f"the run directory {path} belongs to somebody else. Set RUN_DIR to one of your own.")
    return path


def _keep_terminal(plan: Plan) -> Callable[[], None]:
    """What sets the terminal as it was: a debugger that is killed at its prompt leaves it without echo."""
    if not any(instance.attach for instance in plan.instances):
        return lambda: None
    from whalefall.supervisor.edge import terminal  # noqa: PLC0415 - only development attaches anything

    return terminal.keep()


def _keep_to_ourselves() -> None:
    """What our starter left open is not for our children; what they shall have is handed over on purpose."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > _STDERR:
            with contextlib.suppress(OSError):  # the listing's own descriptor is closed by now
                os.set_inheritable(int(name), False)
