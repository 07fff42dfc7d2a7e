"""The roles for real: under `serve`, under honcho, one at a time as on a PaaS; with our commands and with anyone's."""

import json
import os
import py_compile
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from tests.support.shell import Shell, children_of, honcho
from tests.support.supervised import ROOT, free_port
from tests.support.waiting import wait_until
from whalefall.planner import nginx

CONFIGURATIONS = ("gunicorn-prod.conf.py", "gunicorn-scheduler.conf.py")
APPLICATION = """
import json, os

def app(environ, start_response):
    told = {
        "scheduler": os.environ.get("ENABLE_SCHEDULER"),
        "ps": os.environ.get("PS"),
        "port": os.environ.get("PORT"),
        "secret": os.environ.get("SECRET_KEY"),
        "path": environ["PATH_INFO"],
        "host": environ["HTTP_HOST"],
        "pid": os.getpid(),
        "master": os.getppid(),
        "inherited": sorted(name for name in os.environ if name.startswith("LISTEN_")),
    }
    body = json.dumps(told).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path)
    shell.environ["LOG_LEVEL"] = "warning"
    shell.write("told.py", APPLICATION)
    yield shell
    left = children_of(shell)
    for process in left:
        process.kill()
    assert not left, shell.log()


def ask(port: int | str, path: str = "/") -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
        return json.loads(answer.read())


def answers(port: int | str, path: str = "/") -> Any:
    try:
        return ask(port, path)
    except (OSError, urllib.error.URLError):
        return None


def until_answers(shell: Shell, port: int | str, path: str = "/") -> Any:
    return wait_until(lambda: answers(port, path), f"port {port} answers", 40, shell.log)


class Serving:
    """`whalefall serve …`, ready; stopped with exit code 0 at the end."""

    def __init__(self, shell: Shell, *words: str) -> None:
        self.shell = shell
        self.process = shell.start("serve", *words)

    def __enter__(self) -> Self:
        wait_until(self.all_ready, "everything is ready", 60, self.shell.log)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(40)
        assert code == 0, self.shell.log()

    def rows(self) -> dict[str, dict[str, Any]]:
        done = self.shell.run("status", "--json")
        return {row["name"]: row for row in json.loads(done.stdout)["instances"]} if done.returncode == 0 else {}

    def all_ready(self) -> bool:
        assert self.process.poll() is None, self.shell.log()
        rows = self.rows()
        return bool(rows) and all(row["state"] == "ready" for row in rows.values())


# The two Gunicorn configurations


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_configurations_compile_and_gunicorn_accepts_them(shell: Shell, name: str, tmp_path: Path) -> None:
    path = nginx.templates() / "gunicorn" / name
    py_compile.compile(str(path), cfile=str(tmp_path / "x.pyc"), doraise=True)
    done = gunicorn(shell, "--check-config", "-c", str(path), "told:app")
    assert (done.returncode, done.stderr) == (0, "")


def gunicorn(shell: Shell, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gunicorn", *words],
        cwd=shell.directory,
        env=shell.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def printed(shell: Shell, name: str, **environ: str) -> dict[str, str]:
    """What `gunicorn --print-config` says of our file."""
    shell.environ |= environ
    done = gunicorn(shell, "--print-config", "-c", str(nginx.templates() / "gunicorn" / name), "told:app")
    assert done.returncode == 0, done.stderr
    pairs = (line.partition("=") for line in done.stdout.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def test_the_web_configuration_follows_its_settings(shell: Shell) -> None:
    found = printed(shell, "gunicorn-prod.conf.py", REQUEST_TIMEOUT="33", WEB_THREADS="3", PORT="7001", PS="web.1")
    assert (found["workers"], found["threads"], found["worker_class"]) == ("2", "3", "gthread")
    assert (found["timeout"], found["preload_app"], found["accesslog"]) == ("33", "False", "None")
    assert "0.0.0.0:7001" in found["bind"]
    assert int(found["graceful_timeout"]) < 9
    assert int(found["max_requests_jitter"]) > 0


def test_the_scheduler_configuration_keeps_its_one_worker(shell: Shell) -> None:
    logs = shell.directory / "logs"
    found = printed(shell, "gunicorn-scheduler.conf.py", WEB_CONCURRENCY="4", LOG_DIR=str(logs), PORT="7001")
    assert (found["workers"], found["max_requests"], found["preload_app"]) == ("1", "0", "False")
    assert found["proc_name"] == "whalefall-scheduler"
    assert shell.environ["SCHEDULER_LISTEN"] in found["bind"]
    assert found["accesslog"] == str(logs / "scheduler-access.log")
    assert found["errorlog"] == str(logs / "scheduler-error.log")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("--preload", "threads do not survive the fork"),
        ("--workers=2", "workers = 2 is refused"),
        ("--max-requests=10", "max_requests is refused"),
    ],
)
def test_what_would_give_the_jobs_a_second_owner_is_refused(shell: Shell, word: str, reason: str) -> None:
    done = gunicorn(shell, "-c", str(nginx.templates() / "gunicorn" / "gunicorn-scheduler.conf.py"), word, "told:app")
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_each_generation_has_its_own_control_socket_and_old_ones_are_forgotten(shell: Shell) -> None:
    run = shell.directory / "run"
    run.mkdir()
    for generation in (1, 7, 8):
        (run / f"web.1#{generation}.gunicorn.ctl").touch()
    (run / "web.10#1.gunicorn.ctl").touch()
    found = printed(shell, "gunicorn-prod.conf.py", PS="web.1", WHALEFALL_LIFE="web.1#9")
    assert found["control_socket"] == str(run / "web.1#9.gunicorn.ctl")
    left = sorted(each.name for each in run.glob("*.ctl"))
    assert left == ["web.1#8.gunicorn.ctl", "web.10#1.gunicorn.ctl"]


# One process type at a time, as on a PaaS


class Alone:
    """One role by itself."""

    def __init__(self, shell: Shell, *words: str) -> None:
        self.process = shell.start(*words)

    def __enter__(self) -> subprocess.Popen[str]:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(40)


def test_web_alone_listens_on_the_port_that_it_is_given(shell: Shell) -> None:
    port = shell.environ["PORT"]
    shell.environ["ENABLE_SCHEDULER"] = "true"
    with Alone(shell, "web", "told:app") as process:
        told = until_answers(shell, port)
        assert told["scheduler"] == "false"
        assert told["master"] == process.pid  # exec'd: the process that was started is Gunicorn itself


@pytest.mark.parametrize("port", [None, ""])
def test_web_alone_without_a_port_listens_where_nginx_looks_for_it(shell: Shell, port: str | None) -> None:
    del shell.environ["PORT"]
    if port is not None:
        shell.environ["PORT"] = port
    with Alone(shell, "web", "told:app"):
        until_answers(shell, shell.environ["WEB_LISTEN"].rpartition(":")[2])


def test_scheduler_alone_listens_on_its_own_address_whatever_port_says(shell: Shell) -> None:
    shell.environ["ENABLE_SCHEDULER"] = "false"
    with Alone(shell, "scheduler", "told:app"):
        assert until_answers(shell, shell.environ["SCHEDULER_LISTEN"].rpartition(":")[2])["scheduler"] == "true"
        assert answers(shell.environ["PORT"]) is None


def test_the_roles_share_one_secret(shell: Shell) -> None:
    with Alone(shell, "web", "told:app"), Alone(shell, "scheduler", "told:app"):
        web = until_answers(shell, shell.environ["PORT"])
        scheduler = until_answers(shell, shell.environ["SCHEDULER_LISTEN"].rpartition(":")[2])
    assert web["secret"] == scheduler["secret"] == (shell.directory / "var" / "secret_key").read_text().strip()


def test_a_role_reads_dotenv_and_the_real_environment_wins(shell: Shell) -> None:
    shell.write(".env", f"PORT=1\nWHALEFALL_APP=told:app\nWEB_LISTEN={shell.environ['WEB_LISTEN']}\n")
    with Alone(shell, "web"):
        assert until_answers(shell, shell.environ["PORT"])["path"] == "/"


def test_a_socket_that_is_inherited_wins_over_the_port(shell: Shell) -> None:
    """systemd, or another whalefall of another Python, holds the socket: LISTEN_PID is this very process after exec."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port, descriptor = held.getsockname()[1], held.fileno()
        script = f"import os; os.dup2({descriptor}, 3); os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()));"
        script += "os.execv(os.sys.executable, [os.sys.executable, '-m', 'whalefall', 'web', 'told:app'])"
        with (shell.directory / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", script],
                cwd=shell.directory,
                env=shell.environ,
                pass_fds=(descriptor, 3) if descriptor != 3 else (3,),
                stdout=log,
                stderr=log,
            )
        try:
            until_answers(shell, port)
            assert answers(shell.environ["PORT"]) is None
        finally:
            process.terminate()
            process.wait(40)


NGINX = nginx.find("nginx", os.environ["PATH"])
needs_nginx = pytest.mark.skipif(not NGINX, reason="nginx is not installed (apt install nginx)")


@needs_nginx
def test_nginx_alone_passes_on_to_the_addresses_of_the_settings(shell: Shell) -> None:
    port = shell.environ.pop("PORT")
    with Alone(shell, "web", "told:app"), Alone(shell, "scheduler", "told:app"):
        shell.environ["PORT"] = port
        with Alone(shell, "nginx"):
            assert until_answers(shell, port, "/x")["scheduler"] == "false"
            assert until_answers(shell, port, "/api/v1/scheduler/jobs")["scheduler"] == "true"


def test_nginx_alone_without_nginx_says_so(shell: Shell) -> None:
    shell.environ["NGINX_BINARY"] = ""
    done = shell.run("nginx")
    assert done.returncode == 2
    assert "there is no nginx program here. Install it (apt install nginx)" in done.stderr


@needs_nginx
def test_the_same_procfile_runs_under_honcho(shell: Shell) -> None:
    """honcho gives each type a PORT of its own; our Nginx finds web by the same rule."""
    shutil.copy(ROOT / "Procfile", shell.directory / "Procfile")
    base = room_for_three()
    shell.environ |= {"PORT": str(base), "WHALEFALL_APP": "told:app"}
    del shell.environ["WEB_LISTEN"]
    with honcho(shell):
        told = until_answers(shell, base, "/x")
        assert (told["scheduler"], told["port"]) == ("false", str(base + 100))
        assert until_answers(shell, base, "/api/v1/scheduler/jobs")["scheduler"] == "true"


def room_for_three() -> int:
    """A base port with free neighbours at +100 and +200."""
    for _ in range(50):
        base = free_port()
        if base + 200 <= 65_535 and all(is_free(base + step) for step in (100, 200)):
            return base
    raise AssertionError("no three free ports in fifty tries")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


# Under serve


@needs_nginx
def test_serve_runs_the_three_with_their_roles(shell: Shell) -> None:
    port = shell.environ["PORT"]
    with Serving(shell, "told:app") as serving:
        web, scheduler = ask(port, "/x"), ask(port, "/api/v1/scheduler/jobs")
        assert (web["scheduler"], web["ps"]) == ("false", "web.1")
        assert (scheduler["scheduler"], scheduler["ps"]) == ("true", "scheduler.1")
        assert web["host"] == scheduler["host"] == f"127.0.0.1:{port}"
        assert web["secret"] == scheduler["secret"]
        assert set(web["inherited"]) <= {"LISTEN_FDNAMES"}  # Gunicorn takes the others out of its environment
        rows = serving.rows()
        assert web["master"] == rows["web.1"]["pid"]
        titles = {name: psutil.Process(rows[name]["pid"]).cmdline()[0] for name in ("web.1", "scheduler.1")}
        assert titles == {
            "web.1": "gunicorn: master [whalefall-web]",
            "scheduler.1": "gunicorn: master [whalefall-scheduler]",
        }
        assert len(psutil.Process(rows["web.1"]["pid"]).children()) == 2
        assert len(psutil.Process(rows["scheduler.1"]["pid"]).children()) == 1
        assert shell.run("health").stdout == "ok\n"


@needs_nginx
def test_serve_runs_with_a_busy_public_port_from_the_first_connection_on(shell: Shell) -> None:
    """The socket listens before Nginx does: what connects early waits, and no worker sleeps on it for ever."""
    process = shell.start("serve", "told:app")
    port = int(shell.environ["PORT"])
    early: list[socket.socket] = []
    try:
        # Before that the planner has tried the port, and who came in that moment was sent away.
        wait_until((shell.directory / "run" / "control.sock").exists, "PID 1 is there", 30, shell.log)
        wait_until(lambda: connected(port, early), "the public port listens", 30, shell.log)
        for _ in range(5):
            connected(port, early)
        for each in early:
            each.sendall(b"GET /early HTTP/1.0\r\nHost: x\r\n\r\n")
        for each in early:
            each.settimeout(30)
            assert b"200 OK" in each.recv(65_536), shell.log()
    finally:
        for each in early:
            each.close()
        process.terminate()
        code = process.wait(40)
    assert code == 0, shell.log()
    assert "is killed" not in shell.log()


def connected(port: int, into: list[socket.socket]) -> bool:
    connection = socket.socket()
    if connection.connect_ex(("127.0.0.1", port)) != 0:
        connection.close()
        return False
    into.append(connection)
    return True


def test_without_nginx_the_same_addresses_work(shell: Shell) -> None:
    shell.environ["NGINX_BINARY"] = ""
    port = shell.environ["PORT"]
    with Serving(shell, "told:app"):
        assert ask(port, "/x")["scheduler"] == "false"
        forwarded = ask(port, "/api/v1/scheduler/jobs")
        assert (forwarded["scheduler"], forwarded["path"]) == ("true", "/api/v1/scheduler/jobs")
        assert "direct mode: NGINX_BINARY is empty" in shell.log()
        assert shell.run("health").stdout == "ok\n"


def test_control_commands_do_what_they_say(shell: Shell) -> None:
    shell.write("Procfile", "worker: echo hello from worker; exec sleep 1000\nother: sleep 1000\n")
    with Serving(shell) as serving:
        before = serving.rows()["worker.1"]
        done = shell.run("restart", "worker")
        assert done.returncode == 0, done.stderr
        after = serving.rows()["worker.1"]
        assert after["pid"] != before["pid"]
        assert done.stdout == f"worker.1 restarted (pid {after['pid']})\n"
        assert shell.run("stop", "worker").stdout == "worker.1 stopped\n"
        assert serving.rows()["worker.1"]["state"] == "stopped"
        assert shell.run("start", "worker.1").stdout.startswith("worker.1 ready (pid ")
        assert "worker.1 | hello from worker" in shell.run("logs", "worker", "-n", "5").stdout
        table = shell.run("status").stdout
        assert "worker.1  ready" in table
        done = shell.run("restart", "wroker")
        assert done.returncode == 1
        assert "'wroker'" in done.stderr


def test_shutdown_waits_until_it_is_done(shell: Shell) -> None:
    shell.write("Procfile", "worker: sleep 1000\n")
    process = shell.start("serve")
    wait_until(lambda: "ready" in shell.run("status").stdout, "it runs", 30, shell.log)
    done = shell.run("shutdown")
    assert (done.returncode, done.stdout) == (0, "stopped\n")
    assert process.wait(20) == 0


def test_logs_follow_until_interrupted(shell: Shell) -> None:
    shell.write("Procfile", "worker: while :; do echo tick; sleep 0.2; done\n")
    with Serving(shell), (shell.directory / "followed").open("w") as output:
        follower = subprocess.Popen(
            [sys.executable, "-m", "whalefall", "logs", "-f", "worker"],
            cwd=shell.directory,
            env=shell.environ,
            stdout=output,
            stderr=output,
        )
        followed = shell.directory / "followed"
        wait_until(lambda: followed.read_text().count("worker.1 | tick\n") > 2, "lines come", 30, followed.read_text)
        follower.send_signal(signal.SIGINT)
        assert follower.wait(20) == 130
        assert "Traceback" not in followed.read_text()


# Anyone's Procfile

OWN_GUNICORN = """
import os
bind = "{address}"
workers = 1
worker_class = "sync"
"""


def test_a_procfile_of_plain_commands_runs_as_it_is(shell: Shell) -> None:
    web, scheduler = free_port(), free_port()
    shell.write("own.conf.py", OWN_GUNICORN.format(address=f"127.0.0.1:{web}"))
    shell.write(
        "Procfile",
        "web: gunicorn -c own.conf.py told:app\n"
        f"scheduler: gunicorn --workers 1 --bind 127.0.0.1:{scheduler} told:app\n"
        "worker: sleep 1000\n",
    )
    with Serving(shell) as serving:
        assert until_answers(shell, web)["scheduler"] == "false"
        assert until_answers(shell, scheduler)["scheduler"] == "true"
        assert {row["state"] for row in serving.rows().values()} == {"ready"}
        sockets = sorted(path.name for path in (shell.directory / "run").glob("*.gunicorn.ctl"))
        assert sockets == ["scheduler.1.gunicorn.ctl", "web.1.gunicorn.ctl"]


def test_a_socket_is_held_for_a_plain_command_through_its_death(shell: Shell) -> None:
    port = free_port()
    shell.write("own.conf.py", OWN_GUNICORN.format(address="127.0.0.1:1"))
    shell.write("Procfile", "web: gunicorn -c own.conf.py told:app\n")
    shell.write("whalefall.toml", f'[services.web]\nlisten = ["127.0.0.1:{port}"]\nready = "/health"\n')
    with Serving(shell) as serving:
        first = ask(port)
        os.kill(first["master"], signal.SIGKILL)
        for _ in range(20):
            assert ask(port)["path"] == "/"
        wait_until(lambda: serving.rows()["web.1"]["restarts"] >= 1, "it was restarted", 30, shell.log)
        assert ask(port)["master"] != first["master"] or ask(port)["pid"] == first["pid"]


OWN_NGINX = """
pid {run}/own.pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {run}/a; proxy_temp_path {run}/b; fastcgi_temp_path {run}/c;
    uwsgi_temp_path {run}/d; scgi_temp_path {run}/e;
    server {{ listen 127.0.0.1:{port}; location / {{ return 200 '"mine"'; }} }}
}}
"""


@needs_nginx
@pytest.mark.parametrize("held", [True, False])
def test_anyones_nginx_runs_in_the_foreground_and_stops_by_quit(shell: Shell, held: bool) -> None:
    port = free_port()
    (shell.directory / "tmp").mkdir()
    shell.write("own.conf", OWN_NGINX.format(run=shell.directory / "tmp", port=port))
    shell.write("Procfile", "nginx: nginx -c own.conf\n")
    if held:
        shell.write("whalefall.toml", f'[services.nginx]\nlisten = ["127.0.0.1:{port}"]\nready = "/"\n')
    with Serving(shell) as serving:
        assert until_answers(shell, port) == "mine"
        assert serving.rows()["nginx.1"]["restarts"] == 0
    assert "nginx: added -g 'daemon off;'" in shell.log()
    assert "signal 3 (SIGQUIT) received" in shell.log()
