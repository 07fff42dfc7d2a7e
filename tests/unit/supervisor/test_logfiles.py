"""Log files: bounded, in order, and never a reason to fail."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from whalefall.supervisor.edge.logfiles import FILES_KEPT, LogFiles


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_lines_are_kept_in_order_over_rotations_and_the_whole_is_bounded(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path), bytes_max=1_000)
    for number in range(2_000):
        assert logs.write("web.1", b"line %06d\n" % number) == ""
    files = sorted(tmp_path.iterdir(), key=lambda file: file.stat().st_mtime_ns)
    assert len(files) == FILES_KEPT + 1
    assert all(file.stat().st_size < 1_100 for file in files)
    names = [f"web.1.log.{number}" for number in range(FILES_KEPT, 0, -1)] + ["web.1.log"]
    kept = b"".join((tmp_path / name).read_bytes() for name in names).splitlines()
    assert kept == [b"line %06d" % number for number in range(2_000 - len(kept), 2_000)]


def test_an_existing_file_is_continued(tmp_path: Path) -> None:
    LogFiles(str(tmp_path)).write("web.1", b"before\n")
    LogFiles(str(tmp_path)).write("web.1", b"after\n")
    assert (tmp_path / "web.1.log").read_bytes() == b"before\nafter\n"


def test_what_cannot_be_written_is_told_once_and_counted(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the directory should be")
    logs = LogFiles(str(tmp_path / "logs"))
    assert "cannot write" in logs.write("web.1", b"one\ntwo\n")
    assert logs.write("web.1", b"three\n") == ""
    (tmp_path / "logs").unlink()
    assert logs.write("web.1", b"four\n") == ""
    assert (tmp_path / "logs" / "web.1.log").read_bytes() == b"whalefall: 3 lines could not be written\nfour\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full (full(4))")
def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    (tmp_path / "web.1.log").symlink_to("/dev/full")
    logs = LogFiles(str(tmp_path))
    assert "No space left on device" in logs.write("web.1", b"one\n")
    assert logs.write("web.1", b"two\n") == ""
    assert not logs.open


@contextlib.contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """As a disk that is full in the middle of a write: setrlimit(2), RLIMIT_FSIZE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_is_full_in_the_middle_of_a_line_tears_none(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path))
    with files_end_at(10):
        assert "cannot write" in logs.write("web.1", b"one\ntwo\nthree\nfour\n")
        assert (tmp_path / "web.1.log").read_bytes() == b"one\ntwo\n"
        assert logs.write("web.1", b"five\n") == ""
    assert logs.write("web.1", b"six\n") == ""
    assert (tmp_path / "web.1.log").read_bytes() == b"one\ntwo\nwhalefall: 3 lines could not be written\nsix\n"


def test_what_is_lost_after_the_count_was_told_is_counted_anew(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path))
    with files_end_at(0):
        logs.write("web.1", b"one\n")
    told = b"whalefall: 1 lines could not be written\n"
    with files_end_at(len(told)):
        assert logs.write("web.1", b"two\nthree\n") == ""
    logs.write("web.1", b"four\n")
    assert (tmp_path / "web.1.log").read_bytes() == told + told.replace(b"1", b"2") + b"four\n"


def test_reopen_follows_a_file_that_was_moved(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path))
    logs.write("web.1", b"one\n")
    (tmp_path / "web.1.log").rename(tmp_path / "moved")
    logs.write("web.1", b"two\n")
    logs.reopen()
    logs.write("web.1", b"three\n")
    assert (tmp_path / "moved").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "web.1.log").read_bytes() == b"three\n"


def test_descriptors_are_not_kept_beyond_need(tmp_path: Path) -> None:
    logs = LogFiles(str(tmp_path), bytes_max=10)
    before = open_descriptors()
    for _ in range(50):
        logs.write("web.1", b"more than ten bytes\n")
    logs.reopen()
    assert open_descriptors() == before
