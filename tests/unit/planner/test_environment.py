"""Who wins, who said it, and what may be shown."""

from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.errors import ConfigError
from whalefall.planner.dotenv import parse
from whalefall.planner.environment import MASK, Variable, load_settings, masked, masked_argv, merge, plain
from whalefall.settings import table


def test_the_real_environment_wins_over_dotenv() -> None:
    merged = merge({"A": "real", "C": "3"}, parse("A=file\nB=2", ".env", {}))
    assert merged == {
        "A": Variable("real", "environment"),
        "B": Variable("2", ".env:2"),
        "C": Variable("3", "environment"),
    }


def test_a_setting_that_is_set_but_empty_counts_as_not_set() -> None:
    merged = merge({"PORT": "", "OTHER": ""}, parse("PORT=6000\nOTHER=x", ".env", {}))
    assert plain(merged) == {"PORT": "6000", "OTHER": ""}


def test_an_empty_nginx_binary_says_something() -> None:
    assert plain(merge({"NGINX_BINARY": ""}, parse("NGINX_BINARY=nginx", ".env", {}))) == {"NGINX_BINARY": ""}


def test_what_our_own_parent_gave_us_is_not_passed_on() -> None:
    given_to_us = {"LISTEN_FDS": "1", "LISTEN_PID": "2", "NOTIFY_SOCKET": "@x", "NGINX": "3;", "PS": "a.1", "KEEP": "1"}
    assert plain(merge(given_to_us, parse("LISTEN_FDS=9", ".env", {}))) == {"KEEP": "1"}


@pytest.mark.parametrize(
    ("dotenv", "environ", "sentence"),
    [
        ("A=1\n\nPORT=x", {}, ".env:3: PORT: 'x' is not understood"),
        ("A=1\n\nPORT=5001", {"PORT": "x"}, "PORT: 'x' is not understood"),
        ("LOG_FORMAT='GRACE'\nGRACE=9", {}, ".env:1: LOG_FORMAT: 'GRACE' is not understood"),
        ("LOG_FORMAT=1\nNGINX_BINARY=", {"LOG_FORMAT": "x"}, "LOG_FORMAT: 'x' is not understood"),
        ("A=1\nTLS_KEY=k", {}, ".env:2: TLS_CERTIFICATE and TLS_KEY belong together"),
        ("A=1\nGRACE=4", {"DRAIN_DELAY": "5"}, "DRAIN_DELAY=5 leaves nothing of GRACE=4"),
        ("A=1\nDRAIN_DELAY=9", {}, ".env:2: DRAIN_DELAY=9 leaves nothing of GRACE=9"),
    ],
)
def test_a_bad_setting_says_where_it_was_written(dotenv: str, environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(merge(environ, parse(dotenv, ".env", {})))
    assert str(caught.value).startswith(sentence)


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
