"""Plan ⇄ JSON. An unknown or missing key or a wrong type is an error that names its path (`instances[0].stop`)."""

import functools
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from whalefall.errors import PlanError
from whalefall.plan import records
from whalefall.plan.model import Plan


def plan_to_json(plan: Plan, indent: int | None = None) -> str:
    """The Plan as one JSON document, in ASCII. It holds secrets: the environment is in it.

    An environment may hold bytes that are no text (os.environ has them as surrogates), which UTF-8 would refuse.
    """
    return json.dumps(plan, default=vars, indent=indent)


def plan_from_json(text: str) -> Plan:
    """Raises PlanError with the path of the first thing that is wrong."""
    try:
        document = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PlanError(f"the Plan is not JSON: {error}") from None
    try:
        plan: Plan = _decode(Plan, document)
    except _WrongError as error:
        raise PlanError(f"plan{error.where} {error}") from None
    return plan


class _WrongError(Exception):
    """`where` is the path, told from the inside out: nobody needs it as long as all is well."""

    def __init__(self, sentence: str, where: str = "") -> None:
        super().__init__(sentence)
        self.where = where


def _decode(kind: Any, value: Any) -> Any:
    origin, inside = _shape(kind)
    if origin is records:
        return _decode_record(kind, value)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _decode(inside[0], value)
    if origin is typing.Literal:
        _expect(value in inside, f"one of {', '.join(map(repr, inside))}", value)
        return value
    if origin is tuple:
        _expect(isinstance(value, list), "a list", value)
        return tuple(_decode_item(inside[0], item, f"[{number}]") for number, item in enumerate(value))
    if origin is Mapping:
        _expect(isinstance(value, dict), "an object", value)
        return {k: v if type(v) is inside[1] else _decode_item(inside[1], v, f".{k}") for k, v in value.items()}
    if type(value) is kind:
        return value
    _expect(kind is float and type(value) is int, "a number" if kind is float else f"of type {kind.__name__}", value)
    return float(value)


def _decode_item(kind: Any, value: Any, step: str) -> Any:
    try:
        return _decode(kind, value)
    except _WrongError as error:
        error.where = step + error.where
        raise


def _decode_record(kind: Any, value: Any) -> Any:
    _expect(isinstance(value, dict), "an object", value)
    hints = _hints(kind)
    fields = records.fields(kind)
    for key in value:
        if key not in fields:
            raise _WrongError(f"is unknown; {kind.__name__} has {', '.join(fields)}", f".{key}")
    for name, default in fields.items():
        if name not in value and records.is_required(default):
            raise _WrongError("is missing", f".{name}")
    # A word needs no more than this look; there are forty of them in an instance.
    return kind(**{k: v if type(v) is hints[k] else _decode_item(hints[k], v, f".{k}") for k, v in value.items()})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _shape(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """(what it is, what is in it). None stands in no union here: it is all that a union is for."""
    if records.is_record(kind):
        return records, ()
    inside = typing.get_args(kind)
    return typing.get_origin(kind), tuple(each for each in inside if each is not types.NoneType)


def _expect(good: bool, wanted: str, value: Any) -> None:
    if not good:
        raise _WrongError(f"must be {wanted}, not {value!r}")
