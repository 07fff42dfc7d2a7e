"""Is there such an application? Looked up without importing it: that is the child's business, and may take seconds."""

import importlib.machinery
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from whalefall.errors import ConfigError
from whalefall.planner.options import nearest

_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_][\w.]*(\(.*\))?)?\Z")


def check(spec: str, directory: Path, environ: Mapping[str, str], where: str) -> None:
    """Raises ConfigError when `module:callable` is misspelt or its module is nowhere. `where` says who named it."""
    if not _SPEC.match(spec) or spec.endswith(".py"):
        hint = _as_module(spec)
        raise ConfigError(f"{where}: '{spec}' is no application. Write module:callable, as in {hint}.")
    module = spec.partition(":")[0]
    missing = missing_module(module, directory, environ)
    if missing:
        raise ConfigError(
            f"{where}: there is no module '{missing}' in {directory} or among the installed packages. "
            f"{suggestion(missing, directory)}"
        )


def missing_module(module: str, directory: Path, environ: Mapping[str, str]) -> str:
    """The part of `module` that cannot be found from `directory`, "" when all of it can."""
    return _missing(module, [str(directory), *filter(None, environ.get("PYTHONPATH", "").split(":")), *sys.path[1:]])


def suggestion(missing: str, directory: Path) -> str:
    """What was probably meant, among the modules of `directory`."""
    here = sorted(
        entry.stem
        for entry in directory.iterdir()
        if entry.stem.isidentifier() and (entry.suffix == ".py" or (entry / "__init__.py").exists())
    )[:20]
    return nearest(missing, here) if here else "Name one that exists, or start whalefall where it lies."


def _missing(module: str, search: Sequence[str]) -> str:
    """The shortest leading part of `module` that cannot be found, "" when all of it can."""
    path: Sequence[str] = search
    parts = module.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if count == 1 and (name in sys.builtin_module_names):
            return ""
        spec = importlib.machinery.PathFinder.find_spec(name, list(path))
        if spec is None:
            return name
        if spec.submodule_search_locations is None:
            return "" if count == len(parts) else ".".join(parts[: count + 1])
        path = list(spec.submodule_search_locations)
    return ""


def _as_module(spec: str) -> str:
    """`src/app.py` → `src.app:app`: what was probably meant."""
    module = spec.partition(":")[0].removesuffix(".py").replace("/", ".").strip(".")
    return f"{module}:app" if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module) else "wsgi:application"
