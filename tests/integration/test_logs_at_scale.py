"""Fifty services that all talk at once: nothing lost, nothing torn, and a reader that is stuck costs no memory."""

import re
import socket
from collections import defaultdict
from pathlib import Path

import psutil

from tests.support.supervised import Supervised, instance, python
from tests.support.tap import Tap
from tests.support.waiting import wait_until
from whalefall.control.protocol import Request, decode_reply, encode_request

WRITERS = 50
LINES = 60
MEGABYTE = 1_000_000

# Whole lines, half lines with a pause between the halves, bytes that are no text, a megabyte, an end without newline.
TALKER = python(
    r"""
import os, sys, time
number, lines = int(sys.argv[1]), int(sys.argv[2])
out = os.fdopen(1, "wb", buffering=0)
def say(data):
    while data:
        data = data[out.write(data):]
for n in range(lines):
    kind = n % 4
    if kind == 0:
        say(b"%d %d whole\n" % (number, n))
    elif kind == 1:
        say(b"%d %d half" % (number, n)); time.sleep(0.001); say(b" and half\n")
    elif kind == 2:
        say(b"%d %d \xff\x00\xfe\x1b[31m\r\n" % (number, n))
    else:
        say(b"%d %d one\n%d %d two\n" % (number, n, number, n))
say(b"%d long %s\n" % (number, b"y" * 1_000_000))
say(b"%d no newline" % number)
"""
)
# Numbered lines, written in pieces that end anywhere.
FLOOD = python(
    """
import itertools, os
numbers, rest = itertools.count(), b""
while True:
    while len(rest) < 65_536:
        rest += b"%d %s\\n" % (next(numbers), b"z" * 100)
    rest = rest[os.write(1, rest[:65_536]):]
"""
)


def expected(number: int) -> list[bytes]:
    said: list[bytes] = []
    for n in range(LINES):
        said += {
            0: [b"%d %d whole" % (number, n)],
            1: [b"%d %d half and half" % (number, n)],
            2: [b"%d %d \xff\x00\xfe\x1b[31m\r" % (number, n)],
            3: [b"%d %d one" % (number, n), b"%d %d two" % (number, n)],
        }[n % 4]
    return [*said, b"%d long %s" % (number, b"y" * MEGABYTE), b"%d no newline" % number]


def by_instance(output: bytes) -> dict[str, list[bytes]]:
    """The lines behind each prefix; what has no prefix stands under "", where nothing may be."""
    found: dict[str, list[bytes]] = defaultdict(list)
    for line in output.removesuffix(b"\n").split(b"\n"):
        prefix = re.match(rb"([a-z0-9.]+) *\| ", line)
        found[prefix[1].decode() if prefix else ""].append(line[prefix.end() :] if prefix else line)
    return found


def test_fifty_writers_lose_nothing_and_tear_nothing(tmp_path: Path) -> None:
    talkers = [
        instance(f"t{number}", (*TALKER, str(number), str(LINES)), tmp_path, run_once=True)
        for number in range(WRITERS)
    ]  # fmt: skip
    keeper = instance("keeper", python("import time; time.sleep(3600)"), tmp_path)
    supervised = Supervised(tmp_path, keeper, *talkers)
    with Tap(tmp_path / "out.log") as tap, supervised.start(stdout=tap.write):
        tap.close_ours()
        supervised.until(
            lambda rows: rows and all(rows[f"t{n}.1"]["state"] == "finished" for n in range(WRITERS)),
            "all have said what they had to say",
            120,
        )
        assert supervised.stop() == 0
    found = by_instance((tmp_path / "out.log").read_bytes())
    assert "" not in found, found[""][:3]
    for number in range(WRITERS):
        assert found[f"t{number}.1"] == expected(number), f"t{number}.1"


def test_log_files_of_fifty_writers_hold_every_line(tmp_path: Path) -> None:
    """Each in its own file, as it was said, while standard output goes on."""
    talkers = [
        instance(f"t{number}", (*TALKER, str(number), str(LINES)), tmp_path, run_once=True)
        for number in range(WRITERS)
    ]  # fmt: skip
    keeper = instance("keeper", python("import time; time.sleep(3600)"), tmp_path)
    with Supervised(tmp_path, keeper, *talkers, log_dir=str(tmp_path / "logs")) as supervised:
        supervised.until(
            lambda rows: rows and all(rows[f"t{n}.1"]["state"] == "finished" for n in range(WRITERS)),
            "all have said what they had to say",
            120,
        )
        assert supervised.stop() == 0
    for number in range(WRITERS):
        text = (tmp_path / "logs" / f"t{number}.1.log").read_bytes()
        assert text == b"".join(line + b"\n" for line in expected(number)), f"t{number}.1"


def latest(supervised: Supervised, name: str) -> int:
    """The number of the last line of a flood that the supervisor has read."""
    lines = supervised.ask("logs", name, lines=1)["lines"]
    return int(lines[0][1].split()[0]) if lines else -1


def until_read_on(supervised: Supervised, lines: int) -> None:
    """Every flood has been read for so many lines more."""
    since = {each.service: latest(supervised, each.service) for each in supervised.plan.instances}
    for name, number in since.items():
        goal = number + lines
        wait_until(lambda n=name, g=goal: latest(supervised, n) > g, f"{name} is read on", 120, supervised.output)


def test_a_stuck_reader_and_fifty_writers_cost_no_memory(tmp_path: Path) -> None:
    """Nor descriptors, nor the answers of the control socket; a reader that is back is told what it has missed."""
    supervised = Supervised(tmp_path, *(instance(f"f{number}", FLOOD, tmp_path) for number in range(WRITERS)))
    with Tap(tmp_path / "out.log") as tap, supervised.start(stdout=tap.write):
        tap.hold()
        tap.close_ours()
        supervised.until(lambda rows: rows and all(row["pid"] for row in rows.values()), "all run", 60)
        until_read_on(supervised, 1_000)  # nobody reads what we write, so from here on it is dropped
        ours = psutil.Process(supervised.pid)
        before, descriptors = ours.memory_info().rss, ours.num_fds()
        until_read_on(supervised, 2_000)  # 10 MB and more of all together
        assert ours.memory_info().rss - before < 4_000_000
        wait_until(lambda: ours.num_fds() <= descriptors, "no more descriptors are open than before")
        tap.let_go()
        told = lambda: b"lines were dropped because the reader of our output was stuck" in tap.path.read_bytes()  # noqa: E731
        wait_until(told, "the reader is told", 60)
        assert supervised.stop() == 0


def test_a_follower_that_reads_nothing_holds_nobody_up(tmp_path: Path) -> None:
    """`logs -f` whose terminal is stuck: the rest goes on, memory stays bounded, and it is told what it has missed.

    The queue for it was once copied at every line: 16 MiB for a hundred bytes, and PID 1 answered nobody for minutes.
    """
    flood = instance("flood", FLOOD, tmp_path)
    with Supervised(tmp_path, flood) as supervised, socket.socket(socket.AF_UNIX) as stuck:
        supervised.until_ready()
        ours = psutil.Process(supervised.pid)
        before = ours.memory_info().rss
        stuck.connect(str(supervised.control_path()))
        stuck.sendall(encode_request(Request("logs", "flood", follow=True)))
        until_read_on(supervised, 100_000)
        assert ours.memory_info().rss - before < 8_000_000
        stuck.settimeout(60)
        with stuck.makefile("rb") as replies:
            told = next(line for line in replies if b"lines were dropped because this reader was stuck" in line)
            after = next(replies)
        assert decode_reply(told).data["name"] == "whalefall"
        assert decode_reply(after).data["name"] == "flood.1"
        assert supervised.stop() == 0


def test_a_trickle_does_not_wake_pid_1_for_every_line_and_loses_none(tmp_path: Path) -> None:
    """An access log under load. With a wakeup for each line PID 1 took a tenth of the machine from those who serve."""
    code = 'import time\nfor n in range(3_000):\n    print("line", n, flush=True); time.sleep(0.0005)'
    keeper = instance("keeper", python("import time; time.sleep(3600)"), tmp_path)
    with Supervised(tmp_path, keeper, instance("trickle", python(code), tmp_path, run_once=True)) as supervised:
        ours = psutil.Process(supervised.pid)
        wait_until(lambda: "trickle.1 has finished" in supervised.output(), "all is said", 60)
        wakeups = ours.num_ctx_switches().voluntary
        assert supervised.stop() == 0
    assert re.findall(r"line (\d+)$", supervised.output(), re.MULTILINE) == [str(n) for n in range(3_000)]
    assert wakeups < 1_500
