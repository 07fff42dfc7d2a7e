"""`whalefall dev`: what differs from `serve`, and nothing else may. The whole list is in this file.

Same Procfile, order, roles, sockets and probes of readiness. Different are: `.env` wins over the shell (foreman's and
honcho's rule), the defaults below, Gunicorns that load changed code, no liveness probes and no timeouts, so that one
may sit in a debugger, one process that has the terminal, and a small process that plans again when a file changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from whalefall.errors import UsageError
from whalefall.plan import Command, Instance, RestartPolicy, StopPolicy
from whalefall.plan.records import replace
from whalefall.planner import python
from whalefall.planner.environment import Environment, is_set, put
from whalefall.planner.options import nearest

SOURCE = "dev"
DEFAULTS: Mapping[str, str] = {
    "HOST": "127.0.0.1",  # debug mode shows tracebacks: to you, not to the network
    "FLASK_DEBUG": "1",  # as `flask run --debug`: templates are read again, errors are shown
    "REQUEST_TIMEOUT": "3600",  # nobody, Nginx included, gives up while you think at a breakpoint
}
WORKER = "whalefall.planner.dev_worker.DevWorker"
WATCHED = ("Procfile", ".env", "whalefall.toml", "pyproject.toml")
_WATCHER_NAMES = ("dev", "whalefall-dev")  # the second where the Procfile has the first


def set_defaults(environment: Environment) -> None:
    """What nobody has set."""
    put(environment, {name: value for name, value in DEFAULTS.items() if not is_set(environment, name)}, SOURCE)


def check_attached(name: str, counts: Mapping[str, int]) -> None:
    """Raises UsageError unless `name` is one process: two would read each other's lines from one terminal."""
    if name not in counts:
        raise UsageError(f"--attach {name}: the Procfile has no '{name}'. {nearest(name, list(counts))}")
    if counts[name] != 1:
        raise UsageError(
            f"--attach {name}: {counts[name]} of it would run, and one terminal serves one. Add -c {name}=1."
        )


def gunicorn_words(*, ours: bool, attached: bool) -> tuple[str, ...]:
    """What a Gunicorn's command line gets in addition; the last word wins there.

    `poll`, because the other engine reloads for any file in the directory, as SQLite's journals. An attached one has
    one thread in one worker: prompts of two requests would mix.
    """
    words = ["--reload", "--reload-engine", "poll", "--timeout", "0"]
    words += ["--worker-class", WORKER] if ours else []
    words += ["--workers", "1", "--threads", "1"] if attached else []
    return tuple(words)


def as_developed(instance: Instance, *, attached: bool) -> Instance:
    """Nothing looks whether it hangs: it may well be you who holds it."""
    return replace(instance, live=None, attach=attached)


def watcher(
    home: Path, run_dir: Path, files: Iterable[Path], environ: Mapping[str, str], names: Sequence[str]
) -> Instance:
    """The process that asks for a reload when one of `files` changes."""
    name = next(name for name in _WATCHER_NAMES if name not in names)
    argv = (*python.module("whalefall.cli.watch"), str(run_dir), *map(str, files))
    return Instance(
        name,
        1,
        Command(argv, str(home), {**environ, "PYTHONUNBUFFERED": "1"}),
        restart=RestartPolicy(on_give_up="degrade"),  # the site does without it
        stop=StopPolicy(signal="KILL"),  # it has nothing to finish
    )


def watched(home: Path, procfile: Path | None, env_file: Path | None) -> list[Path]:
    """The files that a Plan is made of, there or not: one may be created."""
    found = [home / name for name in WATCHED]
    return [*dict.fromkeys([*found, *filter(None, (procfile, env_file))])]
