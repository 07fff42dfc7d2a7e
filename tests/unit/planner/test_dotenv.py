"""`.env` in the syntax that people write; what cannot be read is an error with its line."""

import string

import pytest
from honcho.environ import parse as honcho_parse
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.planner.scene import attempt
from whalefall.errors import ConfigError
from whalefall.planner.dotenv import parse, read
from whalefall.planner.environment import Variable, plain

READ = {
    "plain": ("A=1", {"A": "1"}),
    "blanks and words": ("A = two words ", {"A": "two words"}),
    "export": ("export A=1", {"A": "1"}),
    "comment lines": ("# c\n\nA=1 # behind\nB=a#b", {"A": "1", "B": "a#b"}),
    "empty": ("A=\nB=''\nC=\"\"", {"A": "", "B": "", "C": ""}),
    "single quotes are literal": (r"A='x ${HOME} \n # y'", {"A": r"x ${HOME} \n # y"}),
    "double quotes escape": ('A="a\\nb\\t\\"c\\""', {"A": 'a\nb\t"c"'}),
    "several lines in quotes": ('A="one\ntwo"\nB=3', {"A": "one\ntwo", "B": "3"}),
    "a later line wins": ("A=1\nA=2", {"A": "2"}),
    "an earlier line is known": ("A=1\nB=${A}2\nC=$A-$B", {"A": "1", "B": "12", "C": "1-12"}),
    "the environment is known": ("B=${HOME}/x", {"B": "/h/x"}),
    "the environment wins": ("HOME=/other\nB=$HOME", {"HOME": "/other", "B": "/h"}),
    "defaults": ("A=${NOPE:-fallback}\nB=${EMPTY:-f}\nC=${HOME:-f}", {"A": "fallback", "B": "f", "C": "/h"}),
    "unset in braces is empty": ("A=x${NOPE}y", {"A": "xy"}),
    "unset without braces stays": ("A=pa$word", {"A": "pa$word"}),
    "an escaped dollar": ('A=\\$HOME\nB="\\$HOME"\nC=5$', {"A": "$HOME", "B": "$HOME", "C": "5$"}),
    "a URL": ("A=postgresql://u:p@h:5432/db?x=1&y=2", {"A": "postgresql://u:p@h:5432/db?x=1&y=2"}),
    "windows line ends": ("A=1\r\nB=2\r\n", {"A": "1", "B": "2"}),
    "equals signs": ("A=b=c==", {"A": "b=c=="}),
    "beyond ASCII": ("A=日本 é", {"A": "日本 é"}),
    "nothing": ("", {}),
}


@pytest.mark.parametrize(("content", "values"), READ.values(), ids=READ)
def test_reads(content: str, values: dict[str, str]) -> None:
    assert plain(parse(content, ".env", {"HOME": "/h", "EMPTY": ""})) == values


WRONG = {
    "no equals sign": ("A=1\nB", ".env:2: B has no value. Write B=value"),
    "only export": ("export A", ".env:1: A has no value."),
    "an open quote": ('A=1\n\n\nB="x', '.env:4: the value of B opens with " and never closes.'),
    "an open single quote": ("A='x", ".env:1: the value of A opens with ' and never closes."),
    "text behind the quote": ('A="x"y', ".env:1: something stands behind the closing quote of A."),
    "a bad name": ("1A=x", ".env:1: '1A' is no name of a variable."),
    "a name with a dash": ("A-B=x", ".env:1: 'A-B' is no name of a variable."),
    "no name": ("=x", ".env:1: this is no KEY=value."),
    "a broken reference": ("A=${B", ".env:1: '${B' is no variable."),
    "a reference with an operator": ("A=${B:?x}", ".env:1: '${B:?x}' is no variable."),
    "a NUL": ("A=a\0b", ".env:1: A holds a NUL byte"),
}


@pytest.mark.parametrize(("content", "sentence"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_read_is_an_error_with_its_line(content: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(content, ".env", {})
    assert str(caught.value).startswith(sentence)


def test_a_file_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"^my\.env: cannot be read \(No such file or directory\)\. .*--env"):
        read(tmp_path / "my.env", "my.env", {})
    (tmp_path / "x").write_bytes(b"A=1\nB=\xff")
    with pytest.raises(ConfigError, match=r"^x:2: byte 0xff is not UTF-8"):
        read(tmp_path / "x", "x", {})


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path) -> None:
    (tmp_path / ".env").write_bytes(b"\xef\xbb\xbfA=1\r\n")
    assert read(tmp_path / ".env", ".env", {}) == {"A": Variable("1", ".env:1")}


def test_each_variable_knows_its_line() -> None:
    found = parse('# c\n\nA=1\nB="one\ntwo"\n\nexport C=3\nA=2\n', "x/.env", {})
    assert [(name, each.source) for name, each in found.items()] == [
        ("A", "x/.env:8"),
        ("B", "x/.env:4"),
        ("C", "x/.env:7"),
    ]


@given(st.text(max_size=200))
def test_any_text_is_answered_by_values_or_by_a_sentence_with_a_line(content: str) -> None:
    values, sentence = attempt(lambda: parse(content, "E", {"HOME": "/h"}))
    if values is None:
        assert sentence.startswith("E:")
        assert "\n" not in sentence
        return
    assert all(key.isidentifier() and "\0" not in value for key, value in plain(values).items())


KEYS = st.from_regex(r"\A[A-Z_][A-Z0-9_]{0,6}\Z")
PRINTABLE = st.text(string.ascii_letters + string.digits + ' !#%&()*+,-./:;<=>?@[]^_`{|}~"é', max_size=20)


@given(st.dictionaries(KEYS, PRINTABLE, max_size=5))
def test_what_single_quotes_hold_comes_back_as_it_is(values: dict[str, str]) -> None:
    content = "\n".join(f"{key}='{value}'" for key, value in values.items())
    assert plain(parse(content, "E", {})) == values


@given(st.dictionaries(KEYS, st.text(string.ascii_letters + string.digits + "_./:@%+,-", min_size=1), max_size=5))
def test_simple_values_mean_the_same_to_honcho(values: dict[str, str]) -> None:
    content = "\n".join(f"{key}={value}" for key, value in values.items())
    assert plain(parse(content, "E", {})) == honcho_parse(content) == values
