"""Each option of a service reaches the Plan; a contradiction is refused by its key."""

import os
import resource
from collections.abc import Callable

import pytest

from tests.unit.planner.scene import Scene
from whalefall.errors import ConfigError
from whalefall.plan import Dependency, Instance, MemoryLimit, Probe
from whalefall.planner.options import SERVICE

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a service another user")

# key: (its line, where it arrives, what arrives, what would be there without it)
REACHES: dict[str, tuple[str, Callable[[Instance], object], object, object]] = {
    "listen": ('listen = ["127.0.0.1:6001"]', lambda i: len(i.listeners), 1, 0),
    "ready": ('ready = "/r"', lambda i: i.ready and i.ready.path, "/r", None),
    "start_timeout": ("start_timeout = 9", lambda i: i.start_timeout_s, 9.0, 60.0),
    "live": ('live = "/l"', lambda i: i.live and i.live.path, "/l", None),
    "live_period": ('live = "tcp"\nlive_period = 7', lambda i: i.live and i.live.period_s, 7.0, None),
    "live_timeout": ('live = "tcp"\nlive_timeout = 3', lambda i: i.live and i.live.timeout_s, 3.0, None),
    "live_failures": ('live = "tcp"\nlive_failures = 2', lambda i: i.live and i.live.failures, 2, None),
    "watchdog": ("watchdog = 30", lambda i: i.watchdog_s, 30.0, None),
    "critical": ("critical = false", lambda i: i.restart.on_give_up, "degrade", "exit"),
    "memory_limit": ('memory_limit = "2G"', lambda i: i.memory, MemoryLimit(2 * 1024**3, "tree"), None),
    "log": ('log = "none"', lambda i: i.log, "none", ""),
    "after": ('after = ["web:started"]', lambda i: i.after, (Dependency("web", "started"),), ()),
    "run_once": ("run_once = true", lambda i: i.run_once, True, False),
    "stop_signal": ('stop_signal = "INT"', lambda i: i.stop.signal, "INT", "TERM"),
    "grace": ("grace = 4", lambda i: i.stop.grace_s, 4.0, 9.0),
    "orphans": ('orphans = "drain"', lambda i: i.stop.orphans, "drain", "kill"),
    "restart_first": ("restart_first = 2", lambda i: i.restart.first_s, 2.0, 0.5),
    "restart_max": ("restart_max = 5", lambda i: i.restart.max_s, 5.0, 30.0),
    "early_crashes": ("early_crashes = 2", lambda i: i.restart.early_crashes, 2, 5),
    "early_window": ("early_window = 8", lambda i: i.restart.early_window_s, 8.0, 60.0),
    "crashes": ("crashes = 3", lambda i: i.restart.crashes, 3, 10),
    "crash_window": ("crash_window = 11", lambda i: i.restart.window_s, 11.0, 600.0),
    "on_give_up": ('on_give_up = "stop"', lambda i: i.restart.on_give_up, "stop", "exit"),
    "env": ('env = { A = "b" }', lambda i: i.command.env.get("A"), "b", None),
    "umask": ('umask = "027"', lambda i: i.command.umask, 0o027, None),
    "limits": ("limits = { nofile = 64 }", lambda i: dict(i.command.limits), {"nofile": 64}, {}),
}
ELSEWHERE = {"instances", "user"}  # their own tests below


def worker(scene: Scene, lines: str, **options: str) -> Instance:
    scene.procfile("web: sleep 1\nworker: sleep 1\nscheduler: sleep 1\n")
    scene.write("whalefall.toml", f"[services.worker]\n{lines}\n")
    return scene.instances(**options)["worker.1"]


@pytest.mark.parametrize("key", REACHES)
def test_it_reaches_the_plan(key: str, scene: Scene) -> None:
    line, arrives, value, default = REACHES[key]
    assert arrives(worker(scene, line)) == value
    assert arrives(worker(scene, "")) == default


def test_no_option_is_left_out_of_this_table() -> None:
    assert set(REACHES) | ELSEWHERE == {row.key for row in SERVICE}


def test_live_is_asked_at_the_port_of_the_instance(scene: Scene) -> None:
    made = worker(scene, 'live = "/l"')
    port = made.command.env["PORT"]
    assert made.live == Probe("http", f"127.0.0.1:{port}", "/l", period_s=10.0, timeout_s=5.0, failures=3)


def test_our_own_liveness_probe_can_be_timed_and_ended(scene: Scene) -> None:
    scene.procfile("web: whalefall web\n").write("whalefall.toml", "[services.web]\nlive_period = 30\n")
    live = scene.instances()["web.1"].live
    assert live is not None
    assert live.period_s == 30.0
    scene.write("whalefall.toml", '[services.web]\nlive = "none"\n')
    assert scene.instances()["web.1"].live is None


@pytest.mark.parametrize(("formation", "count"), [("", 3), ("worker=1", 1), ("all=2", 2), ("web=2", 3)])
def test_instances_hold_unless_the_command_line_says_otherwise(scene: Scene, formation: str, count: int) -> None:
    scene.procfile("web: sleep 1\nworker: sleep 1\n").write("whalefall.toml", "[services.worker]\ninstances = 3\n")
    names = scene.instances(formation=formation)
    assert sum(name.startswith("worker.") for name in names) == count


@as_root
def test_a_user_brings_its_own_home(scene: Scene) -> None:
    command = worker(scene, 'user = "nobody"').command
    assert (command.user, command.env["USER"], command.env["LOGNAME"]) == ("nobody", "nobody", "nobody")
    assert command.env["HOME"] != "/nowhere"
    assert worker(scene, 'user = "nobody"\nenv = { HOME = "/h" }').command.env["HOME"] == "/h"


@pytest.mark.parametrize(
    ("line", "probe"),
    [('ready = "notify"', Probe("notify")), ('ready = ["pg_isready", "-q"]', Probe("exec", argv=("pg_isready", "-q")))],
)
def test_ready_is_told_by_the_service_itself_or_by_a_command(scene: Scene, line: str, probe: Probe) -> None:
    assert worker(scene, line).ready == probe


@pytest.mark.parametrize("line", ['ready = "notify"', "watchdog = 9"])
def test_our_own_roles_say_nothing_by_themselves(scene: Scene, line: str) -> None:
    scene.procfile("web: whalefall web\n").write("whalefall.toml", f"[services.web]\n{line}\n")
    with pytest.raises(ConfigError, match=r"^whalefall.toml:2: \[services.web\] (ready|watchdog): .* Remove it\."):
        scene.build()


@pytest.mark.parametrize(
    ("command", "each"),
    [("whalefall web", "worker"), ("gunicorn a:b", "worker"), ("exec gunicorn a:b | cat", "tree"), ("sleep 1", "tree")],
)
def test_only_a_gunicorn_itself_has_workers_that_may_be_asked_to_go(scene: Scene, command: str, each: str) -> None:
    scene.procfile(f"web: {command}\n").write("whalefall.toml", '[services.web]\nmemory_limit = "300M"\n')
    scene.write("a.py", "")
    memory = scene.instances()["web.1"].memory
    assert memory is not None
    assert memory.each == each


REFUSED = {
    "a wait for ever": (
        "worker",
        'after = ["web:finished"]',
        r"^whalefall.toml:2: .*worker\] after: 'web' never finishes",
    ),
    "critical and not": (
        "worker",
        'critical = true\non_give_up = "stop"',
        r'critical = true contradicts on_give_up = "s',
    ),
    "uncritical and exit": ("worker", 'critical = false\non_give_up = "exit"', r"critical = false contradicts"),
    "a run once with a limit": ("worker", 'run_once = true\nmemory_limit = "1G"', r"memory_limit: what runs once"),
    "two schedulers": (
        "scheduler",
        "instances = 2",
        r"^whalefall.toml:2: \[services.scheduler\] instances: scheduler=2",
    ),
    "times without a probe": ("worker", "live_period = 1", r"live_period: there is no liveness probe to time"),
    "a cap below the start": ("worker", "restart_first = 9\nrestart_max = 3", r"restart_max = 3 is less than .* 9"),
    "an unknown user": ("worker", 'user = "no-such-user"', r"user: there is no user 'no-such-user' here"),
}


@pytest.mark.parametrize(("service", "lines", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_contradiction_is_refused_by_its_key(scene: Scene, service: str, lines: str, sentence: str) -> None:
    scene.procfile("web: sleep 1\nworker: sleep 1\nscheduler: sleep 1\n")
    scene.write("whalefall.toml", f"[services.{service}]\n{lines}\n")
    with pytest.raises(ConfigError, match=sentence):
        scene.build()


def test_what_runs_once_can_be_waited_for_and_a_release_that_stays_too(scene: Scene) -> None:
    scene.procfile("release: sleep 1\nweb: sleep 1\nworker: sleep 1\n")
    scene.write("whalefall.toml", '[services.web]\nrun_once = true\n[services.worker]\nafter = ["web:finished"]\n')
    assert scene.instances()["worker.1"].after == (Dependency("web", "finished"),)
    assert scene.instances()["web.1"].after == (Dependency("release", "finished"),)
    scene.write("whalefall.toml", "[services.release]\nrun_once = false\n")
    assert scene.instances()["web.1"].after == (Dependency("release", "ready"),)


def test_our_own_roles_have_the_user_of_whalefall(scene: Scene) -> None:
    scene.procfile("web: whalefall web\n").write("whalefall.toml", '[services.web]\nuser = "nobody"\n')
    with pytest.raises(ConfigError, match=r"own roles run as whalefall does\. Start whalefall itself as 'nobody'"):
        scene.build()


def test_a_limit_above_the_hard_one_is_refused_before_the_start(scene: Scene) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        pytest.skip("no hard limit on open files here")
    with pytest.raises(ConfigError, match=f"nofile = {hard + 1} is above the hard limit {hard} here"):
        worker(scene, f"limits = {{ nofile = {hard + 1} }}")
    assert worker(scene, f"limits = {{ nofile = {hard} }}").command.limits == {"nofile": hard}
