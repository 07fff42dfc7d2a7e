"""Who wins, who said it, and what may be shown."""

from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.errors import ConfigError
from whalefall.planner.environment import MASK, Variable, load_settings, masked, masked_argv, merge, plain
from whalefall.settings import table


def test_the_real_environment_wins_over_dotenv() -> None:
    merged = merge({"A": "real", "C": "3"}, {"A": "file", "B": "2"}, ".env")
    assert merged == {
        "A": Variable("real", "environment"),
        "B": Variable("2", ".env"),
        "C": Variable("3", "environment"),
    }


def test_a_setting_that_is_set_but_empty_counts_as_not_set() -> None:
    merged = merge({"PORT": "", "OTHER": ""}, {"PORT": "6000", "OTHER": "x"}, ".env")
    assert plain(merged) == {"PORT": "6000", "OTHER": ""}


def test_an_empty_nginx_binary_says_something() -> None:
    assert plain(merge({"NGINX_BINARY": ""}, {"NGINX_BINARY": "nginx"}, ".env")) == {"NGINX_BINARY": ""}


def test_what_our_own_parent_gave_us_is_not_passed_on() -> None:
    given_to_us = {"LISTEN_FDS": "1", "LISTEN_PID": "2", "NOTIFY_SOCKET": "@x", "NGINX": "3;", "PS": "a.1", "KEEP": "1"}
    assert plain(merge(given_to_us, {"LISTEN_FDS": "9"}, ".env")) == {"KEEP": "1"}


def test_a_bad_setting_says_where_it_was_written() -> None:
    with pytest.raises(ConfigError, match=r"^\.env: PORT: 'x' is not understood"):
        load_settings(merge({}, {"PORT": "x"}, ".env"))
    with pytest.raises(ConfigError, match=r"^PORT: 'x' is not understood"):
        load_settings(merge({"PORT": "x"}, {}, ".env"))


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("SECRET_KEY", "abc", MASK),
        ("MY_API_TOKEN", "abc", MASK),
        ("aws_secret_access_key", "abc", MASK),
        ("SENTRY_DSN", "https://abc@sentry.io/1", MASK),
        ("WHALEFALL_ADMIN_PASSWORD", "abc", MASK),
        ("DATABASE_URL", "postgresql://u:p@h/d", f"postgresql://u:{MASK}@h/d"),
        ("DATABASE_URL", "postgresql://u:p/@x@h/d", f"postgresql://u:{MASK}@h/d"),
        ("DATABASE_URL", "postgresql://h/d?password=p", f"postgresql://h/d?{MASK}"),
        ("DATABASE_URL", "sqlite:///x.db", "sqlite:///x.db"),
        ("SCHEDULER_LOCK", "redis://:p@h", f"redis://:{MASK}@h"),
        ("SCHEDULER_LOCK", "redis://h:6379/0", "redis://h:6379/0"),
        ("SCHEDULER_LOCK", "redis://h/0?password=p", f"redis://h/0?{MASK}"),
        ("SCHEDULER_LOCK", "sql", "sql"),
        ("SCHEDULER_LOCK", "postgres-advisory", "postgres-advisory"),
        ("SCHEDULER_LOCK", ":p@h:6379", MASK),
        ("NOTIFY_WEBHOOK_URL", "https://hooks.example/T1/B2/abc?x=y", f"https://hooks.example/{MASK}"),
        ("SMTP_URL", "smtp://u:p@h:587?starttls", f"smtp://u:{MASK}@h:587?{MASK}"),
        ("ANYTHING", "amqp://u:p@h//", f"amqp://u:{MASK}@h//"),
        ("TLS_KEY", "/etc/key.pem", "/etc/key.pem"),
        ("PATH", "/bin", "/bin"),
        ("SECRET_KEY", "", ""),
    ],
)
def test_secrets_are_masked(name: str, value: str, shown: str) -> None:
    assert masked(name, value) == shown


@given(st.sampled_from([row["variable"] for row in table() if row["secret"]]), st.text(min_size=8))
def test_no_secret_setting_is_ever_shown(name: str, value: str) -> None:
    is_a_way_to_lock = name == "SCHEDULER_LOCK" and not value.replace("-", "").strip(ascii_lowercase)
    if "://" not in value and value != MASK and not is_a_way_to_lock:
        assert value not in masked(name, value)


@given(st.text("abcXYZ019/@:%?#&=+!", min_size=3, max_size=20), st.sampled_from(["X", "DATABASE_URL", "CELERY_BROKER"]))
def test_no_password_in_a_url_is_ever_shown(password: str, name: str) -> None:
    assert f":{password}@" not in masked(name, f"redis://user:{password}@host/0")


def test_words_of_a_command_are_masked_too() -> None:
    assert masked_argv(["prog", "--token=abc", "--port=80", "redis://u:p@h"]) == [
        "prog",
        f"--token={MASK}",
        "--port=80",
        f"redis://u:{MASK}@h",
    ]
