"""Sentences of rooms that know no language, told in the visitor's: errors, answers of the API, reasons in the ledger.

They are made in English, with names and numbers in them, often by code that serves a terminal too, and some are stored.
So they are recognised on their way out: `sentences.zh_Hans.po`, and `supervisor.zh_Hans.po` for what PID 1 says, have
each with %(name)s where its values stand. What is not recognised stays as it is. Tests read the sentences out of the
code and compare.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from babel.messages.pofile import read_po

from whalefall.app.language import language, translate

_TRANSLATIONS = Path(__file__).with_name("translations")
_FILES = ("sentences.zh_Hans.po", "supervisor.zh_Hans.po")
_VALUE = re.compile(r"%\((\w+)\)s")
_NUMBER = r"[\d.e+-]+"
_WORDS = ("state", "role")  # values of these names are words of the pages
_LENGTH_MAX = 2_000  # a traceback is no sentence


@dataclass(frozen=True, slots=True)
class Sentence:
    """An English sentence as a pattern, and the Chinese one that takes its values."""

    english: str
    pattern: re.Pattern[str]
    chinese: str


@cache
def sentences() -> tuple[Sentence, ...]:
    """The ones that say most literally first, so that a general one does not swallow a particular one."""
    found = [pair for name in _FILES for pair in told_in(name)]
    found.sort(key=lambda pair: len(_VALUE.sub("", pair[0])), reverse=True)
    return tuple(Sentence(english, _pattern(english), chinese) for english, chinese in found)


def told_in(name: str) -> list[tuple[str, str]]:
    """English and Chinese of one file."""
    with (_TRANSLATIONS / name).open("rb") as file:
        return [(str(message.id), str(message.string)) for message in read_po(file, locale="zh_Hans") if message.id]


def _pattern(english: str) -> re.Pattern[str]:
    """A value is anything; seconds are a number, which tells the end of a sentence from a sentence inside it."""
    literal = re.split(r"%\(\w+\)s", english)
    names = _VALUE.findall(english)
    groups = [f"(?P<{name}>{_NUMBER if name.endswith('_s') else '.+?'})" for name in names] + [""]
    return re.compile("".join(re.escape(text) + group for text, group in zip(literal, groups, strict=True)), re.DOTALL)


def retold(text: str | None) -> str:
    """`text` in the visitor's language, if it is a sentence that we know."""
    if not text or len(text) > _LENGTH_MAX or language() == "en":
        return text or ""
    for sentence in sentences():
        if match := sentence.pattern.fullmatch(text):
            values = match.groupdict()
            return sentence.chinese % {name: _value(name, value) for name, value in values.items()}
    return text


def _value(name: str, value: str) -> str:
    """Some values are words, and some are sentences themselves."""
    return translate(value.replace("_", " ")) if name in _WORDS else retold(value)
