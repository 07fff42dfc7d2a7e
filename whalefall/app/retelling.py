"""Sentences of rooms that know no language, told in the visitor's: errors, answers of the API, reasons in the ledger.

They are made in English, with names and numbers in them, often by code that serves a terminal too, and some are stored.
So they are recognised on their way out: `sentences.zh_Hans.po` has each with %(name)s where its values stand. What is
not recognised stays as it is. A test reads the sentences out of the code and compares.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from babel.messages.pofile import read_po

from whalefall.app.language import language, translate

_SENTENCES = Path(__file__).with_name("translations") / "sentences.zh_Hans.po"
_VALUE = re.compile(r"%\((\w+)\)s")
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
    with _SENTENCES.open("rb") as file:
        found = [(str(message.id), str(message.string)) for message in read_po(file, locale="zh_Hans") if message.id]
    found.sort(key=lambda pair: len(_VALUE.sub("", pair[0])), reverse=True)
    return tuple(Sentence(english, _pattern(english), chinese) for english, chinese in found)


def _pattern(english: str) -> re.Pattern[str]:
    literal = re.split(r"%\(\w+\)s", english)
    names = _VALUE.findall(english)
    groups = [f"(?P<{name}>.+?)" for name in names] + [""]
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
