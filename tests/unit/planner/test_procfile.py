"""Every line of a Procfile is a process, blank, a comment, or an error with its line; never silence."""

import pytest
from honcho.environ import parse_procfile
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.planner.scene import attempt
from whalefall.errors import ConfigError
from whalefall.planner.procfile import decode, parse, problems, text


def test_processes_come_in_the_files_order_with_their_lines() -> None:
    found = parse(
        "# front first\nnginx: python -m whalefall nginx\n\nweb:gunicorn wsgi\nworker-2:  sleep 1  \n", "Procfile"
    )
    assert [(p.name, p.command, p.where) for p in found] == [
        ("nginx", "python -m whalefall nginx", "Procfile:2"),
        ("web", "gunicorn wsgi", "Procfile:4"),
        ("worker-2", "sleep 1", "Procfile:5"),
    ]


WRONG = {
    "no colon": ("web gunicorn wsgi", "P:1: 'web gunicorn wsgi' has no colon. Write `name: command`"),
    "a bad name": ("we b: x", "P:1: 'we b' is no name of a process."),
    "a colon missing": (
        "web whalefall web clock:app",
        "P:1: 'web whalefall web clock:app' has no colon behind 'web'. Write `web: whalefall web clock:app`.",
    ),
    "a name with a dot": ("web.1: x", "P:1: 'web.1' is no name of a process."),
    "an empty name": (": x", "P:1: '' is no name of a process."),
    "indented": ("web: x\n  worker: y", "P:2: '  worker: y' starts with a space"),
    "no command": ("web:", "P:1: 'web' has no command."),
    "only blanks as a command": ("web:    ", "P:1: 'web' has no command."),
    "twice": ("web: x\n\nweb: y", "P:3: 'web' is already defined on line 1. Rename one of them."),
    "empty": ("", "P: there is no process in it."),
    "only comments": ("# nothing\n\n", "P: there is no process in it."),
    "a NUL": ("web: a\0b", "P:1: the command of 'web' holds a NUL byte."),
    "a very long line": ("x" * 500, "P:1: '" + "x" * 57 + "...' has no colon"),
}


@pytest.mark.parametrize(("content", "sentence"), WRONG.values(), ids=WRONG)
def test_what_honcho_skips_is_an_error_with_its_line(content: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(content, "P")
    assert str(caught.value).startswith(sentence)
    assert caught.value.exit_code == 2


def test_all_problems_are_told_in_order() -> None:
    assert [each.partition(": ")[0] for each in problems("wat\nweb: x\nweb: y\n: z", "P")] == ["P:1", "P:3", "P:4"]


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert parse(decode("\ufeffweb: x".encode(), "P"), "P")[0].name == "web"


def test_a_byte_that_is_no_text_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^P:2: byte 0xff is not UTF-8"):
        decode(b"web: x\nworker: \xff", "P")
    with pytest.raises(ConfigError, match=r"^P:2: byte 0xff is not UTF-8"):
        decode(b"\xef\xbb\xbf#\n\xff", "P")


def test_a_file_that_is_not_there_or_not_a_file(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"there is no such Procfile\. Create it, or name another by -f\."):
        text(tmp_path / "Procfile")
    with pytest.raises(ConfigError, match="cannot be read"):
        text(tmp_path)
    (tmp_path / "big").write_bytes(b"#" * 1_100_000)
    with pytest.raises(ConfigError, match="is larger than"):
        text(tmp_path / "big")


NAMES = st.text("abz09_- .:#", max_size=8)
LINES = st.one_of(
    st.builds("{}:{}{}".format, NAMES, st.sampled_from(["", " ", "\t"]), st.text("abz $'\"#\\|", max_size=12)),
    st.text(max_size=20),
)


@given(st.lists(LINES, max_size=8).map("\n".join))
def test_whatever_is_accepted_is_what_honcho_understands(content: str) -> None:
    ours, sentence = attempt(lambda: parse(content, "P"))
    if ours is None:
        assert sentence.startswith("P:")
        return
    theirs = parse_procfile(content).processes
    assert [(p.name, p.command) for p in ours] == [(name, command.strip()) for name, command in theirs.items()]
    meant = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(ours) == len(meant)


@given(st.text(max_size=200))
def test_any_text_is_answered_by_processes_or_by_a_sentence(content: str) -> None:
    found, sentence = attempt(lambda: parse(content, "P"))
    assert found or sentence
    assert "\n" not in sentence
