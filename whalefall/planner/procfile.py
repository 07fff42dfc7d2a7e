"""Which processes does the Procfile name? honcho's parser answers; our checker says what honcho skips in silence.

honcho ignores a line that does not match and stops with a bare `assert` on a duplicate: a typo is a missing service.
So every line that is neither blank nor a comment must be one that honcho takes. A differential test holds both to it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from honcho.environ import PROCFILE_LINE, parse_procfile

from whalefall.errors import ConfigError

FILE_BYTES_MAX = 1_048_576  # a Procfile is a page of text; anything longer is another file


@dataclass(frozen=True, slots=True)
class Process:
    """One line of a Procfile: a process type and its command, with where it stands for errors."""

    name: str
    command: str
    where: str  # "Procfile:3"


def parse(content: str, name: str) -> list[Process]:
    """The processes in the file's order. Raises ConfigError with the first thing that is wrong, as `name`:line."""
    for problem in problems(content, name):
        raise ConfigError(problem)
    lines = {match.group(1): number for number, match in _entries(content)}
    processes: dict[str, str] = parse_procfile(content).processes
    return [Process(key, command.strip(), f"{name}:{lines[key]}") for key, command in processes.items()]


def problems(content: str, name: str) -> Iterator[str]:
    """A sentence for each thing that is wrong, in the file's order."""
    seen: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = PROCFILE_LINE.match(line)
        if match is None:
            yield f"{name}:{number}: {_diagnosis(line)}"
            continue
        key, command = match.group(1), match.group(2)
        if not command.strip():
            yield f"{name}:{number}: '{key}' has no command. Write it behind the colon, or remove the line."
        if "\0" in command:
            yield f"{name}:{number}: the command of '{key}' holds a NUL byte. Remove it."
        if key in seen:
            yield f"{name}:{number}: '{key}' is already defined on line {seen[key]}. Rename one of them."
        seen.setdefault(key, number)
    if not seen:
        yield f"{name}: there is no process in it. Write one a line, as `web: python -m whalefall web`."


def _entries(content: str) -> Iterator[tuple[int, re.Match[str]]]:
    for number, line in enumerate(content.splitlines(), start=1):
        if match := PROCFILE_LINE.match(line):
            yield number, match


def _diagnosis(line: str) -> str:
    shown = line if len(line) <= 60 else line[:57] + "..."
    key, colon, command = line.partition(":")
    if not colon:
        return f"{shown!r} has no colon. Write `name: command`, or start the line with # for a comment."
    if line != line.lstrip() and PROCFILE_LINE.match(line.lstrip()):
        return f"{shown!r} starts with a space, so honcho and foreman would skip it. Start it in the first column."
    if not command.strip():
        return f"'{key.strip()}' has no command. Write it behind the colon, or remove the line."
    name, _, rest = line.partition(" ")
    if " " in key and not command[0].isspace() and PROCFILE_LINE.match(f"{name}:x"):  # the colon of MODULE:CALLABLE
        written = f"{name}: {rest.strip()}"
        return f"{shown!r} has no colon behind '{name}'. Write `{written if len(written) <= 60 else name + ': …'}`."
    return f"{key!r} is no name of a process. Use letters, digits, _ and - only, as in `web: command`."


def text(path: Path) -> str:
    """The file's text. Raises ConfigError when it is not there, not readable, not text."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such Procfile. Create it, or name another by -f.") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Mend that, or name another by -f.") from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX} bytes, so it is no Procfile. Name another by -f.")
    return decode(raw, str(path))


def decode(raw: bytes, name: str) -> str:
    """UTF-8, a byte order mark allowed. Raises ConfigError with file:line of the first byte that is not."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        content, at = error.object, error.start  # without the mark, as they count
        line = content.count(b"\n", 0, at) + 1
        raise ConfigError(f"{name}:{line}: byte 0x{content[at]:02x} is not UTF-8. Save the file as UTF-8.") from None
