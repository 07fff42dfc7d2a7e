"""Tables of a terminal: as wide as they are where nobody looks (a pipe), else made to fit. Pure."""

import textwrap
from collections.abc import Sequence

_CUT_TO = 10  # characters of a cell that stay in any case
_INDENT = "    "

Rows = Sequence[Sequence[str]]


def fitted(rows: Rows, width: int | None, cut: Sequence[int]) -> list[str]:
    """The last column goes, and then the widest of the columns `cut` get shorter, until the table fits."""
    widths = _widths(rows)
    if width is not None and _total(widths) > width:
        widths = widths[:-1]
    kept = [row[: len(widths)] for row in rows]
    widest = max(cut, key=lambda at: widths[at])
    while width is not None and _total(widths) > width and widths[widest] > _CUT_TO:
        widths[widest] -= 1
        widest = max(cut, key=lambda at: widths[at])
    return [_line([_short(cell, width) for cell, width in zip(row, widths, strict=True)], widths) for row in kept]


def told_below(rows: Rows, width: int | None) -> list[str]:
    """What the last column says stands on lines of its own, indented, in each row that would be too wide with it."""
    widths, lines = _widths(rows), []
    for row in rows:
        line = _line(row, [*widths[:-1], 0])
        if width is None or len(line) <= width or not row[-1]:
            lines.append(line)
        else:
            lines += [_line(row[:-1], widths[:-1])]
            lines += textwrap.wrap(row[-1], max(width, 2 * _CUT_TO), initial_indent=_INDENT, subsequent_indent=_INDENT)
    return lines


def _widths(rows: Rows) -> list[int]:
    return [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
