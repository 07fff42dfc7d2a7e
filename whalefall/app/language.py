"""English or Simplified Chinese, whichever the browser would rather read; the catalogue is a plain .po file.

Babel reads the file and knows the plural rules. Flask-Babel would be shorter, but it owns the locale of the whole
application, and this may be somebody else's.
"""

from functools import cache
from pathlib import Path

from babel.messages.pofile import read_po
from flask import g, has_request_context, request

LANGUAGES = ("en", "zh-Hans")
_CHINESE = ("zh-Hans", "zh-CN", "zh-SG", "zh")  # what browsers set to Simplified Chinese send
_OFFERED = ("en", *_CHINESE)
_CATALOGUE = Path(__file__).with_name("translations") / "zh_Hans.po"


@cache
def catalogue() -> dict[str, str]:
    """English to Chinese; a message without a translation is shown in English."""
    with _CATALOGUE.open("rb") as file:
        found = read_po(file, locale="zh_Hans")
    return {str(message.id): str(message.string) for message in found if message.id and message.string}


def language() -> str:
    """The language of this request's answer."""
    if not has_request_context():
        return "en"  # a log, a test, a thread of ours
    if "whalefall_language" not in g:
        best = request.accept_languages.best_match(_OFFERED, "en")
        g.whalefall_language = "zh-Hans" if best in _CHINESE else "en"
    chosen: str = g.whalefall_language
    return chosen


def translate(message: str, **values: object) -> str:
    """`message` in the visitor's language, its %(name)s filled in. Not escaped: Jinja escapes what it prints."""
    text = catalogue().get(message, message) if language() == "zh-Hans" else message
    return text % values if values else text
