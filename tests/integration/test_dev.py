"""`whalefall dev` on a real terminal: what one edits is loaded, and one may stop in a request and look around."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.support.deployment import Deployment
from tests.support.supervised import alive
from tests.support.terminal import INTERRUPT, Development
from tests.support.waiting import wait_until

APP = textwrap.dedent(
    """
    import os, time
    from flask import Flask, render_template
    from whalefall import Scheduler, current_run

    app = Flask(__name__)
    scheduler = Scheduler(app)
    WORD = "one"

    @app.get("/")
    def home():
        return render_template("home.html", word=WORD, colour=os.environ.get("COLOUR", "none"))

    @app.get("/stop")
    def stop():
        answer = "nothing"
        breakpoint()
        return f"the answer is {answer}"

    @app.get("/oops")
    def oops():
        return 1 / 0

    @scheduler.task("interval", id="tick", seconds=1)
    def tick():
        with open("ticks", "a") as file:
            file.write(f"{os.getpid()} {current_run.scheduled_at.isoformat()}\\n")
    """
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(APP)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "home.html").write_text("word {{ word }}, colour {{ colour }}")
    return tmp_path


@pytest.fixture
def running(project: Path) -> Iterator[Development]:
    with Development(project, "shop:app") as development:
        yield development.until_ready()


def page(development: Deployment) -> str:
    try:
        return development.get("/").text
    except requests.ConnectionError:
        return ""


def edit(file: Path, text: str) -> None:
    """Like an editor; with a time of its own: within one second Python takes a cached module for the present one."""
    before = file.stat().st_mtime if file.exists() else 0.0
    file.write_text(text)
    moment = max(file.stat().st_mtime, before + 1)
    os.utime(file, (moment, moment))


def until_page_says(development: Deployment, text: str) -> None:
    wait_until(lambda: text in page(development), f"the page says {text!r}", 60, development.output)


@pytest.mark.parametrize("nginx", ["nginx", ""], ids=["behind Nginx", "direct"])
def test_a_breakpoint_in_a_request_has_the_terminal(project: Path, nginx: str) -> None:
    with Development(project, "shop:app", "--attach", "web", NGINX_BINARY=nginx) as development:
        development.until_ready()
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(development.get("/stop").text))
        asking.start()
        at = development.until_shown("(Pdb)")
        development.type("p 40+2\n")
        at = development.until_shown("42", development.until_shown("p 40+2", at))
        development.type("answer = 'found'\n")
        development.until_shown("(Pdb)", at)
        development.type("c\n")
        asking.join(60)
        assert answers == ["the answer is found"]
        shown = development.output()
        assert "scheduler.1 | " in shown, "the others keep their prefix"
        assert "\x1b[" in shown, "in colour, for this is a terminal"
        development.type(INTERRUPT)
        assert development.wait() == 0


def test_ctrl_c_at_the_prompt_stops_everything_and_leaves_the_terminal_as_it_was(project: Path) -> None:
    with Development(project, "shop:app", "--attach", "web", "--grace", "5") as development:
        development.until_ready()
        assert development.echoes()
        tree = development.tree()

        def ask() -> None:
            with contextlib.suppress(requests.RequestException):
                development.get("/stop")

        asking = threading.Thread(target=ask)
        asking.start()
        development.until_shown("(Pdb)")
        wait_until(lambda: not development.echoes(), "the prompt reads key by key", 20)
        development.type(INTERRUPT)
        development.until_shown("SIGINT: stopping in order")
        development.wait()
        asking.join(60)
        assert development.echoes()
        assert [process for process in tree if alive(process.pid)] == []


def test_closing_the_terminal_stops_everything(project: Path) -> None:
    with Development(project, "shop:app") as development:
        development.until_ready()
        tree = development.tree()
        development.close()
        development.wait()
        assert [process for process in tree if alive(process.pid)] == []


def test_changed_code_and_templates_are_loaded(running: Development) -> None:
    home = running.directory / "templates" / "home.html"
    assert page(running) == "word one, colour none"
    edit(home, "changed {{ word }}")
    until_page_says(running, "changed one")
    edit(running.directory / "shop.py", APP.replace('"one"', '"two"'))
    until_page_says(running, "changed two")
    assert {row["generation"] for row in running.rows().values()} == {1}, "the workers were replaced, not the masters"


def test_code_that_does_not_load_is_shown_and_waited_for(running: Development) -> None:
    shop = running.directory / "shop.py"
    edit(shop, APP + "\nnonsense\n")
    until_page_says(running, "NameError: name 'nonsense' is not defined")
    running.until_shown("The application does not load. Mend it and save: it is loaded again.")
    edit(shop, APP.replace('"one"', '"mended"'))
    until_page_says(running, "word mended")
    wait_until(running.processes_that_schedule, "the scheduler is back", 60, running.output)
    assert {row["restarts"] for row in running.rows().values()} == {0}


def test_an_error_in_a_request_is_a_page_with_its_traceback(running: Development) -> None:
    answer = running.get("/oops")
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.text
    assert "return 1 / 0" in answer.text
    assert "EVALEX = false" in answer.text, "nobody runs code in that page"


def test_no_two_processes_schedule_while_code_is_loaded_and_no_fire_is_doubled(running: Development) -> None:
    shop, ticks = running.directory / "shop.py", running.directory / "ticks"
    seen: set[int] = set()
    crowds: list[list[int]] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            scheduling = running.processes_that_schedule()
            seen.update(scheduling)
            if len(scheduling) > 1:
                crowds.append(scheduling)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        for _ in range(3):
            until_another_ticks(running, shop, ticks)
    finally:
        done.set()
        watching.join(10)
    assert crowds == []
    assert len(seen) >= 3
    by_process = defaultdict(list)
    for number, line in enumerate(read(ticks)):
        by_process[line.split()[0]].append(number)
    assert all(numbers == list(range(numbers[0], numbers[-1] + 1)) for numbers in by_process.values()), "one by one"
    instants = [line.split()[1] for line in read(ticks)]
    assert len(instants) == len(set(instants))


def until_another_ticks(running: Development, shop: Path, ticks: Path) -> None:
    known = {line.split()[0] for line in read(ticks)}
    edit(shop, APP)
    wait_until(lambda: {line.split()[0] for line in read(ticks)} - known, "another process ticks", 60, running.output)


def read(file: Path) -> list[str]:
    """Whole lines only."""
    return file.read_text().split("\n")[:-1] if file.exists() else []


def test_a_change_of_dotenv_or_procfile_is_planned_again_and_told(running: Development) -> None:
    edit(running.directory / ".env", "COLOUR=red\n")
    at = running.until_shown(".env changed: the new Plan is applied to ")
    until_page_says(running, "colour red")
    edit(running.directory / "Procfile", "web: python -m whalefall web\nnonsense\n")
    at = running.until_shown("Procfile changed: nothing is changed", at)
    running.until_shown("Procfile:2: 'nonsense' has no colon", at)
    assert "colour red" in page(running)
    (running.directory / "Procfile").unlink()
    running.until_shown("Procfile changed: nothing in the Plan has changed", at)


def test_dotenv_wins_over_the_shell_in_dev(project: Path) -> None:
    (project / ".env").write_text("COLOUR=file\n")
    with Development(project, "shop:app", COLOUR="shell") as development:
        assert "colour file" in page(development.until_ready())
        assert development.stop(signal.SIGTERM) == 0


def test_without_a_terminal_nothing_can_be_attached(project: Path) -> None:
    environ = Deployment(project).environ
    command = [sys.executable, "-m", "whalefall", "dev", "--attach", "web"]
    answer = subprocess.run(
        command, cwd=project, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 2
    assert answer.stderr == "whalefall: --attach web needs a terminal, and standard input or output is none.\n"
