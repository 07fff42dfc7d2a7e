"""A command line is exec'd as it is wherever a shell would do nothing else; a real shell is the judge."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whalefall.errors import ConfigError
from whalefall.planner.commands import shell_argv, take_apart

EXECUTED = {
    "plain words": ("gunicorn -w 2 wsgi:app", ("gunicorn", "-w", "2", "wsgi:app")),
    "quotes": ("""prog 'a b' "c d" e\\ f""", ("prog", "a b", "c d", "e f")),
    "syntax in quotes is text": ("""prog 'a|b' "x;y" 'cost $5'""", ("prog", "a|b", "x;y", "cost $5")),
    "an option with =": ("prog --bind=1.2.3.4:80", ("prog", "--bind=1.2.3.4:80")),
}


@pytest.mark.parametrize(("line", "argv"), EXECUTED.values(), ids=EXECUTED)
def test_a_simple_command_needs_no_shell(line: str, argv: tuple[str, ...]) -> None:
    assert take_apart(line, "P:1").argv == argv


def test_assignments_in_front_become_variables() -> None:
    line = take_apart("A=1 B='x y' prog C=3", "P:1")
    assert line.assignments == {"A": "1", "B": "x y"}
    assert line.argv == ("prog", "C=3")
    assert line.program == "prog"


@pytest.mark.parametrize(
    "line",
    [
        "a | b",
        "a && b",
        "a; b",
        "a > f",
        "a $PORT",
        'a "$PORT"',
        "a `b`",
        "a *",
        "a ?",
        "a [x]",
        "a ~",
        "a #c",
        "a {1,2}",
        "cd /x",
        "exec a",
        ". ./env",
        "if a",
        "a &",
        "(a)",
        "A=$B c",
    ],
)
def test_shell_syntax_keeps_its_shell(line: str) -> None:
    assert take_apart(line, "P:1").argv == ()


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("gunicorn -b :$PORT app", "exec gunicorn -b :$PORT app"),
        ("a *.txt", "exec a *.txt"),
        ("cd x && a", "cd x && a"),
        ("a | b", "a | b"),
        ("cd x", "cd x"),
        ("A=$B c", "A=$B c"),
        ("exec a $B", "exec a $B"),
        ("a # b", "a # b"),
    ],
)
def test_a_single_command_replaces_its_shell(line: str, argv: str) -> None:
    assert shell_argv(line) == ("/bin/sh", "-c", argv)


@pytest.mark.parametrize("line", ["a 'b", 'a "b', "a \\"])
def test_an_open_quote_is_an_error_with_its_line(line: str) -> None:
    with pytest.raises(ConfigError, match=r"^P:7: the command .* Close the quote"):
        take_apart(line, "P:7")


def test_assignments_alone_are_no_command() -> None:
    with pytest.raises(ConfigError, match="names no program"):
        take_apart("A=1", "P:1")


def test_the_program_is_known_even_when_a_shell_reads_the_words() -> None:
    assert take_apart("/usr/bin/gunicorn -b :$PORT app", "P:1").program == "gunicorn"


PRINT = [sys.executable, "-c", "import sys; print('\\0'.join(sys.argv[1:]), end='\\0')"]
WORDS = st.lists(st.text("ab =$'\"\\|;*?#~{}[]()<>&!`\t/", min_size=1, max_size=8), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(WORDS.map(" ".join))
def test_an_argv_is_what_the_shell_would_have_made(tail: str) -> None:
    """`prog TAIL`: when we say that no shell is needed, sh must agree on every word."""
    try:
        line = take_apart(f"prog {tail}", "P:1")
    except ConfigError:
        return
    if not line.argv:
        return
    done = subprocess.run(
        ["/bin/sh", "-c", f'prog() {{ "$PRINTER" -c "$CODE" "$@"; }}\nprog {tail}'],
        env={"PRINTER": sys.executable, "CODE": PRINT[2], "HOME": "/nowhere"},
        capture_output=True,
        check=True,
        cwd="/usr",
    )
    assert done.stdout.decode() == "".join(f"{word}\0" for word in line.argv[1:]) or line.argv == ("prog",)
