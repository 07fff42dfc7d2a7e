"""ENABLE_SCHEDULER decides whether a process runs the scheduler, so every spelling of it is pinned down."""

import pytest

from whalefall.errors import ConfigError
from whalefall.settings import Settings


def test_false_turns_the_scheduler_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_SCHEDULER", "false")
    assert Settings.load().enable_scheduler is False


def test_true_turns_the_scheduler_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_SCHEDULER", "true")
    assert Settings.load().enable_scheduler is True


@pytest.mark.parametrize("word", ["true", "1", "yes", "on", "True", "YES", " on "])
def test_words_for_true(word: str) -> None:
    assert Settings.load({"ENABLE_SCHEDULER": word}).enable_scheduler is True


@pytest.mark.parametrize("word", ["false", "0", "no", "off", "False", "NO", " off "])
def test_words_for_false(word: str) -> None:
    assert Settings.load({"ENABLE_SCHEDULER": word}).enable_scheduler is False


@pytest.mark.parametrize("environ", [{}, {"ENABLE_SCHEDULER": ""}])
def test_not_set_means_true(environ: dict[str, str]) -> None:
    assert Settings.load(environ).enable_scheduler is True


@pytest.mark.parametrize("word", ["flase", "2", "nope", "enabled"])
def test_anything_else_is_an_error_that_names_the_variable(word: str) -> None:
    with pytest.raises(ConfigError, match=r"ENABLE_SCHEDULER: .*true.*false") as caught:
        Settings.load({"ENABLE_SCHEDULER": word})
    assert caught.value.exit_code == 2
    assert word in str(caught.value)
