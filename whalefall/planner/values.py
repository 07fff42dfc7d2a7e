"""Which values may an option have? Each kind is a reader, words for people, and a JSON schema, side by side.

A reader answers with the checked value, or raises ValueError that says what to write instead. The schema is for
editors: it refuses what the reader refuses, as far as a schema can tell.
"""

import difflib
import re
import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from whalefall.plan import Dependency
from whalefall.settings import parse_address

SIGNALS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "KILL")
LIMITS = tuple(sorted(name.removeprefix("RLIMIT_").lower() for name in dir(resource) if name.startswith("RLIMIT_")))
SECONDS_MAX = 3600
INSTANCES_MAX = 100  # a service's ports reach no further
CRASHES_MAX = 1000
_VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_LIMIT_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """What may stand behind the = of a key."""

    read: Callable[[Any], Any]
    words: str
    schema: Mapping[str, Any]


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text in quotes")
    return value


def choice(*words: str) -> Kind:
    """One of `words`."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            near = difflib.get_close_matches(str(value), words, 1)
            raise ValueError(f"write one of {', '.join(words)}" + (f"; did you mean '{near[0]}'?" if near else ""))
        return value

    quoted = [f'"{word}"' for word in words]
    return Kind(read, f"{', '.join(quoted[:-1])} or {quoted[-1]}", {"enum": list(words)})


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("write true or false, without quotes")  # noqa: TRY004 - see Kind.read
    return value


def count(low: int, high: int) -> Kind:
    """A whole number."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return value

    return Kind(read, "whole number", {"type": "integer", "minimum": low, "maximum": high})


def _signal(value: Any) -> str:
    name = value.upper().removeprefix("SIG") if isinstance(value, str) else ""
    if name not in SIGNALS:
        raise ValueError(f"write one of {', '.join(SIGNALS)}")
    return name


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= SECONDS_MAX:
        raise ValueError(f"write a number of seconds, more than 0 and at most {SECONDS_MAX}")
    return float(value)


def _probe(*words: str) -> Kind:
    """What to ask: one of `words`, a path, or a command."""
    shown = ['"/path"', *(f'"{word}"' for word in words), "a command as a list of words"]
    text = f"{', '.join(shown[:-1])} or {shown[-1]}"
    told = f'write a path to ask for by HTTP, as in "/health", or {", ".join(shown[1:-1])}, or {shown[-1]}'

    def read(value: Any) -> str | tuple[str, ...]:
        if isinstance(value, str) and (value in words or re.fullmatch(r"/[!-~]*", value)):
            return value
        if isinstance(value, list) and value and all(isinstance(word, str) and word for word in value):
            return tuple(value)
        raise ValueError(told)

    one = {"type": "string", "pattern": rf"^({'|'.join(words)}|/[!-~]*)$"}
    command = {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}}
    return Kind(read, text, {"anyOf": [one, command]})


def _list(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('write a list of texts, as in ["web"]')
    return value


def _listen(value: Any) -> tuple[str, ...]:
    addresses = tuple(parse_address(item) for item in _list(value))
    if len(set(addresses)) != len(addresses):
        raise ValueError("the same address stands in it twice; remove one")
    return addresses


def _after(value: Any) -> tuple[Dependency, ...]:
    return tuple(_dependency(item) for item in _list(value))


def _dependency(text: str) -> Dependency:
    service, _, until = text.partition(":")
    match until or "ready":
        case "started":
            return Dependency(service, "started")
        case "ready":
            return Dependency(service, "ready")
        case "finished":
            return Dependency(service, "finished")
        case _:
            raise ValueError(
                f"'{text}' ends with no known state; write SERVICE, or SERVICE:started, :ready or :finished"
            )


def _environment(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError('write a table of texts, as in { NAME = "value" }')  # noqa: TRY004 - see Kind.read
    for name, text in value.items():
        if not re.fullmatch(_VARIABLE, name):
            raise ValueError(f"{name!r} is no name of a variable; use letters, digits and _ only")
        if not isinstance(text, str) or "\0" in text:
            raise ValueError(f"{name} must be a text in quotes")
    return value


def _umask(value: Any) -> int:
    # A number would be read as decimal, and 27 is not 027: only a text says what is meant.
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value):
        raise ValueError('write three octal digits in quotes, as in "027"')
    return int(value, 8)


def _limits(value: Any) -> dict[str, int]:
    if not isinstance(value, dict):
        raise ValueError("write a table of numbers, as in { nofile = 4096 }")  # noqa: TRY004 - see Kind.read
    return {_limit_name(name): _limit(name, number) for name, number in value.items()}


def _limit_name(name: str) -> str:
    if name not in LIMITS:
        near = difflib.get_close_matches(name, LIMITS, 1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(LIMITS)}"
        raise ValueError(f"there is no limit '{name}'; {hint}")
    return name


def _limit(name: str, number: Any) -> int:
    if number == "unlimited":
        return resource.RLIM_INFINITY
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= _LIMIT_MAX:
        raise ValueError(f'{name} must be a whole number, 0 or more, or "unlimited"')
    return number


def _bytes(value: Any) -> int:
    number, unit = value, ""
    if isinstance(value, str) and (found := re.fullmatch(r"([0-9]{1,12})([KMG])", value)):
        number, unit = int(found[1]), found[2]
    if isinstance(number, bool) or not isinstance(number, int) or not _MEBI <= number * _UNITS[unit] <= _LIMIT_MAX:
        raise ValueError('write a size of at least one megabyte, as in "300M", "2G" or as a number of bytes')
    return number * _UNITS[unit]


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("write it as tables, one per process type")  # noqa: TRY004 - see Kind.read
    return value


_MEBI = 1_048_576
_UNITS = {"": 1, "K": 1024, "M": _MEBI, "G": 1024 * _MEBI}
_VISIBLE = {"type": "string", "pattern": r"\S"}
_LIMIT_SCHEMA = {"anyOf": [{"type": "integer", "minimum": 0, "maximum": _LIMIT_MAX}, {"const": "unlimited"}]}

TEXT = Kind(_text, "text", _VISIBLE)
FLAG = Kind(_flag, "true or false", {"type": "boolean"})
SECONDS = Kind(_seconds, "seconds", {"type": "number", "exclusiveMinimum": 0, "maximum": SECONDS_MAX})
SIGNAL = Kind(
    _signal,
    "name of a signal",
    {"type": "string", "pattern": rf"^([Ss][Ii][Gg])?({'|'.join((*SIGNALS, *map(str.lower, SIGNALS)))})$"},
)
READY = _probe("tcp", "notify", "none")
LIVE = _probe("tcp", "none")
ADDRESSES = Kind(
    _listen,
    "list of addresses",
    {"type": "array", "uniqueItems": True, "items": {"type": "string", "pattern": r"^(unix:/.*|.+:[0-9]+)$"}},
)
SERVICES = Kind(
    _after,
    "list of services",
    {"type": "array", "items": {"type": "string", "pattern": r"^[^:]*(:(started|ready|finished)?)?$"}},
)
BYTES = Kind(
    _bytes,
    "size",
    {
        "anyOf": [
            {"type": "integer", "minimum": _MEBI, "maximum": _LIMIT_MAX},
            {"type": "string", "pattern": "^[0-9]{1,12}[KMG]$"},
        ]
    },
)
VARIABLES = Kind(
    _environment,
    "table of texts",
    {"type": "object", "propertyNames": {"pattern": f"^{_VARIABLE}$"}, "additionalProperties": {"type": "string"}},
)
UMASK = Kind(_umask, "octal digits in quotes", {"type": "string", "pattern": "^0?[0-7]{3}$"})
LIMITS_TABLE = Kind(
    _limits,
    "table of numbers",
    {"type": "object", "properties": dict.fromkeys(LIMITS, _LIMIT_SCHEMA), "additionalProperties": False},
)
TABLE = Kind(_table, "table", {"type": "object"})
