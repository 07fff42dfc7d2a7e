"""Is there such an application? Looked up without importing it: that is the child's business, and may take seconds."""

import ast
import contextlib
import difflib
import importlib.machinery
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from whalefall.errors import ConfigError
from whalefall.planner import places
from whalefall.planner.options import nearest

_SPEC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_][\w.]*(\(.*\))?)?\Z")

_NEARLY = 0.8  # an installed module is missed more often than a name is misspelt, and shares some letters with any


def check(spec: str, directory: Path, environ: Mapping[str, str], where: str) -> None:
    """Raises ConfigError when `module:callable` is misspelt or its module is nowhere. `where` says who named it."""
    if not _SPEC.match(spec) or spec.endswith(".py"):
        hint = _as_module(spec)
        raise ConfigError(f"{where}: '{spec}' is no application. Write module:callable, as in {hint}.")
    module, _, attribute = spec.partition(":")
    missing, origin = _find(module, _search(directory, environ))
    if missing:
        above, _, last = spec.rpartition(".")
        if above and ":" not in spec and not _find(above, _search(directory, environ))[0]:
            raise ConfigError(f"{where}: there is no module '{spec}'. Did you mean '{above}:{last}'?")
        raise ConfigError(
            f"{where}: there is no module '{missing}' in {directory} or among the installed packages. "
            f"{suggestion(missing, directory)}"
        )
    name = re.match(r"\w*", attribute)[0] or "application"  # type: ignore[index]  # it matches always; Gunicorn's default
    there = _names_without(name, Path(origin)) if origin.endswith(".py") else None
    if there is not None:
        hint = nearest(name, there) if there else "Write the name of the application in it."
        raise ConfigError(f"{where}: {origin} has no '{name}'. {hint}")


def missing_module(module: str, directory: Path, environ: Mapping[str, str]) -> str:
    """The part of `module` that cannot be found from `directory`, "" when all of it can."""
    return _find(module, _search(directory, environ))[0]


def suggestion(missing: str, directory: Path) -> str:
    """What was probably meant, among the modules of `directory`."""
    here = _modules(directory)[:20]
    return nearest(missing, here) if here else "Name one that exists, or start whalefall where it lies."


def near(missing: str, directory: Path) -> str:
    """The module of `directory` whose name is nearly this, "" for none."""
    return next(iter(difflib.get_close_matches(missing, _modules(directory), 1, _NEARLY)), "")


def _modules(directory: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(
            entry.stem
            for entry in directory.iterdir()
            if entry.stem.isidentifier() and (entry.suffix == ".py" or places.exists(entry / "__init__.py"))
        )
    return []


def _search(directory: Path, environ: Mapping[str, str]) -> list[str]:
    return [str(directory), *filter(None, environ.get("PYTHONPATH", "").split(":")), *sys.path[1:]]


def _find(module: str, search: Sequence[str]) -> tuple[str, str]:
    """(the shortest leading part of `module` that cannot be found, its file); either may be ""."""
    path: Sequence[str] = search
    parts = module.split(".")
    origin = ""
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if count == 1 and (name in sys.builtin_module_names):
            return "", ""
        spec = importlib.machinery.PathFinder.find_spec(name, list(path))
        if spec is None:
            return name, ""
        origin = spec.origin or ""
        if spec.submodule_search_locations is None:
            return ("" if count == len(parts) else ".".join(parts[: count + 1])), origin
        path = list(spec.submodule_search_locations)
    return "", origin


def _names_without(name: str, file: Path) -> list[str] | None:
    """What the module defines, if it certainly does not define `name`; else None.

    Certain is only a name that does not even occur in the text, where nothing makes names in other ways.
    """
    try:
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (OSError, UnicodeDecodeError, SyntaxError, ValueError):
        return None  # the child will say it better
    if re.search(rf"\b{re.escape(name)}\b|import \*|__getattr__|globals|setattr|exec\(|vars\(", text):
        return None
    functions = [each.name for each in tree.body if isinstance(each, ast.FunctionDef)]
    values = [
        target.id
        for each in tree.body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    ]
    return [*values, *functions]


def _as_module(spec: str) -> str:
    """`src/app.py` → `src.app:app`: what was probably meant."""
    module = spec.partition(":")[0].removesuffix(".py").replace("/", ".").strip(".")
    return f"{module}:app" if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", module) else "wsgi:application"
