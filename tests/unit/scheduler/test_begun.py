"""What a killed scheduler had begun, and what it had only claimed."""

from pathlib import Path

import pytest

from whalefall.scheduler.begun import Journal, begun_by, forget, holders
from whalefall.scheduler.estate import Fate, fate
from whalefall.scheduler.ledger.records import Claim

ME = "shop-1/4711/f0000001.3fa2c1"


def journal(directory: Path, still: tuple[tuple[str, int], ...] = ()) -> Journal:
    made = Journal(directory, ME, still=lambda: still)
    made.open()
    return made


def test_what_was_noted_is_read_and_nothing_else(tmp_path: Path) -> None:
    journal(tmp_path).note(("a", 1))
    assert begun_by(tmp_path, ME) == {("a", 1)}
    assert list(holders(tmp_path)) == [ME]


def test_without_a_journal_nothing_is_known(tmp_path: Path) -> None:
    assert begun_by(tmp_path, ME) is None
    made = journal(tmp_path)
    assert begun_by(tmp_path, ME) == frozenset()
    made.close()
    assert begun_by(tmp_path, ME) is None


def test_of_another_boot_nothing_is_known(tmp_path: Path) -> None:
    journal(tmp_path).note(("a", 1))
    (file,) = tmp_path.glob("*.begun")
    file.write_bytes(b"another-boot\n" + file.read_bytes().partition(b"\n")[2])
    assert begun_by(tmp_path, ME) is None


def test_a_long_journal_forgets_what_has_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whalefall.scheduler.begun._LINES_MAX", 3)
    made = journal(tmp_path, still=(("long", 2),))
    for number in range(4):
        made.note((f"quick-{number}", 1))
    assert begun_by(tmp_path, ME) == {("long", 2), ("quick-3", 1)}


def test_forgotten_is_forgotten(tmp_path: Path) -> None:
    journal(tmp_path)
    forget(tmp_path, ME)
    assert list(holders(tmp_path)) == []


@pytest.mark.parametrize(
    ("holder", "expired", "dead", "has_begun", "expected"),
    [
        ("ours", False, False, True, Fate.LEAVE),
        ("ours", True, False, True, Fate.INHERIT),
        ("alive", False, False, True, Fate.LEAVE),
        ("alive", False, False, False, Fate.LEAVE),
        ("gone", False, True, True, Fate.INHERIT),
        ("gone", False, True, False, Fate.GIVE_BACK),
        ("elsewhere", True, False, True, Fate.INHERIT),
    ],
)
def test_what_becomes_of_a_run_that_is_claimed(
    holder: str, expired: bool, dead: bool, has_begun: bool, expected: Fate
) -> None:
    claim = Claim("run", 1, holder, "process", expired)
    assert fate(claim, ours="ours", runner_is_dead=dead, has_begun=has_begun) is expected


def test_a_run_that_nobody_owns_is_ended() -> None:
    assert fate(None, ours="ours", runner_is_dead=False, has_begun=True) is Fate.END
