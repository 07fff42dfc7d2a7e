"""In which line of a TOML file does a key stand? tomllib does not say, and an error without a line is half an error.

A search, no second parser: what it does not find has the line of the table around it, or none. The document has been
read by tomllib already, so here nothing is refused.
"""

import re
from collections.abc import Mapping

Path = tuple[str, ...]

_HEADER = re.compile(r"\s*\[\[?\s*(?P<name>[^\]]+?)\s*\]")
_KEY = re.compile(
    r"""\s*(?P<name>(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*="""
)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
_LONG = re.compile(r'"""|' + "'''")


def lines_of(text: str) -> Mapping[Path, int]:
    """{("services", "web", "ready"): 7, ...}, the first line of each key and of each table that leads to it."""
    found: dict[Path, int] = {}
    table: Path = ()
    inside = ""  # the quotes of a text over several lines, in which nothing is a key
    for number, line in enumerate(text.split("\n"), 1):  # not splitlines(): U+2028 ends no line of TOML
        rest = line
        if not inside:
            if line.lstrip().startswith("#"):
                continue
            if match := _HEADER.match(line):
                table = _parts(match["name"])
                _note(found, table, number)
            elif match := _KEY.match(line):
                _note(found, (*table, *_parts(match["name"])), number)
                rest = line[match.end() :]
        for quotes in _LONG.findall(rest):
            inside = "" if inside == quotes else inside or quotes
    return found


def line_of(lines: Mapping[Path, int], path: Path) -> int:
    """Of the key, else of the nearest table around it (as of an inline one); 0 when the file has neither."""
    return next((lines[path[:length]] for length in range(len(path), 0, -1) if path[:length] in lines), 0)


def _note(found: dict[Path, int], path: Path, number: int) -> None:
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], number)


def _parts(name: str) -> Path:
    return tuple(part.strip("\"'") for part in _PART.findall(name))
