"""Functions by name: the ledger stores `module:name`, because a pickled function is neither readable nor safe."""

import importlib
import inspect
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from whalefall.scheduler.errors import InvalidArguments, JobDeclarationError

Function = Callable[..., Any]


def reference(function: Function) -> str:
    """`module:qualified.name`. Raises JobDeclarationError for what another process could not find by name."""
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", None)
    if not name or module is None:
        raise JobDeclarationError(f"{function!r} has no name; a job is a function at the top level of a module.")
    if "<" in name:
        what = "a lambda" if "<lambda>" in name else "a function inside a function"
        raise JobDeclarationError(
            f"{where(function)}: {what} cannot be found by name in another process; "
            "move it to the top level of a module."
        )
    return f"{_importable(module, function)}:{name}"


def where(function: Function) -> str:
    """file:line of the function, for complaints."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(function)


def load(func_ref: str) -> Function:
    """Imports `module:name`. Raises whatever the import raises, or LookupError with a sentence."""
    module_name, _, path = func_ref.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise LookupError(f"The module {module_name!r} has no {path!r} any more.") from None
    if not callable(found):
        raise LookupError(f"{func_ref} is not a function.")  # noqa: TRY004 - the reference is wrong, not a type in our code
    function: Function = found
    return function


def check_arguments(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Do the arguments fit the signature, and are they JSON? Raises InvalidArguments."""
    try:
        json.dumps([list(args), dict(kwargs)], allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArguments(f"The arguments of a job are stored as JSON: {error}.") from None
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # a builtin without a signature says no when it is called
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        shown = str(signature)
        raise InvalidArguments(f"{getattr(function, '__name__', function)}{shown}: {error}.") from None


def _importable(module: str, function: Function) -> str:
    """The name under which `__main__` can be imported by another process."""
    if module != "__main__":
        return module
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    if file is None:
        raise JobDeclarationError(f"{function!r} was typed into an interpreter; a job belongs in a module.")
    return Path(file).stem
