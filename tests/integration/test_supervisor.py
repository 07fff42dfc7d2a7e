"""The real supervisor with real processes: what the operating system does to it, and what it does to the system."""

import http.client
import os
import signal
import socket
import stat
import sys
import threading
from pathlib import Path

import psutil
import pytest

from tests.support.supervised import Supervised, alive, free_port, instance, orphans, python, read_when_written
from tests.support.waiting import wait_until
from whalefall.control.protocol import REQUEST_BYTES_MAX
from whalefall.errors import ControlError
from whalefall.plan import Listener, MemoryLimit, Probe, RestartPolicy, StopPolicy

SLEEPER = python("import time; print('here', flush=True); time.sleep(3600)")
DEAF = python("import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(3600)")

# A web server on the inherited socket, one request at a time, that says who it is.
SERVER = python(
    """
import http.server, os, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = str(os.getpid()).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
assert os.environ["LISTEN_PID"] == str(os.getpid()), "LISTEN_PID is not ours"
server = http.server.HTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=3)
server.serve_forever()
"""
)


def get(port: int, timeout: float = 20.0) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", "/")
        return int(connection.getresponse().read())
    finally:
        connection.close()


def test_a_killed_service_is_back_and_its_socket_was_never_closed(tmp_path: Path) -> None:
    port = free_port()
    web = instance("web", SERVER, tmp_path, listeners=("web",), ready=Probe("tcp", address=f"127.0.0.1:{port}"))
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        supervised.until_ready()
        pids = {get(port)}
        for _ in range(5):
            os.kill(get(port), signal.SIGKILL)
            pids.add(get(port))  # refused, if anybody but the supervisor held the socket
        assert len(pids) == 6
        assert supervised.rows()["web.1"]["restarts"] == 5
        assert supervised.stop() == 0


def test_sigterm_ends_everything_with_code_0_also_what_left_its_session(tmp_path: Path) -> None:
    escapee = python(
        f"""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({str(tmp_path / "escaped")!r}, "w").write(str(os.getpid()) + "\\n")
        time.sleep(3600)
    os._exit(0)
time.sleep(3600)
"""
    )
    with Supervised(tmp_path, instance("web", SLEEPER, tmp_path), instance("wild", escapee, tmp_path)) as supervised:
        supervised.until_ready()
        pid = int(read_when_written(tmp_path / "escaped"))
        assert supervised.stop() == 0
        assert not alive(pid)


def test_a_dead_leaders_escaped_children_are_gone_before_its_replacement_starts(tmp_path: Path) -> None:
    code = f"""
import os, time
if os.fork() == 0:
    os.setsid()
    with open({str(tmp_path / "escaped")!r}, "a") as file: file.write(str(os.getpid()) + "\\n")
    time.sleep(3600)
time.sleep(3600)
"""
    with Supervised(tmp_path, instance("job", python(code), tmp_path)) as supervised:
        first = supervised.until_ready()["job.1"]["pid"]
        old = int(read_when_written(tmp_path / "escaped"))
        os.kill(first, signal.SIGKILL)
        supervised.until(lambda rows: rows["job.1"]["generation"] == 2, "the second generation runs")
        assert not alive(old)


def test_what_does_not_stop_is_killed_and_the_exit_code_tells(tmp_path: Path) -> None:
    with Supervised(tmp_path, instance("deaf", DEAF, tmp_path, stop=StopPolicy(grace_s=0.3))) as supervised:
        supervised.until_said("deaf.1    | deaf")
        assert supervised.stop() == 137
        assert "deaf.1 did not stop within 0.3 s of SIGTERM and is killed" in supervised.output()


def test_ctrl_c_twice_kills_at_once(tmp_path: Path) -> None:
    with Supervised(tmp_path, instance("deaf", DEAF, tmp_path, stop=StopPolicy(grace_s=600))) as supervised:
        supervised.until_said("deaf.1    | deaf")
        os.kill(supervised.pid, signal.SIGINT)
        supervised.until_said("SIGINT: stopping in order")
        assert supervised.stop(signal.SIGINT) == 137


def test_orphans_are_adopted_and_reaped(tmp_path: Path) -> None:
    """Two hundred children whose parents are gone leave no zombie."""
    with Supervised(tmp_path, instance("fork", orphans(tmp_path / "done"), tmp_path)) as supervised:
        read_when_written(tmp_path / "done")
        ours = psutil.Process(supervised.pid)
        wait_until(
            lambda: len(ours.children(recursive=True)) == 2, "leader and guardian are left", explain=supervised.output
        )


def test_killing_the_supervisor_leaves_no_child(tmp_path: Path) -> None:
    """Not what ignores SIGTERM, not what left its session and its parent."""
    escapee = python(
        f"""
import os, signal, time
signal.signal(15, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open({str(tmp_path / "escaped")!r}, "w").write(str(os.getpid()) + "\\n")
        time.sleep(3600)
    os._exit(0)
time.sleep(3600)
"""
    )
    drain = StopPolicy(orphans="drain")  # its death signal is SIGTERM, which it ignores
    instances = (
        instance("a", SLEEPER, tmp_path),
        instance("b", DEAF, tmp_path),
        instance("c", escapee, tmp_path, stop=drain),
    )
    with Supervised(tmp_path, *instances) as supervised:
        pids = [row["pid"] for row in supervised.until_ready().values()]
        pids += [int(read_when_written(tmp_path / "escaped"))]
        pids += [child.pid for child in psutil.Process(supervised.pid).children(recursive=True)]
        os.kill(supervised.pid, signal.SIGKILL)
        wait_until(lambda: not any(map(alive, pids)), "everything died with it, the guardian last")


def test_a_crash_loop_ends_with_the_services_code_and_its_last_lines(tmp_path: Path) -> None:
    broken = python("import sys; print('Traceback: no such table'); sys.exit(7)")
    probe = Probe("tcp", address="127.0.0.1:1")
    policy = RestartPolicy(first_s=0.01, max_s=0.05)
    other = instance("other", SLEEPER, tmp_path)
    with Supervised(tmp_path, instance("web", broken, tmp_path, ready=probe, restart=policy), other) as supervised:
        assert supervised.wait() == 7
        said = supervised.output()
    assert "(crash 5 of 5 in 60 s): giving up; whalefall stops" in said
    assert 'Last line: "Traceback: no such table"' in said
    assert "other.1 has stopped" in said


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (("no-such-program",), "cannot run no-such-program: No such file or directory"),
        (("/etc/passwd",), "cannot run /etc/passwd: Permission denied"),
    ],
)
def test_a_program_that_cannot_run_is_named(tmp_path: Path, argv: tuple[str, ...], sentence: str) -> None:
    policy = RestartPolicy(first_s=0.01, max_s=0.01)
    with Supervised(tmp_path, instance("web", argv, tmp_path, restart=policy)) as supervised:
        assert supervised.wait() == 127
        assert sentence in supervised.output()


def test_a_taken_port_is_one_sentence_and_nothing_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        web = instance("web", python("open('started', 'w')"), tmp_path, listeners=("web",))
        with Supervised(tmp_path, web, listeners=(Listener("web", address),)) as supervised:
            assert supervised.wait() == 2
    assert supervised.output() == (
        f"whalefall: cannot listen on {address} (web): another process has it. "
        "Stop that one, or choose another port with --port.\n"
    )
    assert not (tmp_path / "started").exists()


def test_a_reader_that_is_stuck_stops_neither_supervision_nor_the_stop(tmp_path: Path) -> None:
    read, write = os.pipe()
    noisy = python("while True: print('x' * 1000)")
    supervised = Supervised(tmp_path, instance("noisy", noisy, tmp_path), instance("quiet", SLEEPER, tmp_path))
    with supervised.start(stdout=write):
        os.close(write)
        first = supervised.until_ready()["quiet.1"]["pid"]
        looks = [-1]
        wait_until(lambda: looks.append(_bytes_waiting(read)) or looks[-1] == looks[-2] > 0, "the pipe is full")
        os.kill(first, signal.SIGKILL)
        supervised.until(lambda rows: rows["quiet.1"]["generation"] == 2, "the other one is back")
        assert supervised.stop() == 0
    os.close(read)


def _bytes_waiting(fd: int) -> int:
    import array
    import fcntl
    import termios

    size = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, size)
    return size[0]


def test_a_reader_that_comes_back_is_told_what_it_missed(tmp_path: Path) -> None:
    read, write = os.pipe()
    noisy = python("while True: print('x' * 1000)")
    supervised = Supervised(tmp_path, instance("noisy", noisy, tmp_path))
    with supervised.start(stdout=write):
        os.close(write)
        supervised.until_ready()
        seen = threading.Event()

        def drain() -> None:
            kept = b""
            while chunk := os.read(read, 65_536):
                kept = kept[-200:] + chunk
                if b"lines were dropped because the reader of our output was stuck" in kept:
                    seen.set()

        growth = psutil.Process(supervised.pid)
        before = growth.memory_info().rss
        # Stuck is two seconds without progress; nobody reads until the supervisor has given up waiting.
        supervised.until(lambda rows: rows["noisy.1"]["uptime_s"] > 3.0, "the reader counts as stuck")
        assert growth.memory_info().rss - before < 8_000_000
        reader = threading.Thread(target=drain)
        reader.start()
        assert seen.wait(20), "no word about the dropped lines"
        assert supervised.stop() == 0
        reader.join(20)
    os.close(read)


def test_long_binary_and_partial_lines_survive(tmp_path: Path) -> None:
    code = r"""
import sys, time
out = sys.stdout.buffer
out.write(b"long " + b"y" * 1_000_000 + b"\n")
out.write(b"binary \xff\x00\xfe\n")
out.write(b"first half,"); out.flush()
time.sleep(0.1)
out.write(b" second half\nno newline at the end"); out.flush()
"""
    talker = instance("talker", python(code), tmp_path, run_once=True)
    with Supervised(tmp_path, talker, instance("other", SLEEPER, tmp_path)) as supervised:
        supervised.until(lambda rows: rows.get("talker.1", {}).get("state") == "finished", "the talker has finished")
        supervised.until_said("talker.1 has finished")
        lines = supervised.log.read_bytes().split(b"\n")
    said = [line.removeprefix(b"talker.1  | ") for line in lines if line.startswith(b"talker.1")]
    assert [line[:60] for line in said] == [
        b"long " + b"y" * 55,
        b"binary \xff\x00\xfe",
        b"first half, second half",
        b"no newline at the end",
    ]
    assert len(said[0]) == 1_000_005


def test_each_service_may_have_its_own_format(tmp_path: Path) -> None:
    talk = python("import time; print('said', flush=True); time.sleep(3600)")
    json_, none, raw, plain = (
        instance(name, talk, tmp_path, log=log) for name, log in [("j", "json"), ("n", "none"), ("r", "raw"), ("p", "")]
    )
    with Supervised(tmp_path, json_, none, raw, plain, log_dir=str(tmp_path / "logs")) as supervised:
        supervised.until_said("p.1       | said")
        supervised.until_said('"instance": "j.1", "line": "said"')
        wait_until(lambda: "said" in supervised.output().splitlines(), "raw has no prefix", explain=supervised.output)
        wait_until(lambda: supervised.ask("logs", "n")["lines"] == [["n.1", "said"]], "what is not shown is remembered")
        assert "n.1 | said" not in supervised.output()
        assert supervised.ask("logs", "r")["lines"] == []
        assert "said" in (tmp_path / "logs" / "n.1.log").read_text()


def test_logs_as_json_are_one_object_a_line(tmp_path: Path) -> None:
    import json

    with Supervised(tmp_path, instance("web", SLEEPER, tmp_path), log_format="json") as supervised:
        supervised.until_said('"line": "here"')
        records = [json.loads(line) for line in supervised.output().splitlines()]
    assert {record["instance"] for record in records} == {"whalefall", "web.1"}


def test_restart_by_the_control_socket_replaces_without_a_gap(tmp_path: Path) -> None:
    port = free_port()
    probe = Probe("tcp", address=f"127.0.0.1:{port}")
    web = instance("web", SERVER, tmp_path, listeners=("web",), ready=probe, replace="start_first")
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        first = supervised.until_ready()["web.1"]["pid"]
        assert supervised.ask("restart", "web") == {"accepted": ["web.1"]}
        supervised.until(lambda rows: rows["web.1"]["generation"] == 2, "generation 2 serves")
        wait_until(lambda: not alive(first), "generation 1 is gone")
        assert get(port) == supervised.rows()["web.1"]["pid"]


def test_stop_and_start_of_one_service(tmp_path: Path) -> None:
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path), instance("b", SLEEPER, tmp_path)) as supervised:
        supervised.until_ready()
        supervised.ask("stop", "a.1")
        supervised.until(lambda rows: rows["a.1"]["state"] == "stopped", "a is stopped")
        assert supervised.rows()["b.1"]["state"] == "ready"
        supervised.ask("start", "a")
        supervised.until(lambda rows: rows["a.1"]["state"] == "ready", "a is ready again")


def test_logs_are_kept_and_can_be_followed(tmp_path: Path) -> None:
    from whalefall.control.client import stream
    from whalefall.control.protocol import Request

    counter = python("import time\nfor i in range(10_000):\n print('line', i, flush=True); time.sleep(0.02)")
    with Supervised(tmp_path, instance("web", counter, tmp_path)) as supervised:
        supervised.until_said("line 3")
        kept = supervised.ask("logs", "web", lines=2)["lines"]
        assert [name for name, _ in kept] == ["web.1", "web.1"]
        heard = []
        for item in stream(supervised.run_dir, Request("logs", "web", follow=True, lines=1), timeout_s=20):
            heard.append(int(item["text"].split()[1]))
            if len(heard) == 5:
                break
        assert heard == list(range(heard[0], heard[0] + 5))


def test_shutdown_by_the_control_socket(tmp_path: Path) -> None:
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path)) as supervised:
        supervised.until_ready()
        supervised.ask("shutdown")
        assert supervised.wait() == 0
        assert not supervised.control_path().exists()


def test_the_control_socket_is_private_and_answers_nonsense_with_a_sentence(tmp_path: Path) -> None:
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path)) as supervised:
        supervised.until_ready()
        path = supervised.control_path()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        for nonsense, sentence in [
            (b"hello\n", b"not one line of JSON"),
            (b"[1]\n", b"not a JSON object"),
            (b'{"command":"format"}\n', b"unknown command"),
            (b'{"command":"status","target":1}\n', b"must be of type str"),
            (b'{"command":"stop","target":"wbe"}\n', b"there are: a"),
            (b'{"command":"stop"}\n', b"needs a service"),
            (b"x" * (REQUEST_BYTES_MAX + 10), b"longer than"),
            (b"\xff\xfe\n", b"not one line of JSON"),
            (b"[" * 10_000 + b"\n", b"not one line of JSON"),
        ]:
            with socket.socket(socket.AF_UNIX) as peer:
                peer.settimeout(20)
                peer.connect(str(path))
                peer.sendall(nonsense)
                assert sentence in peer.recv(65_536)
        with socket.socket(socket.AF_UNIX) as peer:  # says nothing and goes
            peer.connect(str(path))
        assert supervised.rows()["a.1"]["state"] == "ready"
        with pytest.raises(ControlError, match="there is no service or instance 'nope'"):
            supervised.ask("restart", "nope")


def test_a_stale_control_socket_is_replaced_and_a_live_one_is_respected(tmp_path: Path) -> None:
    first = Supervised(tmp_path, instance("a", SLEEPER, tmp_path))
    with first:
        first.until_ready()
        second = Supervised(tmp_path, instance("a", SLEEPER, tmp_path))
        second.log = tmp_path / "second.log"
        with second:
            assert second.wait() == 2
        assert "Is another whalefall running here?" in second.output()
        assert first.rows()["a.1"]["state"] == "ready"
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    assert first.control_path().exists()
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path)) as third:
        third.until_ready()


def test_idle_means_asleep(tmp_path: Path) -> None:
    """No wakeup at all between two moments in which nothing happened."""
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path)) as supervised:
        supervised.until_said("here")
        ours = psutil.Process(supervised.pid)
        clock = threading.Event()

        def settled() -> bool:
            before = ours.num_ctx_switches()
            clock.wait(0.1)
            return bool(ours.num_ctx_switches() == before)

        wait_until(settled, "what its start had to do is done")
        before = ours.num_ctx_switches()
        clock.wait(1.5)  # the measurement itself: a time in which nothing may happen
        assert ours.num_ctx_switches() == before


def test_descriptors_do_not_leak_over_many_restarts(tmp_path: Path) -> None:
    policy = RestartPolicy(first_s=0.0, max_s=0.0, crashes=10_000, early_crashes=10_000)
    brief = instance("brief", python("pass"), tmp_path, restart=policy)
    with Supervised(tmp_path, brief, instance("a", SLEEPER, tmp_path)) as supervised:
        supervised.until(lambda rows: rows and rows["brief.1"]["restarts"] > 5, "some restarts")
        ours = psutil.Process(supervised.pid)
        supervised.ask("stop", "brief")
        supervised.until(lambda rows: rows["brief.1"]["state"] == "stopped", "it is stopped")
        before = ours.num_fds()  # perhaps with the last question's connection still in it
        supervised.ask("start", "brief")
        supervised.until(lambda rows: rows["brief.1"]["restarts"] > 60, "many restarts")
        supervised.ask("stop", "brief")
        supervised.until(lambda rows: rows["brief.1"]["state"] == "stopped", "it is stopped again")
        wait_until(lambda: ours.num_fds() <= before, "no more descriptors are open than before")


def test_children_find_nothing_open_that_is_not_for_them(tmp_path: Path) -> None:
    found = str(tmp_path / "fds")
    code = f"import os; fds = os.listdir('/proc/self/fd'); open({found!r}, 'w').write(' '.join(sorted(fds)) + '\\n')"
    other = instance("other", SLEEPER, tmp_path)
    with Supervised(tmp_path, other, instance("nosy", python(code), tmp_path, run_once=True)):
        assert read_when_written(tmp_path / "fds").split() == ["0", "1", "2", "3"]  # 3 is the listing itself


def test_a_second_supervisor_waits_until_the_first_ones_tree_is_dead(tmp_path: Path) -> None:
    """Also when the first one and its leader are killed and only an escaped grandchild is left."""
    lock = str(tmp_path / "scheduler.lock")
    code = f"""
import os, time
pid = os.fork()
if pid == 0:
    os.setsid()
    open({str(tmp_path / "grandchild")!r}, "w").write(str(os.getpid()) + "\\n")
    time.sleep(3600)
time.sleep(3600)
"""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = Supervised(tmp_path / "one", instance("scheduler", python(code), tmp_path, lock=lock))
    second = Supervised(tmp_path / "two", instance("scheduler", SLEEPER, tmp_path, lock=lock))
    with first:
        first.until_ready()
        grandchild = int(read_when_written(tmp_path / "grandchild"))
        try:
            with second:
                second.until_said(
                    f"scheduler.1#1 of the whalefall with pid {first.pid} is still alive and holds {lock}"
                )
                leader = first.rows()["scheduler.1"]["pid"]
                os.kill(first.pid, signal.SIGKILL)
                wait_until(lambda: not alive(leader), "the leader died with its supervisor")
                assert alive(grandchild)
                assert second.rows()["scheduler.1"]["state"] == "backoff"
                os.kill(grandchild, signal.SIGKILL)
                second.until_ready()
        finally:
            if alive(grandchild):
                os.kill(grandchild, signal.SIGKILL)


def test_reload_applies_a_good_plan_and_refuses_a_bad_one(tmp_path: Path) -> None:
    from whalefall.plan import Command, plan_to_json
    from whalefall.plan.records import replace

    planner = Command((sys.executable, str(tmp_path / "planner.py")), str(tmp_path), {"PATH": os.environ["PATH"]})
    a, b = instance("a", SLEEPER, tmp_path), instance("b", SLEEPER, tmp_path)
    with Supervised(tmp_path, a, b, replan=planner) as supervised:
        before = supervised.until_ready()
        for bad, sentence in [
            (
                "import sys; print('Procfile:3: not understood'); sys.exit(2)",
                "exited with code 2: Procfile:3: not understood",
            ),
            ("print('{')", "nothing is changed: the Plan is not JSON"),
            ('print(\'{"instances": [], "nonsense": 1}\')', "nothing is changed: plan.nonsense is unknown"),
            ("print(chr(0x20) * 1000, flush=True); raise SystemExit(3)", "exited with code 3"),
        ]:
            (tmp_path / "planner.py").write_text(bad)
            os.kill(supervised.pid, signal.SIGHUP)
            supervised.until_said(sentence)
        assert {name: row["pid"] for name, row in supervised.rows().items()} == {
            name: row["pid"] for name, row in before.items()
        }
        c = instance("c", SLEEPER, tmp_path)
        changed = replace(supervised.plan, instances=(a, replace(b, start_timeout_s=7.0), c))
        (tmp_path / "next.json").write_text(plan_to_json(changed))
        (tmp_path / "planner.py").write_text(f"print(open({str(tmp_path / 'next.json')!r}).read())")
        supervised.ask("reload")
        supervised.until(lambda rows: rows.get("c.1", {}).get("state") == "ready", "c runs")
        supervised.until(lambda rows: rows["b.1"]["generation"] == 2, "b was replaced")
        assert supervised.rows()["a.1"]["pid"] == before["a.1"]["pid"], "a did not change and was not touched"
        assert supervised.stop() == 0


def test_a_reload_that_names_a_taken_port_changes_nothing(tmp_path: Path) -> None:
    from whalefall.plan import Command, plan_to_json
    from whalefall.plan.records import replace

    planner = Command(("cat", str(tmp_path / "next.json")), str(tmp_path), {"PATH": os.environ["PATH"]})
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path), replan=planner) as supervised:
        pid = supervised.until_ready()["a.1"]["pid"]
        with socket.create_server(("127.0.0.1", 0)) as taken:
            listener = Listener("web", f"127.0.0.1:{taken.getsockname()[1]}")
            (tmp_path / "next.json").write_text(plan_to_json(replace(supervised.plan, listeners=(listener,))))
            with pytest.raises(ControlError, match="nothing is changed: cannot listen on"):
                supervised.ask("reload")
            supervised.until_said("reload: nothing is changed: cannot listen on")
        assert supervised.rows()["a.1"]["pid"] == pid


def test_a_crash_leaves_a_dossier_that_says_why(tmp_path: Path) -> None:
    crash_dir = tmp_path / "crashes"
    code = "import sys; hold = bytearray(50_000_000); print('about to fail'); sys.exit('ledger is locked')"
    probe = Probe("tcp", address="127.0.0.1:1")
    policy = RestartPolicy(first_s=0.01, max_s=0.01, on_give_up="stop")
    broken = instance("broken", python(code), tmp_path, ready=probe, restart=policy)
    with Supervised(tmp_path, broken, instance("a", SLEEPER, tmp_path), crash_dir=str(crash_dir)) as supervised:
        supervised.until(lambda rows: rows and rows["broken.1"]["state"] == "failed", "it has given up")
        found = supervised.ask("why", "broken", lines=10)["dossiers"]
        assert supervised.ask("why", "a")["dossiers"] == []
    assert len(found) == 5
    last = found[-1]
    assert last["what"].startswith("broken.1 exited with code 1")
    assert last["lines"] == ["about to fail", "ledger is locked"]
    assert last["ready_after_s"] is None
    assert last["peak_memory_bytes"] > 50_000_000
    assert len(list(crash_dir.glob("*.json"))) == 5


def test_events_tell_what_somebody_asked_for(tmp_path: Path) -> None:
    with Supervised(tmp_path, instance("web", SLEEPER, tmp_path)) as supervised:
        supervised.until_ready("web.1")
        for command in ("restart", "reload", "stop", "start"):
            supervised.ask(command, "web")
            told = [event["text"] for event in supervised.ask("events")["events"]]
            assert f"{command} web.1: asked for" in told


def test_events_tell_what_the_supervisor_did(tmp_path: Path) -> None:
    from whalefall.control.client import stream
    from whalefall.control.protocol import Request

    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path)) as supervised:
        pid = supervised.until_ready()["a.1"]["pid"]
        followed = stream(supervised.run_dir, Request("events", follow=True, lines=10), timeout_s=20)
        assert "a.1 is ready" in next(followed)["text"]
        os.kill(pid, signal.SIGKILL)
        event = next(followed)
        assert event["level"] == "warning"
        assert "a.1 was killed by signal 9 (SIGKILL)" in event["text"]
        assert any("SIGKILL" in each["text"] for each in supervised.ask("events")["events"])


def test_reload_and_scale_answer_when_the_planner_has(tmp_path: Path) -> None:
    from whalefall.plan import Command, plan_to_json
    from whalefall.plan.records import replace

    asked = str(tmp_path / "asked")
    code = f"import sys; open({asked!r}, 'w').write(' '.join(sys.argv[1:])); sys.exit('scheduler=2 is refused')"
    planner = Command((sys.executable, "-c", code), str(tmp_path), {"PATH": os.environ["PATH"]})
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path), replan=planner) as supervised:
        supervised.until_ready()
        with pytest.raises(
            ControlError, match="nothing is changed: the planner exited with code 1: scheduler=2 is refused"
        ):
            supervised.ask("scale", options={"scheduler": 2})
        assert (tmp_path / "asked").read_text() == "--scale scheduler=2"
        with pytest.raises(ControlError, match="needs a number for each service"):
            supervised.ask("scale", options={"web": "many"})
        with pytest.raises(ControlError, match="scheduler=2 is refused"):
            supervised.ask("reload")
        assert (tmp_path / "asked").read_text() == "", "what was refused is not asked for again"
    two = replace(instance("a", SLEEPER, tmp_path), number=2)
    plan = replace(supervised.plan, instances=(instance("a", SLEEPER, tmp_path), two))
    (tmp_path / "next.json").write_text(plan_to_json(plan))
    planner = Command(("sh", "-c", f"cat {tmp_path / 'next.json'}"), str(tmp_path), {"PATH": os.environ["PATH"]})
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path), replan=planner) as supervised:
        supervised.until_ready()
        assert supervised.ask("scale", options={"a": 2}) == {"accepted": ["a.1", "a.2"], "changed": ["a.2"]}
        supervised.until_ready("a.1", "a.2")


def test_a_full_log_disk_is_reported_and_supervision_goes_on(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "a.1.log").symlink_to("/dev/full")
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path), log_dir=str(logs)) as supervised:
        supervised.until_said("cannot write")
        assert "No space left on device" in supervised.output()
        pid = supervised.until_ready()["a.1"]["pid"]
        os.kill(pid, signal.SIGKILL)
        supervised.until(lambda rows: rows["a.1"]["generation"] == 2, "it is back")
        assert "a.1 was killed by signal 9" in (logs / "whalefall.log").read_text()
        assert supervised.stop() == 0


NOTIFIER = python(
    """
import os, socket, time
time.sleep(0.3)
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as up:
    up.sendto(b"STATUS=warm\\nREADY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(3600)
"""
)


def test_a_service_that_notifies_is_ready_when_it_says_so_and_nobody_else_can_say_it(tmp_path: Path) -> None:
    slow = instance("slow", python("import time; time.sleep(3600)"), tmp_path, ready=Probe("notify"))
    good = instance("good", NOTIFIER, tmp_path, ready=Probe("notify"))
    with Supervised(tmp_path, slow, good) as supervised:
        supervised.until_ready("good.1")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"READY=1", str(supervised.run_dir / "notify.sock"))
        supervised.ask("stop", "good")
        supervised.until(lambda rows: rows["good.1"]["state"] == "stopped", "a later request is served")
        assert supervised.rows()["slow.1"]["state"] == "starting"


# http.server dies of SIGTERM in the middle of an answer; this one answers whom it has accepted, then leaves.
FINISHES_WHEN_ASKED = """
import signal
asked = []
signal.signal(15, lambda *_: asked.append(True))
server.timeout = 0.05
while not asked:
    server.handle_request()
"""


def test_a_process_that_grows_is_replaced_without_a_gap_and_why_says_so(tmp_path: Path) -> None:
    port = free_port()
    growing = SERVER[-1].replace("self.send_response", "kept.append(b'x' * 1_000_000); self.send_response")
    growing = growing.replace("server.serve_forever()", FINISHES_WHEN_ASKED)
    probe, limit = Probe("tcp", address=f"127.0.0.1:{port}"), MemoryLimit(60_000_000, period_s=0.1, settle_s=0.1)
    web = instance(
        "web", python(f"kept = []\n{growing}"), tmp_path, listeners=("web",), ready=probe, memory=limit,
        replace="start_first",
    )  # fmt: skip
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        supervised.until_ready()
        pids = set()
        wait_until(lambda: pids.add(get(port)) or len(pids) > 2, "two generations were replaced", 60, supervised.output)
        supervised.until_said("of memory, more than its limit of 57 MB, and is replaced")
        row = supervised.rows()["web.1"]
        found = supervised.ask("why", "web", lines=1)["dossiers"][-1]
        assert supervised.stop() == 0
    assert row["restarts"] == 0, "it has not crashed"
    assert found["peak_memory_bytes"] > 60_000_000
    assert found["what"].startswith("web.1 holds ")
    assert "crash 0 of 10" in found["crashes"]


def test_a_service_that_misses_its_watchdog_is_replaced_and_why_says_so(tmp_path: Path) -> None:
    code = """
import os, socket, time
assert os.environ["WATCHDOG_PID"] == str(os.getpid())
period_s = int(os.environ["WATCHDOG_USEC"]) / 2_000_000
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as up:
    for _ in range(8):
        up.sendto(b"WATCHDOG=1", os.environ["NOTIFY_SOCKET"])
        time.sleep(period_s)
print("enough", flush=True)
time.sleep(3600)
"""
    dog = instance("dog", python(code), tmp_path, watchdog_s=1.0)
    with Supervised(tmp_path, dog, instance("other", SLEEPER, tmp_path)) as supervised:
        supervised.until_said("dog.1 no longer says that it is alive (no WATCHDOG=1 within 1 s); restarting it")
        assert "enough" in supervised.output(), "it was ended while it still said so"
        supervised.until(lambda rows: rows["dog.1"]["generation"] == 2, "the second generation runs")
        (found,) = supervised.ask("why", "dog")["dossiers"]
        assert found["what"].startswith("dog.1 no longer answered")
        assert found["last_probe"] == "no WATCHDOG=1 within 1 s"
        assert "WATCHDOG_USEC" not in psutil.Process(supervised.rows()["other.1"]["pid"]).environ()


def test_a_service_manager_above_us_is_told(tmp_path: Path) -> None:
    planner = python("import sys; sys.exit(1)")
    from whalefall.plan import Command

    replan = Command(planner, str(tmp_path), {"PATH": os.environ["PATH"]})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as above:
        above.bind(str(tmp_path / "systemd.sock"))
        above.settimeout(20)
        supervised = Supervised(tmp_path, instance("a", SLEEPER, tmp_path), replan=replan)
        supervised.environ = {"NOTIFY_SOCKET": str(tmp_path / "systemd.sock"), "WATCHDOG_USEC": "200000"}
        with supervised:

            def hear(wanted: str) -> str:
                while True:
                    said = above.recv(4_096).decode()
                    if wanted in said:
                        return said

            hear("READY=1")
            hear("WATCHDOG=1")
            hear("WATCHDOG=1")
            os.kill(supervised.pid, signal.SIGHUP)
            assert "MONOTONIC_USEC=" in hear("RELOADING=1")
            hear("READY=1")
            assert "NOTIFY_SOCKET" not in psutil.Process(supervised.rows()["a.1"]["pid"]).environ()
            assert supervised.stop() == 0
            hear("STOPPING=1")


def test_a_failed_services_socket_refuses_at_once_and_works_again_when_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    gate = tmp_path / "gate"
    code = f"import os, sys\nif not os.path.exists({str(gate)!r}): sys.exit(1)\n" + SERVER[-1]
    policy = RestartPolicy(first_s=0.01, max_s=0.01, on_give_up="degrade", degraded_retry_s=0.5)
    probe = Probe("http", address=f"127.0.0.1:{port}")
    web = instance("web", python(code), tmp_path, listeners=("web",), ready=probe, restart=policy)
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        supervised.until_said("giving up; the others go on without it")
        supervised.until(lambda rows: rows["web.1"]["state"] == "failed", "it has failed")
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            get(port)
        gate.write_text("open")
        supervised.until_ready()
        assert get(port) == supervised.rows()["web.1"]["pid"]


def test_several_requests_at_once_leave_no_generation_behind(tmp_path: Path) -> None:
    port = free_port()
    probe = Probe("tcp", address=f"127.0.0.1:{port}")
    web = instance("web", SERVER, tmp_path, listeners=("web",), ready=probe, replace="start_first")
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        supervised.until_ready()
        peers = []
        os.kill(supervised.pid, signal.SIGSTOP)  # so that all of them are read in one turn
        for _ in range(5):
            peer = socket.socket(socket.AF_UNIX)
            peer.connect(str(supervised.control_path()))
            peer.sendall(b'{"command":"restart","target":"web.1"}\n')
            peers.append(peer)
        os.kill(supervised.pid, signal.SIGCONT)
        for peer in peers:
            assert b"accepted" in peer.recv(4_096)
            peer.close()
        supervised.until(
            lambda rows: rows["web.1"]["state"] == "ready" and not rows["web.1"]["replacing"], "it has settled"
        )
        supervised.until(lambda rows: rows["web.1"]["draining"] == 0, "the generations in between are gone")
        ours = psutil.Process(supervised.pid)
        wait_until(lambda: len(ours.children()) == 2, "one generation and the guardian are left")
        assert supervised.stop() == 0


def test_running_out_of_descriptors_ends_nothing(tmp_path: Path) -> None:
    port = free_port()
    live = Probe("tcp", address=f"127.0.0.1:{port}", period_s=0.1, timeout_s=1, failures=1_000_000)
    policy = RestartPolicy(first_s=0.05, max_s=0.1, crashes=100_000, early_crashes=100_000)
    web = instance("web", SERVER, tmp_path, listeners=("web",), ready=live, live=live, restart=policy)
    with Supervised(tmp_path, web, listeners=(Listener("web", f"127.0.0.1:{port}"),)) as supervised:
        supervised.until_ready()
        ours = psutil.Process(supervised.pid)
        before = ours.rlimit(psutil.RLIMIT_NOFILE)
        ours.rlimit(psutil.RLIMIT_NOFILE, (4, before[1]))
        pid = get(port)
        os.kill(pid, signal.SIGKILL)
        supervised.until_said("could not be started: [Errno 24] Too many open files")
        ours.rlimit(psutil.RLIMIT_NOFILE, before)
        supervised.until(lambda rows: rows and rows["web.1"]["state"] == "ready", "it is back")
        assert supervised.stop() == 0


def test_a_failed_services_listener_can_be_moved_by_a_reload(tmp_path: Path) -> None:
    from whalefall.plan import Command, plan_to_json
    from whalefall.plan.records import replace

    policy = RestartPolicy(first_s=0.01, max_s=0.01, on_give_up="stop")
    broken = instance(
        "web", python("raise SystemExit(1)"), tmp_path, listeners=("web",), ready=Probe("http"), restart=policy
    )
    planner = Command(("cat", str(tmp_path / "next.json")), str(tmp_path), {"PATH": os.environ["PATH"]})
    old, new = free_port(), free_port()
    other = instance("other", SLEEPER, tmp_path)
    listeners = (Listener("web", f"127.0.0.1:{old}"),)
    with Supervised(tmp_path, broken, other, listeners=listeners, replan=planner) as supervised:
        supervised.until(lambda rows: rows and rows["web.1"]["state"] == "failed", "it has failed")
        probe = Probe("tcp", address=f"127.0.0.1:{new}")
        good = replace(broken, command=replace(broken.command, argv=SERVER), ready=probe)
        plan = replace(supervised.plan, instances=(good, other), listeners=(Listener("web", f"127.0.0.1:{new}"),))
        (tmp_path / "next.json").write_text(plan_to_json(plan))
        supervised.ask("reload")
        supervised.until_ready("web.1", "other.1")
        assert get(new) == supervised.rows()["web.1"]["pid"]
        assert supervised.stop() == 0


def test_followers_that_go_away_are_forgotten(tmp_path: Path) -> None:
    from whalefall.control.client import stream
    from whalefall.control.protocol import Request

    counter = python("import time\nfor i in range(10**9):\n print('line', i, flush=True); time.sleep(0.001)")
    with Supervised(tmp_path, instance("web", counter, tmp_path)) as supervised:
        supervised.until_said("line 3")
        for _ in range(20):
            followed = stream(supervised.run_dir, Request("logs", "web", follow=True, lines=1), timeout_s=20)
            assert next(followed)["name"] == "web.1"
            followed.close()
        ours = psutil.Process(supervised.pid)
        wait_until(lambda: len(ours.net_connections("unix")) <= 4, "their connections are closed")


def test_a_command_that_is_a_probe_and_does_not_answer_ends_with_all_that_it_started(tmp_path: Path) -> None:
    code = f"""
import subprocess, sys, time
sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
with open({str(tmp_path / "asked")!r}, "w") as file:
    file.write(f"{{sleeper.pid}}\\n")
time.sleep(3600)
"""
    ready = Probe("exec", argv=python(code), period_s=60, timeout_s=5)
    with Supervised(tmp_path, instance("a", SLEEPER, tmp_path, ready=ready)) as supervised:
        sleeper = int(read_when_written(tmp_path / "asked"))
        assert alive(sleeper)
        wait_until(lambda: not alive(sleeper), "what the probe started is killed with it", 30, supervised.output)
        assert supervised.rows()["a.1"]["state"] == "starting", "the service itself is left alone"
