"""What a person sees when `serve` cannot start: one sentence, exit code 2, and nothing left running."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.shell import ANSWER_WITHIN_S, Shell, children_of
from tests.support.waiting import wait_until


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def refused(shell: Shell, *words: str) -> str:
    """The one sentence of a refusal; nothing was started, nothing printed besides."""
    done = shell.run(*words)
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert re.fullmatch(r"whalefall: [^\n]+\n", done.stderr), done.stderr
    assert not children_of(shell)
    return done.stderr


def test_a_bad_line_of_the_procfile(shell: Shell) -> None:
    shell.write("Procfile", "web: sleep 1\nwroker sleep 1\n")
    assert "Procfile:2: 'wroker sleep 1' has no colon. Write `name: command`" in refused(shell, "serve")


def test_a_process_that_is_defined_twice(shell: Shell) -> None:
    shell.write("Procfile", "web: sleep 1\nweb: sleep 2\n")
    assert "Procfile:2: 'web' is already defined on line 1." in refused(shell, "serve")


def test_a_procfile_that_is_not_there(shell: Shell) -> None:
    assert "nope/Procfile: there is no such Procfile" in refused(shell, "serve", "-f", "nope/Procfile")


def test_a_program_that_is_not_there(shell: Shell) -> None:
    shell.write("Procfile", "worker: celrey worker\n")
    assert "Procfile:1: there is no program 'celrey' on PATH" in refused(shell, "serve")


def test_an_application_that_is_not_there(shell: Shell) -> None:
    shell.write("shop.py", "")
    text = refused(shell, "serve", "shpo:app")
    assert "there is no module 'shpo'" in text
    assert "Did you mean 'shop'?" in text


def test_a_port_that_is_taken_names_who_has_it(shell: Shell) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(shell.environ["PORT"])))
        other.listen()
        text = refused(shell, "serve")
    assert f"port {shell.environ['PORT']} is taken by {psutil.Process().name()} (pid {os.getpid()})" in text
    assert "choose another by --port or PORT." in text


def test_an_inner_port_that_is_taken_names_its_setting(shell: Shell) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(shell.environ["SCHEDULER_LISTEN"].rpartition(":")[2])))
        other.listen()
        assert "choose another by SCHEDULER_LISTEN." in refused(shell, "serve")


@pytest.mark.parametrize("binary", ["", "nginx"])
def test_an_address_of_another_machine(shell: Shell, binary: str) -> None:
    shell.environ["HOST"] = "192.0.2.1"  # RFC 5737: nobody's
    shell.environ["NGINX_BINARY"] = binary
    assert "this machine has no address 192.0.2.1. Check HOST." in refused(shell, "serve")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ENABLE_SCHEDULER", "maybe"),
        ("PORT", "http"),
        ("WEB_CONCURRENCY", "0"),
        ("LOG_FORMAT", "xml"),
        ("TLS_KEY", "k"),
    ],
)
def test_a_bad_setting_names_its_variable(shell: Shell, name: str, value: str) -> None:
    shell.environ[name] = value
    assert name in refused(shell, "serve")


def test_a_bad_line_of_dotenv(shell: Shell) -> None:
    shell.write(".env", 'A=1\n\nB="open\n')
    assert '.env:3: the value of B opens with " and never closes.' in refused(shell, "serve")


def test_a_bad_option(shell: Shell) -> None:
    shell.write("pyproject.toml", '[tool.whalefall.services.web]\nreddy = "/"\n')
    assert "has no key 'reddy'. Did you mean 'ready'?" in refused(shell, "serve")


def test_two_schedulers(shell: Shell) -> None:
    assert "scheduler=2 is refused: two schedulers on one host" in refused(shell, "serve", "-c", "scheduler=2")


def test_a_run_dir_that_somebody_prepared(shell: Shell) -> None:
    (shell.directory / "target").mkdir()
    (shell.directory / "run").symlink_to(shell.directory / "target")
    assert "RUN_DIR: " in (text := refused(shell, "serve"))
    assert "is no directory (a link, perhaps somebody else's)" in text
    assert not list((shell.directory / "target").iterdir())


def test_check_finds_the_same(shell: Shell) -> None:
    shell.write("Procfile", "web sleep\n")
    assert "Procfile:1:" in refused(shell, "check")


def test_check_says_what_would_run_and_leaves_nothing(shell: Shell) -> None:
    before = sorted(shell.directory.iterdir())
    done = shell.run("check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "web.1, scheduler.1" in done.stdout
    assert sorted(shell.directory.iterdir()) == before


def test_check_refuses_what_serve_would_die_of(shell: Shell) -> None:
    shell.write("broken.py", "import a_module_that_nobody_has\napp = None\n")
    with socket.create_server(("127.0.0.1", int(shell.environ["PORT"]))):
        done = shell.run("check", "broken:app")
    assert done.returncode == 2
    assert "ok" not in done.stdout
    port, application = done.stderr.splitlines()
    assert port.startswith(f"whalefall: `serve` would not start now: port {shell.environ['PORT']} is taken by ")
    assert application.startswith("whalefall: broken.py:1: broken:app cannot be imported: ModuleNotFoundError: ")
    done = shell.run("check", "broken:app", "--no-import")
    assert (done.returncode, done.stderr) == (0, "")
    assert "with broken:app (not imported)" in done.stdout


def test_check_knows_the_ports_of_the_running_one(shell: Shell) -> None:
    shell.environ["NGINX_BINARY"] = ""
    shell.write("Procfile", "web: whalefall web shop:app\n")
    shell.write("shop.py", "from flask import Flask\napp = Flask(__name__)\n")
    started = shell.start("serve")
    try:
        wait_until(lambda: " ready " in shell.run("status").stdout, "web is ready", 60, shell.log)
        done = shell.run("check")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"note: whalefall already runs here (pid {started.pid}), and holds its own ports\n" in done.stdout
        assert "ok: Procfile gives web.1 with shop:app; public address 127.0.0.1:" in done.stdout
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            done = shell.run("check", "--port", str(port))
        assert done.returncode == 2
        assert f"`reload` would be refused now: port {port} is taken by " in done.stderr
    finally:
        started.terminate()
        assert started.wait(30) == 0, shell.log()


@pytest.mark.parametrize("command", ["status", "logs", "shutdown", "health", "reload"])
def test_nobody_to_ask(shell: Shell, command: str) -> None:
    done = shell.run(command)
    assert done.returncode == 1
    assert "no whalefall is running here" in done.stderr
    assert "Start one: whalefall serve" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_second_serve_is_refused_with_the_firsts_pid(shell: Shell) -> None:
    shell.write("Procfile", "worker: sleep 1000\n")
    first = shell.start("serve")
    try:
        wait_until(lambda: shell.run("status").returncode == 0, "the first answers", explain=shell.log)
        done = shell.run("serve")
        assert done.returncode == 2
        assert f"whalefall already runs here (pid {first.pid}, {shell.environ['RUN_DIR']})" in done.stderr
        assert shell.run("status").returncode == 0
    finally:
        first.terminate()
        assert first.wait(30) == 0, shell.log()
    assert not children_of(shell)


def test_a_reader_that_goes_away_is_no_traceback(shell: Shell) -> None:
    command = f"{sys.executable} -m whalefall plan --json | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=shell.directory, env=shell.environ, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.strip() in ("{141", "{0".ljust(2), "{\n141", "{\n0")


def test_an_application_that_cannot_be_imported_ends_with_its_own_words_and_code(shell: Shell) -> None:
    shell.environ["NGINX_BINARY"] = ""
    shell.write("Procfile", "web: whalefall web\n")
    shell.write("broken.py", "import a_module_that_nobody_has\napp = None\n")
    started = shell.start("serve", "broken:app")
    try:
        code = started.wait(ANSWER_WITHIN_S)
    finally:
        started.kill()
    error = "ModuleNotFoundError: No module named 'a_module_that_nobody_has'"
    first = next(line for line in shell.log().splitlines() if "crash 1 of 5" in line)
    assert first.endswith(f'Last error: "{error}"')
    assert "web.1" in first
    _, _, last = shell.log().partition(f'giving up; whalefall stops. Last error: "{error}". Its last ')
    assert error in last
    assert "Worker failed to boot" not in last, "no reason, and it would take the place of one"
    file = shell.directory / "broken.py"
    whole = f'Traceback (most recent call last):\n  File "{file}", line 1, in <module>\n    import a_module_that_nobody'
    said = "\n".join(line.partition(" | ")[2].removeprefix("    web.1 | ") for line in shell.log().splitlines())
    assert whole in said
    assert "in import_app" not in said, "how Gunicorn came to the application tells nobody anything"
    assert code not in (0, 2)
    assert not children_of(shell)


def test_files_of_the_project_do_not_stand_in_for_the_standard_library(shell: Shell) -> None:
    for name in ("queue", "logging", "select", "signal", "json", "types", "socket"):
        shell.write(f"{name}.py", "raise SystemExit('the project is in the way')\n")
    shell.write("Procfile", "worker: sleep 1000\n")
    del shell.environ["PYTHONPATH"]
    program = Path(sys.executable).parent / "whalefall"
    with (shell.directory / "log").open("ab") as log:
        started = subprocess.Popen([program, "serve"], cwd=shell.directory, env=shell.environ, stdout=log, stderr=log)

    def ready() -> bool:
        assert started.poll() is None, shell.log()
        command = [program, "status"]
        done = subprocess.run(command, cwd=shell.directory, env=shell.environ, stdout=subprocess.PIPE, check=False)
        return b" ready " in done.stdout

    try:
        wait_until(ready, "the worker is ready", 40, shell.log)
    finally:
        started.terminate()
        assert started.wait(30) == 0, shell.log()


def test_ctrl_c_in_a_terminal_stops_everything(shell: Shell) -> None:
    """A terminal sends INT to the whole foreground group: children must survive it until they are asked in order."""
    shell.write("Procfile", "worker: sleep 1000\nother: sleep 1000\n")
    with (shell.directory / "log").open("ab") as log:
        started = subprocess.Popen(
            [sys.executable, "-m", "whalefall", "serve"],
            cwd=shell.directory,
            env=shell.environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    wait_until(lambda: shell.run("status").stdout.count("ready") == 2, "both run", explain=shell.log)
    os.killpg(started.pid, signal.SIGINT)
    assert started.wait(30) == 0, shell.log()
    assert not children_of(shell)
