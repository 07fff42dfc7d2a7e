"""Generations in control groups of their own, on a machine where ours can be divided; elsewhere nothing changes."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.supervised import Supervised, alive, instance, python, read_when_written
from tests.support.waiting import wait_until
from whalefall.plan import RestartPolicy, StopPolicy
from whalefall.supervisor.edge import groups, linux
from whalefall.supervisor.edge.groups import Groups

# A grandchild that nothing ties to its service: another session and process group, an orphan, no environment.
ESCAPE = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        code = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()}\\\\n'); time.sleep(3600)"
        os.execve(sys.executable, [sys.executable, "-S", "-E", "-c", code, sys.argv[1]], {})
    os._exit(0)
time.sleep(3600)
"""


@pytest.fixture
def divided() -> Iterator[Groups]:
    """What a supervisor in our place would have. Skips where that is nothing."""
    found = groups.divide(f"test-{os.getpid()}")
    if not found.directory:
        pytest.skip("the control group (v2) that the tests run in is not ours to divide")
    yield found
    found.leave()
    assert not Path(found.directory).exists()


def _directory(supervised: Supervised) -> Path:
    told = supervised.ask("status")["supervisor"]["control_groups"]
    assert told, "whalefall has not divided its control group"
    return Path(told)


@pytest.mark.usefixtures("divided")
def test_each_generation_is_born_in_a_group_of_its_own(tmp_path: Path) -> None:
    sleeper = instance("a", python("import time; time.sleep(3600)"), tmp_path)
    with Supervised(tmp_path, sleeper) as supervised:
        pid = supervised.until_ready()["a.1"]["pid"]
        directory = _directory(supervised)
        assert Path(f"/proc/{pid}/cgroup").read_text().splitlines()[-1].endswith(f"/{directory.name}/a.1#1")
        os.kill(pid, signal.SIGKILL)
        supervised.until(lambda rows: rows["a.1"]["generation"] == 2 and rows["a.1"]["pid"], "it runs again")
        wait_until(lambda: [each.name for each in directory.glob("a.1*")] == ["a.1#2"], "the old group has gone")
        assert supervised.stop() == 0
    assert not directory.exists()


@pytest.mark.usefixtures("divided")
def test_who_wiped_everything_is_still_known_and_ends_before_the_next_generation_starts(tmp_path: Path) -> None:
    escaper = instance("a", python(ESCAPE, str(tmp_path / "escaped")), tmp_path, restart=RestartPolicy())
    with Supervised(tmp_path, escaper) as supervised:
        escaped = int(read_when_written(tmp_path / "escaped"))
        leader = supervised.until_ready()["a.1"]["pid"]
        (tmp_path / "escaped").unlink()
        os.kill(leader, signal.SIGKILL)
        supervised.until(lambda rows: rows["a.1"]["generation"] == 2, "the next generation is started")
        assert not alive(escaped), "an earlier generation lives beside this one"
        assert alive(int(read_when_written(tmp_path / "escaped")))
        assert supervised.stop() == 0


@pytest.mark.usefixtures("divided")
def test_it_ends_with_its_service_too(tmp_path: Path) -> None:
    escaper = instance("a", python(ESCAPE, str(tmp_path / "escaped")), tmp_path, stop=StopPolicy(grace_s=5))
    other = instance("b", python("import time; time.sleep(3600)"), tmp_path)
    with Supervised(tmp_path, escaper, other) as supervised:
        escaped = int(read_when_written(tmp_path / "escaped"))
        supervised.until_ready()
        supervised.ask("stop", "a")
        supervised.until(lambda rows: rows["a.1"]["state"] == "stopped", "it has stopped")
        assert not alive(escaped)
        assert supervised.rows()["b.1"]["state"] == "ready"


@pytest.mark.usefixtures("divided")
def test_it_ends_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    escaper = instance("a", python(ESCAPE, str(tmp_path / "escaped")), tmp_path)
    with Supervised(tmp_path, escaper) as supervised:
        escaped = int(read_when_written(tmp_path / "escaped"))
        supervised.until_ready()
        directory = _directory(supervised)
        os.kill(supervised.pid, signal.SIGKILL)
        wait_until(lambda: not alive(escaped), "who left everything has ended, too")
        wait_until(lambda: not directory.exists(), "the groups are removed")


@pytest.mark.usefixtures("divided")
def test_what_stays_when_the_guardian_was_killed_too_is_removed_by_the_next_start(tmp_path: Path) -> None:
    sleeper = python("import time; time.sleep(3600)")
    for name in ("killed", "living", "next"):
        (tmp_path / name).mkdir()
    with (
        Supervised(tmp_path / "killed", instance("a", sleeper, tmp_path)) as killed,
        Supervised(tmp_path / "living", instance("b", sleeper, tmp_path)) as living,
    ):
        service = killed.until_ready()["a.1"]["pid"]
        abandoned = _directory(killed)
        living.until_ready()
        living.ask("stop", "b")
        living.until(lambda rows: rows["b.1"]["state"] == "stopped", "nobody is in its groups")
        (guardian,) = [child.pid for child in psutil.Process(killed.pid).children() if child.pid != service]
        os.kill(killed.pid, signal.SIGSTOP)  # or it would end in order when it has lost its guardian
        os.kill(guardian, signal.SIGKILL)
        os.kill(killed.pid, signal.SIGKILL)
        wait_until(lambda: not alive(service), "the death signal has ended its service")
        assert abandoned.exists()
        with Supervised(tmp_path / "next", instance("c", sleeper, tmp_path)) as following:
            following.until_ready()
            assert not abandoned.exists()
            assert _directory(living).exists(), "empty, but its whalefall lives"
            assert following.stop() == 0
        living.ask("start", "b")
        living.until_ready()
        pid = living.rows()["b.1"]["pid"]
        assert _directory(living).name in Path(f"/proc/{pid}/cgroup").read_text(), "and its groups still work"
        assert living.stop() == 0


@pytest.mark.usefixtures("divided")
def test_a_job_s_process_stays_when_its_scheduler_is_replaced(tmp_path: Path) -> None:
    code = """
import os, sys, time
if os.fork() == 0:
    os.setsid()
    code = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()}\\\\n'); time.sleep(3600)"
    argv = [sys.executable, "-c", code, sys.argv[1]]
    os.execve(sys.executable, argv, {**os.environ, "WHALEFALL_LIFE": "run#17"})
time.sleep(3600)
"""
    scheduler = instance("scheduler", python(code, str(tmp_path / "job")), tmp_path)
    with Supervised(tmp_path, scheduler) as supervised:
        job = int(read_when_written(tmp_path / "job"))
        supervised.until_ready()
        (tmp_path / "job").unlink()
        supervised.ask("restart", "scheduler")
        supervised.until(lambda rows: rows["scheduler.1"]["generation"] == 2, "it is replaced")
        read_when_written(tmp_path / "job")
        assert alive(job)
        supervised.stop()
        assert not alive(job)


def test_memory_s_evidence_is_read_from_the_group(tmp_path: Path) -> None:
    found = Groups(str(tmp_path), with_memory=True)
    group = tmp_path / "a.1#1"
    group.mkdir()
    (group / "memory.events").write_text("low 0\nhigh 0\nmax 4\noom 2\noom_kill 3\n")
    (group / "memory.peak").write_text("4096\n")
    found.close("a.1#1")
    assert found.memory("a.1#1") == groups.Memory(3, 4096)
    assert found.memory("a.1#1") == groups.Memory()


def test_a_kernel_that_does_not_count_its_kills_ends_nothing(tmp_path: Path) -> None:
    group = tmp_path / "a.1#1"
    group.mkdir()
    (group / "memory.events").write_text("low 0\nhigh 0\n\n")
    found = Groups(str(tmp_path), with_memory=True)
    found.close("a.1#1")
    assert found.memory("a.1#1") == groups.Memory()


def test_a_group_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    cgroups, mounts = tmp_path / "cgroup", tmp_path / "mountinfo"
    (tmp_path / "user.slice").mkdir()
    cgroups.write_text("3:cpu:/\n0::/user.slice\n")
    mounts.write_text(f"41 31 0:38 / {tmp_path} rw,relatime shared:4 - cgroup2 cgroup2 rw\n")
    if os.geteuid() == 0:  # root can write everywhere; systemd's own groups are none of ours
        assert groups.divide("1", str(cgroups), str(mounts)).directory == ""
        assert not list((tmp_path / "user.slice").iterdir())
    assert groups.divide("1", str(tmp_path / "none"), str(mounts)).directory == ""
    mounts.write_text("23 31 0:22 / /proc rw - proc proc rw\n")
    assert groups.divide("1", str(cgroups), str(mounts)).directory == ""


def test_where_the_kernel_refuses_a_birth_in_the_group_the_child_goes_there_itself(divided: Groups) -> None:
    group = divided.open("b.1#1")
    assert group is not None
    read, write = os.pipe()
    pid = os.fork()  # as linux.fork() does it when clone3 is forbidden
    if pid == 0:
        linux._join(group)
        os.write(write, Path("/proc/self/cgroup").read_bytes())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 65_536).rstrip().endswith(b"/b.1#1")
    os.close(read)
    os.close(group)
    divided.close("b.1#1")
    assert divided.left == set()


def test_a_birth_in_a_group_that_cannot_be_is_an_ordinary_one(tmp_path: Path) -> None:
    code = (  # in a process of one thread, as PID 1 is
        "import os, sys; from whalefall.supervisor.edge import linux\n"
        "pid = linux.fork(os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)) or os._exit(7)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    )
    nowhere = tmp_path  # no control group at all
    done = subprocess.run([sys.executable, "-c", code, str(nowhere)], capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"


def test_groups_below_each_other_cost_a_look_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service may make as many as it likes, and somebody may live in the deepest."""
    depth = 12
    deepest = tmp_path.joinpath("web.1#1", *(["below"] * depth))
    deepest.mkdir(parents=True)
    (deepest / "somebody").touch()
    tried: list[str] = []
    rmdir = os.rmdir
    monkeypatch.setattr(os, "rmdir", lambda path: (tried.append(path), rmdir(path)))
    assert not groups.remove(str(tmp_path / "web.1#1"))
    assert len(tried) == 2 * (depth + 1)
    (deepest / "somebody").unlink()
    assert groups.remove(str(tmp_path / "web.1#1"))
    assert not (tmp_path / "web.1#1").exists()


def test_who_is_of_another_pid_namespace_is_nobody_whom_we_could_kill(tmp_path: Path) -> None:
    """The kernel shows them as 0 (cgroups(7)), and kill(2) would take that for our own group."""
    (tmp_path / "below").mkdir()
    (tmp_path / "cgroup.procs").write_text("0\n12\n0\n")
    (tmp_path / "below" / "cgroup.procs").write_text("0\n13\n")
    assert groups.everybody(str(tmp_path.parent)) >= {12, 13}
    assert 0 not in groups.everybody(str(tmp_path.parent))
