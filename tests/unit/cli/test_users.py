"""`whalefall users`: the database is real, a file of the test's own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.supervised import ROOT

Users = Callable[..., subprocess.CompletedProcess[str]]
PASSWORD = "a long enough one\n"


@pytest.fixture
def users(tmp_path: Path) -> Users:
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "DATA_DIR": "kept"}

    def run(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "whalefall", "users", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=environ, input=typed, capture_output=True, text=True, timeout=60, check=False
        )

    return run


def test_users_are_added_listed_and_get_a_new_password(users: Users, tmp_path: Path) -> None:
    assert "no user yet" in users("list").stdout
    assert users("add", "ahab", "--role", "admin", typed=PASSWORD).stdout == "ahab may log in, with the role admin\n"
    assert users("add", "ishmael", typed=PASSWORD).stdout == "ishmael may log in, with the role view\n"
    assert users("passwd", "ishmael", typed="another long one\n").returncode == 0
    lines = users("list").stdout.splitlines()
    assert [line.split()[:2] for line in lines] == [["ahab", "admin"], ["ishmael", "view"]]
    assert (tmp_path / "kept" / "whalefall.db").exists()


def test_the_link_for_the_first_administrator_is_printed_until_there_is_one(users: Users) -> None:
    link = users("setup-link").stdout
    assert link.startswith("http://localhost:5000/setup/")
    assert users("setup-link").stdout != link
    users("add", "ahab", "--role", "admin", typed=PASSWORD)
    assert users("setup-link").returncode == 2


def test_the_first_user_is_an_administrator_unless_a_role_is_given(users: Users) -> None:
    assert users("add", "ahab", typed=PASSWORD).stdout == (
        "ahab may log in, with the role admin (the first user is an administrator; for others the default is view)\n"
    )
    assert users("add", "ishmael", typed=PASSWORD).stdout == "ishmael may log in, with the role view\n"


def test_while_nobody_is_an_administrator_the_next_one_becomes_it_and_the_link_is_offered(users: Users) -> None:
    assert users("add", "ishmael", "--role", "view", typed=PASSWORD).stdout == (
        "ishmael may log in, with the role view; nobody is an administrator yet. "
        "Add one: whalefall users add NAME --role admin\n"
    )
    assert users("setup-link").stdout.startswith("http://localhost:5000/setup/")
    assert "with the role admin" in users("add", "ahab", typed=PASSWORD).stdout
    assert "There is an administrator already" in users("setup-link").stderr


def test_a_name_is_judged_before_anybody_types_a_password(users: Users) -> None:
    assert users("passwd", "ahab").stderr == "whalefall: There is no user 'ahab'. Add one: whalefall users add ahab\n"
    users("add", "Ahab", typed=PASSWORD)
    assert users("passwd", "ahba").stderr == "whalefall: There is no user 'ahba'. Did you mean 'ahab'?\n"
    assert users("add", "ahab").stderr == (
        "whalefall: There is already a user 'ahab'. A new password: whalefall users passwd ahab\n"
    )
    assert users("passwd", " AHAB ", typed=PASSWORD).returncode == 0


@pytest.mark.parametrize(
    ("words", "typed", "sentence"),
    [
        (("add",), "", "the following arguments are required: NAME. See: whalefall users add --help"),
        (("list", "ahab"), "", "whalefall users list has no argument 'ahab'"),
        (("add", "ahab"), "short\n", "The password is too short"),
        (("passwd", "nobody"), PASSWORD, "nobody"),
        (("ad", "ahab"), PASSWORD, "whalefall users has no verb 'ad', did you mean 'add'?"),
    ],
)
def test_what_will_not_do_is_a_sentence_and_exit_code_2(
    users: Users, words: tuple[str, ...], typed: str, sentence: str
) -> None:
    done = users(*words, typed=typed)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_setting_that_will_not_do_is_told_with_its_line(users: Users, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\nDATABASE_URL=mysql://shop\n")
    done = users("list")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("whalefall: .env:2: DATABASE_URL: the ledger lives in SQLite or PostgreSQL")
