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
    """The Plan as one JSON document. It holds secrets: the environment is in it."""
    return json.dumps(plan, default=vars, indent=indent, ensure_ascii=False)


def plan_from_json(text: str) -> Plan:
    """Raises PlanError with the path of the first thing that is wrong."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise PlanError(f"the Plan is not JSON: {error}") from None
    plan: Plan = _decode(Plan, document, "plan")
    return plan


def _decode(kind: Any, value: Any, path: str) -> Any:
    origin = typing.get_origin(kind)
    if records.is_record(kind):
        return _decode_record(kind, value, path)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        inner = next(option for option in typing.get_args(kind) if option is not types.NoneType)
        return _decode(inner, value, path)
    if origin is typing.Literal:
        if value not in typing.get_args(kind):
            raise PlanError(f"{path} is {value!r}; it must be one of {', '.join(map(repr, typing.get_args(kind)))}")
        return value
    if origin is tuple:
        _expect(isinstance(value, list), path, "a list", value)
        return tuple(_decode(typing.get_args(kind)[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if origin is Mapping:
        _expect(isinstance(value, dict), path, "an object", value)
        inner = typing.get_args(kind)[1]
        return {key: _decode(inner, item, f"{path}.{key}") for key, item in value.items()}
    if kind is float:
        _expect(isinstance(value, int | float) and not isinstance(value, bool), path, "a number", value)
        return float(value)
    _expect(type(value) is kind, path, f"of type {kind.__name__}", value)
    return value


def _decode_record(kind: Any, value: Any, path: str) -> Any:
    _expect(isinstance(value, dict), path, "an object", value)
    hints = _hints(kind)
    fields = records.fields(kind)
    for key in value:
        if key not in fields:
            raise PlanError(f"{path}.{key} is unknown; {kind.__name__} has {', '.join(fields)}")
    for name, default in fields.items():
        if name not in value and records.is_required(default):
            raise PlanError(f"{path}.{name} is missing")
    return kind(**{key: _decode(hints[key], item, f"{path}.{key}") for key, item in value.items()})


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _expect(good: bool, path: str, wanted: str, value: Any) -> None:
    if not good:
        raise PlanError(f"{path} must be {wanted}, not {value!r}")
