"""What does a command line exec? The program itself wherever that is the same, so that the leader is the program.

A shell in between (`sh -c`) does not forward TERM to what it runs, hides its exit code and costs a process. So a line
without shell syntax becomes an argv; a single command that only expands variables is run as `sh -c 'exec …'`; the rest
keeps its shell.
"""

import re
import shlex
from dataclasses import dataclass

from whalefall.errors import ConfigError

_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)
_LISTS = frozenset("|&;<>()\n`")  # several commands, redirections, substitutions
_EXPANSIONS = frozenset("$*?[]{}~#=")  # one command still, but its words are the shell's to make
# Words that start something longer than one simple command, and builtins that `exec` cannot run.
_SHELL_WORDS = frozenset(
    """! . : [ alias bg break builtin case cd command continue do done elif else esac eval exec exit export fg fi for
    function hash if in jobs local read readonly return set shift source then time times trap type ulimit umask unalias
    unset until wait while { }""".split()  # noqa: SIM905 - a list of one word a line would hide the rest of the file
)


@dataclass(frozen=True, slots=True)
class Line:
    """A command line, taken apart. `argv` is empty where only a shell can tell the words."""

    text: str
    assignments: dict[str, str]  # leading VAR=value, in front of the program
    words: tuple[str, ...]  # as they are written: `$PORT` stands for itself
    argv: tuple[str, ...]

    @property
    def program(self) -> str:
        """The last part of the program's path (`gunicorn`), as far as it can be read without a shell."""
        return self.words[0].rpartition("/")[2]


def take_apart(text: str, where: str) -> Line:
    """Raises ConfigError when the quotes do not close; that is wrong for the shell, too."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{where}: the command {text!r} is not understood ({error}). Close the quote.") from None
    assignments: dict[str, str] = {}
    while words and (match := _ASSIGNMENT.match(words[0])):
        assignments[match[1]] = match[2]
        words.pop(0)
    if not words:
        raise ConfigError(f"{where}: the command {text!r} names no program. Add one.")
    if _unquoted(text) & (_LISTS | (_EXPANSIONS - {"="})) or words[0] in _SHELL_WORDS:
        return Line(text, assignments, tuple(words), ())
    return Line(text, assignments, tuple(words), tuple(words))


def shell_argv(text: str) -> tuple[str, ...]:
    """`sh -c` for what only a shell understands; with `exec` where that makes the program the leader."""
    marks = _unquoted(text)
    first = text.split(None, 1)[0]
    single = not marks & (_LISTS | {"#"}) and first not in _SHELL_WORDS and not _ASSIGNMENT.match(first)
    return ("/bin/sh", "-c", f"exec {text}" if single else text)


def _unquoted(text: str) -> set[str]:
    """What a POSIX shell would take for syntax: characters outside quotes, and expansions in double quotes."""
    found: set[str] = set()
    quote = ""
    characters = iter(text)
    for character in characters:
        if character == "\\" and quote != "'":
            following = next(characters, "")
            if following == "\n" or (quote and following not in '$`"\\\n'):
                found.add("\n")  # a continued line, or a backslash that shlex and the shell see differently
        elif quote:
            if character == quote:
                quote = ""
            elif quote == '"' and character in "$`":
                found.add(character)
        elif character in "'\"":
            quote = character
        else:
            found.add(character)
    return found & (_LISTS | _EXPANSIONS)
