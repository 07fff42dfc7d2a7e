"""Plain records: what `dataclasses` would make of a class, for a PID 1 that is up in the time of a blink.

`dataclasses` loads `inspect` and compiles six functions for each class: that was half of the time until the first child
ran, and megabytes for as long as PID 1 lives. Here all records share the same few general methods. The names are
attrs' (`frozen`, `mutable`, `field`), and type checkers know them as what they are (PEP 681).
"""

from collections.abc import Callable
from typing import Any, TypeVar, dataclass_transform

_Record = TypeVar("_Record")
_NOTHING: Any = object()


class _Fresh:
    """A default that is made anew for each record."""

    def __init__(self, factory: Callable[[], Any]) -> None:
        self.factory = factory


def field(*, factory: Callable[[], Any]) -> Any:
    """The default is what `factory()` returns."""
    return _Fresh(factory)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(cls: type[_Record]) -> type[_Record]:
    """A record that never changes and can be a key."""
    _furnish(cls)
    cls.__eq__, cls.__hash__ = _equals, _hash  # type: ignore[method-assign]
    cls.__setattr__ = cls.__delattr__ = _refuse  # type: ignore[method-assign]
    return cls


@dataclass_transform(field_specifiers=(field,))
def mutable(cls: type[_Record]) -> type[_Record]:
    """A record of what goes on: equal to itself and to no other."""
    _furnish(cls)
    return cls


def fields(record: Any) -> dict[str, Any]:
    """The names of a record's or a record class's fields, each with its default (see is_required())."""
    known: dict[str, Any] = record._fields
    return known


def is_record(kind: Any) -> bool:
    return hasattr(kind, "_fields")


def is_required(default: Any) -> bool:
    """Of a field whose default is this: whether it must be given."""
    return default is _NOTHING


def replace(record: _Record, **changes: Any) -> _Record:
    """A record like this one, but for `changes`."""
    return type(record)(**{**vars(record), **changes})


def _furnish(cls: Any) -> None:
    """Fields are the annotated names of the class's own body, in its order."""
    cls._fields = {name: cls.__dict__.get(name, _NOTHING) for name in cls.__annotations__}
    cls._required = frozenset(name for name, default in cls._fields.items() if default is _NOTHING)
    cls._fresh = tuple(name for name, default in cls._fields.items() if type(default) is _Fresh)
    for name in cls._fields.keys() - cls._required:
        delattr(cls, name)
    cls.__init__, cls.__repr__ = _init, _repr


def _init(self: Any, *values: Any, **named: Any) -> None:
    known = self._fields
    if values:
        given = dict(zip(known, values))  # noqa: B905 - fewer values than fields are the rule
        if len(values) > len(known) or given.keys() & named.keys():
            raise _wrong(self, values, named)
        named = {**given, **named}
    state = {**known, **named}
    if len(state) > len(known):
        raise _wrong(self, values, named)
    if not self._required <= named.keys():
        missing = next(name for name in known if name in self._required and name not in named)
        raise TypeError(f"{type(self).__name__} needs '{missing}'")
    for name in self._fresh:
        if name not in named:
            state[name] = known[name].factory()
    self.__dict__.update(state)


def _wrong(self: Any, values: object, named: object) -> TypeError:
    return TypeError(f"{type(self).__name__}({', '.join(self._fields)}) got {values!r}, {named!r}")


def _equals(self: Any, other: object) -> Any:
    return self.__dict__ == other.__dict__ if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash((type(self), *(self.__dict__[name] for name in self._fields)))


def _repr(self: Any) -> str:
    return f"{type(self).__name__}({', '.join(f'{name}={self.__dict__[name]!r}' for name in self._fields)})"


def _refuse(self: object, name: str, _value: object = None) -> None:
    raise AttributeError(f"{type(self).__name__} is frozen: '{name}' cannot be changed")
