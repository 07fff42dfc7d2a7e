"""Every sentence of the pages has its Chinese, with the same values in it, and nothing is translated for nobody."""

import re
from pathlib import Path

from babel.messages.extract import extract

import whalefall.app
from whalefall.app.language import catalogue
from whalefall.app.roles import ROLE_NAMES
from whalefall.scheduler.core.runs import RunState, Source

ROOT = Path(whalefall.app.__file__).parent
STATES = ["waiting", "starting", "ready", "stopping", "stopped", "backoff", "failed", "finished", "running"]
SOURCES = ["code", "edited", "added", "broken", "retired"]
NOTICES = ["missed", "slow", "recovered", "summary", "webhook", "mail", "pending", "suppressed", "sending", "sent"]
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


def said() -> set[str]:
    """What templates and pages say literally, and the words that they say by a variable."""
    found: set[str] = set()
    for path in ROOT.glob("templates/whalefall/*.html"):
        with path.open("rb") as file:
            found |= {item[1] for item in extract("jinja2.ext:babel_extract", file, keywords={"_": None})}
    for path in ROOT.rglob("*.py"):
        with path.open("rb") as file:
            found |= {item[1] for item in extract("python", file, keywords={"translate": None})}
    variable = [
        *RunState,
        *Source,
        *STATES,
        *SOURCES,
        *ROLE_NAMES,
        *WEEKDAYS,
        *NOTICES,
        "none",
        "ms",
        "s",
        "min",
        "h",
        "d",
    ]
    return found | {str(word).replace("_", " ") for word in variable}


def test_every_sentence_is_translated_and_every_translation_is_said() -> None:
    assert set(catalogue()) == said()


def test_a_translation_keeps_the_values() -> None:
    values = re.compile(r"%\(\w+\)s")
    for english, chinese in catalogue().items():
        assert set(values.findall(english)) == set(values.findall(chinese)), english
