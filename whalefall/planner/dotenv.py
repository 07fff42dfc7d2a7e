"""What does `.env` say? python-dotenv reads the syntax that people write; we add line numbers to what is wrong.

Why not honcho's `parse`: it drops `export X=1` without a word, joins `A=two words` to `twowords`, and answers `A=it's`
with a traceback. python-dotenv knows `export`, quotes, values over several lines and comments; what it does not say (a
bad line is a log message there) and what it does differently from a shell is in here:

    KEY=plain value        up to the end of the line; ` #` starts a comment
    KEY='literal'          nothing is expanded
    KEY="with \\n"          backslash escapes; ${VAR} is expanded
    KEY=${VAR:-default}    from the lines above, then from the environment; unset without a default is empty
    KEY=$VAR               likewise, but stays as written when VAR is unset: passwords hold dollars
    KEY=\\$literal          a dollar that is only a dollar
"""

import io
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from whalefall.errors import ConfigError
from whalefall.planner.environment import Environment, Variable, plain
from whalefall.planner.procfile import FILE_BYTES_MAX, decode

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SINGLE_QUOTED = re.compile(r"[^=]*=\s*'")
_REFERENCE = re.compile(
    r"\\\$"  # an escaped dollar
    r"|\$\{(?P<braced>[A-Za-z_][A-Za-z0-9_]*)(?P<defaulted>:-(?P<default>[^}]*))?\}"
    r"|\$(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    r"|(?P<broken>\$\{[^}]*\}?)"
)


def read(path: Path, name: str, environ: Mapping[str, str], *, wins: bool = False) -> Environment:
    """The file's variables; `name` stands for it in their sources, `.env:3`, and in errors.

    `wins`: also in ${VAR} the file goes before `environ`.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{name}: cannot be read ({error.strerror}). Mend that, or name another by --env.") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{name}: is larger than {FILE_BYTES_MAX} bytes, so it is no .env. Name another by --env.")
    return parse(decode(raw, name), name, environ, wins=wins)


def parse(text: str, name: str, environ: Mapping[str, str], *, wins: bool = False) -> Environment:
    """Like `read`, for text that is at hand. Who wins in ${VAR} is who wins everywhere: in `serve` the environment."""
    found: Environment = {}
    for binding in parse_stream(io.StringIO(text)):
        where = f"{name}:{_line(binding)}"
        if binding.error:
            raise ConfigError(f"{where}: {_diagnosis(binding.original.string)}")
        if binding.key is None:
            continue
        if not _NAME.match(binding.key):
            raise ConfigError(f"{where}: {binding.key!r} is no name of a variable. Use letters, digits and _ only.")
        if binding.value is None:
            raise ConfigError(f"{where}: {binding.key} has no value. Write {binding.key}=value, or remove the line.")
        value = binding.value
        if "\0" in value:
            raise ConfigError(f"{where}: {binding.key} holds a NUL byte, which no environment can. Remove it.")
        if not _SINGLE_QUOTED.match(binding.original.string):
            known = {**environ, **plain(found)} if wins else {**plain(found), **environ}
            value = _expand(value, known, where)
        found[binding.key] = Variable(value, where)
    return found


def _line(binding: Binding) -> int:
    # python-dotenv counts from the blank lines in front of a binding
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _diagnosis(text: str) -> str:
    key, equals, value = text.strip().partition("=")
    quote = value.strip()[:1]
    if equals and quote in ("'", '"'):
        if value.strip().count(quote) == 1:
            return (
                f"the value of {key.strip()} opens with {quote} and never closes. Close it, or quote it the other way."
            )
        return f"something stands behind the closing quote of {key.strip()}. Quote the whole value, or start it with #."
    return "this is no KEY=value. Mend it, or start the line with # for a comment."


def _expand(value: str, known: Mapping[str, str], where: str) -> str:
    def resolve(match: re.Match[str]) -> str:
        if match["broken"]:
            raise ConfigError(
                f"{where}: {match['broken']!r} is no variable. Write ${{NAME}} or ${{NAME:-default}}, "
                "or put the value in single quotes to keep it as it is."
            )
        if match["braced"]:
            found = known.get(match["braced"], "")
            return (found or match["default"]) if match["defaulted"] else found
        if match["bare"]:
            return known.get(match["bare"], match.group())
        return "$"

    return _REFERENCE.sub(resolve, value)
