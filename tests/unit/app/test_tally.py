"""Counts of many processes: summed, kept when one is killed, carried on by the next, whatever the disk says."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from whalefall.app.tally import Tally

A, B = ("a", "one"), ("b", "two")
ADDING = """
import pathlib, sys
from whalefall.app.tally import Tally
tally = Tally(pathlib.Path(sys.argv[1]))
tally.add({("a", "one"): float(sys.argv[2])})
print("added", flush=True)
sys.stdin.read()
"""


def adding(directory: Path, amount: int) -> "subprocess.Popen[str]":
    """A process that has added to A, and lives."""
    command = [sys.executable, "-c", ADDING, str(directory), str(amount)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "added\n"
    return process


def end(process: "subprocess.Popen[str]", number: int = signal.SIGKILL) -> None:
    process.send_signal(number)
    process.communicate(timeout=60)


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_processes_that_live_together_have_a_file_each_and_one_sum(tmp_path: Path) -> None:
    one, other = adding(tmp_path, 2), adding(tmp_path, 3)
    assert Tally(tmp_path).totals() == {A: 5}
    assert files(tmp_path) == ["0.tally", "1.tally"]
    end(one)
    end(other)


def test_a_kill_loses_no_count_and_the_next_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for lives in range(1, 4):
        end(adding(tmp_path, 2))
        assert Tally(tmp_path).totals() == {A: 2 * lives}
    assert files(tmp_path) == ["0.tally"]


def test_the_child_of_a_fork_counts_for_itself_and_the_parent_keeps_its_file(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    tally.add({A: 1})
    child = os.fork()
    if child == 0:
        tally.add({A: 10})
        os._exit(0)
    os.waitpid(child, 0)
    tally.add({A: 100})
    assert Tally(tmp_path).totals() == {A: 111}
    third = Tally(tmp_path)
    third.add({A: 1000})
    assert files(tmp_path) == ["0.tally", "1.tally"], "the child's file was free again, the parent's was not"
    assert Tally(tmp_path).totals() == {A: 1111}


def test_a_file_grows_with_its_series(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    keys = [("whalefall_job_runs", f"job {number} «ø»", "succeeded") for number in range(5_000)]
    for _ in range(2):
        tally.add(dict.fromkeys(keys, 1.5))
    assert Tally(tmp_path).totals() == dict.fromkeys(keys, 3.0)
    assert (tmp_path / "0.tally").stat().st_size > 100_000


def test_what_a_power_cut_has_left_ends_nothing(tmp_path: Path) -> None:
    whole = Tally(tmp_path)
    whole.add({(f"k{number}",): 1 for number in range(200)})
    content = (tmp_path / "0.tally").read_bytes()
    chance = random.Random(7)
    for round_ in range(60):
        directory = tmp_path / str(round_)
        directory.mkdir()
        torn = bytearray(content[: chance.randrange(len(content))])
        for _ in range(chance.randrange(40)):
            if torn:
                torn[chance.randrange(min(len(torn), 8_000))] = chance.randrange(256)
        (directory / "0.tally").write_bytes(torn)
        before = Tally(directory).totals()
        tally = Tally(directory)
        tally.add({B: 4})
        after = Tally(directory).totals()
        assert after == {**before, B: 4}, "what could be read was kept, and counting goes on"


def test_without_its_directory_a_process_counts_for_itself(tmp_path: Path) -> None:
    for tally in (Tally(tmp_path / "gone" / "metrics"), Tally(None)):
        tally.add({A: 1})
        tally.add({A: 1, B: 2})
        assert tally.totals() == {A: 2, B: 2}
    assert files(tmp_path) == []


def test_the_directory_is_made_private(tmp_path: Path) -> None:
    Tally(tmp_path / "metrics").add({A: 1})
    assert (tmp_path / "metrics").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "metrics" / "0.tally").stat().st_mode & 0o777 == 0o600


COUNTING = """
import pathlib, resource, sys
from whalefall.app.tally import Tally
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
tally = Tally(pathlib.Path(sys.argv[1]))
for number in range(3000):
    tally.add({(f"key {number} " + 20 * "x",): 1})
tally.add({("key 0 " + 20 * "x",): 1})
print(sum(tally.totals().values()))
"""


def assert_it_counts_all_the_same(directory: Path, *words: str) -> float:
    """Answers what others see of it."""
    command = [sys.executable, "-c", COUNTING, str(directory), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "3001.0\n"), done
    assert done.stderr.count("RUN_DIR") == 1, "said once"
    return sum(Tally(directory).totals().values())


@pytest.mark.parametrize(("bytes_max", "some_are_seen"), [("100000", True), ("0", False)])
def test_a_file_that_may_not_grow_ends_nobody(tmp_path: Path, bytes_max: str, some_are_seen: bool) -> None:
    seen = assert_it_counts_all_the_same(tmp_path, bytes_max)
    assert seen < 3001
    assert (seen > 0) == some_are_seen


@pytest.mark.parametrize(("size", "some_are_seen"), [("80k", True), ("20k", False)])
def test_a_full_disk_ends_nobody(tmp_path: Path, size: str, some_are_seen: bool) -> None:
    """A mapped page that finds no room when it is written is SIGBUS: room is to be asked for first."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system is not allowed here")
    try:
        seen = assert_it_counts_all_the_same(tmp_path)
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
    assert seen < 3001
    assert (seen > 0) == some_are_seen


def test_who_reads_while_others_count_never_sees_a_sum_go_down(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from whalefall.app.tally import Tally; tally = Tally(pathlib.Path(sys.argv[1]));"
        "[tally.add({('a', 'one'): 1, ('new', str(n)): 1}) for n in range(20_000)]"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    seen = [0.0]

    def all_have_ended() -> bool:
        seen.append(Tally(tmp_path).totals().get(A, 0.0))
        return all(writer.poll() is not None for writer in writers)

    wait_until(all_have_ended, "two writers have counted to 20,000", 120)
    assert seen == sorted(seen)
    assert Tally(tmp_path).totals()[A] == 40_000
    assert Tally(tmp_path).totals()["new", "19999"] == 2
