"""Which process is what, and what it execs."""

import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whalefall.errors import ConfigError
from whalefall.planner import roles
from whalefall.planner.procfile import Process
from whalefall.planner.roles import Role, check_roles, classify, enable_scheduler, many_refused, plain_nginx

BIN = str(Path(sys.executable).parent)


def role(name: str, command: str, line: int = 1) -> Role:
    return classify(Process(name, command, f"P:{line}"))


OURS = [
    "python -m whalefall web",
    "python3 -m whalefall web",
    "python3.11 -u -m whalefall web",
    "whalefall web",
    f"{BIN}/whalefall web",
    f"{sys.executable} -m whalefall web",
    "A=1 python -m whalefall web",
]


@pytest.mark.parametrize("command", OURS)
def test_our_commands_are_recognised(command: str) -> None:
    found = role("web", command)
    assert (found.role, found.ours, found.app) == ("web", True, "")


def test_our_commands_take_an_application() -> None:
    assert role("web", "python -m whalefall web shop:app").app == "shop:app"


@pytest.mark.parametrize(
    ("name", "command", "expected"),
    [
        ("web", "gunicorn wsgi", "web"),
        ("scheduler", "gunicorn wsgi", "scheduler"),
        ("nginx", "nginx -c own.conf", "nginx"),
        ("proxy", "/usr/sbin/nginx -c own.conf", "nginx"),
        ("worker", "celery worker", ""),
        ("web", "gunicorn -b :$PORT wsgi", "web"),
        ("web", "/opt/other/bin/python -m whalefall web", "web"),
    ],
)
def test_a_plain_command_has_its_role_by_its_name(name: str, command: str, expected: str) -> None:
    found = role(name, command)
    assert (found.role, found.ours) == (expected, False)


@pytest.mark.parametrize(
    ("name", "command", "sentence"),
    [
        ("web", "whalefall web a b", "P:1: 'web a b' is not understood. Write `whalefall web [MODULE:CALLABLE]`."),
        ("web", "whalefall web --port 1", "P:1: 'web --port 1' is not understood."),
        ("nginx", "whalefall nginx x", "Write `whalefall nginx`."),
        ("scheduler", "whalefall web", "P:1: 'scheduler' runs `whalefall web`. Write `whalefall scheduler`."),
        ("web", "whalefall web $APP", "is no command for a shell"),
        ("web", "gunicorn 'x", "Close the quote"),
    ],
)
def test_a_command_that_contradicts_its_name_is_refused(name: str, command: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        role(name, command)
    assert sentence in str(caught.value)


def test_a_second_scheduler_is_refused_with_both_lines() -> None:
    with pytest.raises(ConfigError, match=r"^P:2: 'cron' is a second scheduler besides 'scheduler' \(P:1\)"):
        check_roles([role("scheduler", "whalefall scheduler"), role("cron", "whalefall scheduler", 2)])


@given(st.text("abcxyz", min_size=1))
def test_enable_scheduler_is_true_for_the_scheduler_alone(name: str) -> None:
    assert enable_scheduler(role(name, "prog")) == "false"
    assert enable_scheduler(role("scheduler", "prog")) == "true"


@pytest.mark.parametrize(
    ("name", "word", "fine"),
    [
        ("scheduler", "true", True),
        ("scheduler", "0", False),
        ("web", "off", True),
        ("web", "1", False),
        ("cron", "yes", False),
    ],
)
def test_an_assignment_in_the_line_may_agree_but_not_contradict(name: str, word: str, *, fine: bool) -> None:
    line = role(name, f"ENABLE_SCHEDULER={word} prog")
    if fine:
        check_roles([line])
        return
    with pytest.raises(ConfigError, match=f"^P:1: ENABLE_SCHEDULER={word} contradicts the name '{name}'. Remove it"):
        check_roles([line])


def test_what_can_only_be_one_is_refused_with_the_reason() -> None:
    assert "two schedulers on one host would compete" in many_refused(role("scheduler", "gunicorn x"), 2)
    assert "one Nginx holds the public port" in many_refused(role("nginx", "whalefall nginx"), 2)
    assert many_refused(role("scheduler", "gunicorn x"), 1) == ""
    assert many_refused(role("web", "whalefall web"), 5) == ""


def test_gunicorn_is_given_less_time_than_we_give_it() -> None:
    argv = roles.gunicorn_argv("web", "a:b", "127.0.0.1:1", 6.0)
    assert argv[:4] == (sys.executable, "-m", "gunicorn", "-c")
    assert Path(argv[4]).name == "gunicorn-prod.conf.py"
    assert argv[5:] == ("--bind", "127.0.0.1:1", "--graceful-timeout", "5", "a:b")
    assert [roles.graceful_timeout_s(each) for each in (0.2, 1.0, 1.5, 3.0, 30.0)] == [1, 1, 1, 2, 29]


def test_a_plain_gunicorn_gets_its_own_control_socket_before_the_users_words() -> None:
    line = role("web", "gunicorn wsgi")
    got = roles.gunicorn_cmd_args(line, {"GUNICORN_CMD_ARGS": "--workers 3"}, Path("/r u/web.1.ctl"))
    assert shlex.split(got) == ["--control-socket", "/r u/web.1.ctl", "--workers", "3"]


@pytest.mark.parametrize("chosen", ["--control-socket /x", "--no-control-socket", "--control-socket=/x"])
def test_a_control_socket_that_the_user_chose_is_kept(chosen: str) -> None:
    assert roles.gunicorn_cmd_args(role("web", "gunicorn wsgi"), {"GUNICORN_CMD_ARGS": chosen}, Path("/r")) == chosen
    assert roles.gunicorn_cmd_args(role("web", f"gunicorn {chosen} wsgi"), {}, Path("/r")) == ""


def test_only_the_gunicorn_of_our_environment_is_known_to_have_the_option() -> None:
    environ = {"PATH": f"{BIN}:/usr/bin"}
    assert roles.is_our_gunicorn(role("web", "gunicorn wsgi"), environ)
    assert roles.is_our_gunicorn(role("web", "python -m gunicorn wsgi"), environ)
    assert roles.is_our_gunicorn(role("web", "gunicorn -b :$PORT wsgi"), environ)
    assert not roles.is_our_gunicorn(role("web", "gunicorn wsgi"), {"PATH": "/usr/bin"})
    assert not roles.is_our_gunicorn(role("web", "/opt/x/gunicorn wsgi"), environ)
    assert not roles.is_our_gunicorn(role("web", "waitress-serve wsgi"), environ)


def test_a_plain_nginx_stays_in_the_foreground_and_finds_its_file(tmp_path: Path) -> None:
    (tmp_path / "own.conf").write_text("events {}\n")
    argv, notes = plain_nginx(role("nginx", "nginx -c own.conf"), tmp_path)
    assert argv == ("nginx", "-c", str(tmp_path / "own.conf"), "-g", "daemon off;")
    assert len(notes) == 2


def test_a_second_g_would_replace_the_first_so_there_is_only_one(tmp_path: Path) -> None:
    argv, _ = plain_nginx(role("nginx", "nginx -g 'pid x;'"), tmp_path)
    assert argv == ("nginx", "-g", "pid x; daemon off;")


@pytest.mark.parametrize(
    ("command", "content"),
    [("nginx -c /abs.conf -g 'daemon off;'", ""), ("nginx -p . -c own.conf", "daemon  off ;\nevents {}")],
)
def test_a_plain_nginx_that_says_so_itself_is_left_alone(tmp_path: Path, command: str, content: str) -> None:
    (tmp_path / "own.conf").write_text(content)
    argv, notes = plain_nginx(role("nginx", command), tmp_path)
    assert (argv, notes) == (tuple(shlex.split(command)), ())


def test_a_comment_in_its_file_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "own.conf").write_text("# daemon off;\nevents {}")
    assert plain_nginx(role("nginx", "nginx -c own.conf"), tmp_path)[0][-1] == "daemon off;"


def test_a_nginx_that_wants_to_be_a_daemon_is_refused(tmp_path: Path) -> None:
    (tmp_path / "own.conf").write_text("daemon on;")
    with pytest.raises(ConfigError, match=r"^P:1: 'daemon on;'"):
        plain_nginx(role("nginx", "nginx -c own.conf"), tmp_path)


def test_web_is_found_by_the_runners_counting() -> None:
    names = ["nginx", "web", "scheduler"]
    assert roles.web_behind_procfile(names, "nginx", 5000) == 5100
    assert roles.web_behind_procfile(["web", "nginx"], "nginx", 5100) == 5000
    assert roles.web_behind_procfile(["nginx"], "nginx", 5000) is None
