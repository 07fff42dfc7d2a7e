"""`dev` is `serve` with a short list of differences, and `serve` has none of them."""

import subprocess
import sys

import pytest

from tests.support.supervised import ROOT
from tests.unit.planner.scene import Scene
from whalefall.errors import UsageError
from whalefall.plan import Instance
from whalefall.plan.records import replace
from whalefall.planner.dev import DEFAULTS
from whalefall.planner.environment import plain
from whalefall.planner.world import look

OURS = "web: python -m whalefall web\nscheduler: python -m whalefall scheduler\nworker: sleep 1000\n"


def developed(scene: Scene, **options: object) -> dict[str, Instance]:
    return scene.instances(development=True, **options)


def test_the_list_of_differences_is_complete(scene: Scene) -> None:
    """Everything that is not on the list is the same in both, to the letter."""
    scene.procfile(OURS).setting(**DEFAULTS)
    served, found = scene.instances(), developed(scene)
    assert set(found) - set(served) == {"dev.1"}
    for name, instance in served.items():
        command = found[name].command
        assert command.argv[: len(instance.command.argv)] == instance.command.argv
        assert replace(command, argv=instance.command.argv) == instance.command
        assert replace(instance, command=command, live=None) == found[name]


def test_both_gunicorns_load_changed_code_and_never_lose_patience(scene: Scene) -> None:
    found = developed(scene.procfile(OURS))
    for name in ("web.1", "scheduler.1"):
        words = " ".join(found[name].command.argv)
        assert words.endswith(
            "--reload --reload-engine poll --timeout 0 --worker-class whalefall.planner.dev_worker.DevWorker"
        )
    assert found["worker.1"].command.argv[-1] == "1000"


def test_a_plain_gunicorn_reloads_too_and_keeps_its_worker(scene: Scene) -> None:
    argv = developed(scene.procfile("web: gunicorn -w 4 wsgi:application\n"), attach="web")["web.1"].command.argv
    assert " ".join(argv).endswith("--reload --reload-engine poll --timeout 0 --workers 1 --threads 1")
    assert argv[1:4] == ("-w", "4", "wsgi:application")


def test_serve_has_nothing_of_it(scene: Scene) -> None:
    built = scene.procfile(OURS).build()
    for each in built.plan.instances:
        assert "--reload" not in each.command.argv
        assert "FLASK_DEBUG" not in each.command.env
        assert not each.attach
    assert not built.plan.hangup_stops
    assert scene.build(development=True).plan.hangup_stops


def test_dotenv_wins_over_the_shell_as_in_foreman_and_honcho(scene: Scene) -> None:
    scene.write(".env", "COLOUR=file\nBOTH=${COLOUR}\n").setting(COLOUR="shell")
    served, found = plain(look(scene.request()).environment), plain(look(scene.request(development=True)).environment)
    assert (served["COLOUR"], served["BOTH"]) == ("shell", "shell")
    assert (found["COLOUR"], found["BOTH"]) == ("file", "file")


def test_the_command_line_wins_over_dotenv_and_the_role_over_all(scene: Scene) -> None:
    scene.procfile(OURS).write(".env", "PORT=7000\nENABLE_SCHEDULER=true\n")
    env = developed(scene, port=6000)["web.1"].command.env
    assert (env["PORT"], env["ENABLE_SCHEDULER"]) == ("6000", "false")


@pytest.mark.parametrize(("name", "given"), [("HOST", "0.0.0.0"), ("FLASK_DEBUG", "0"), ("REQUEST_TIMEOUT", "30")])
def test_a_default_of_development_yields_to_whoever_sets_it(scene: Scene, name: str, given: str) -> None:
    assert developed(scene.procfile(OURS).setting(**{name: given}))["web.1"].command.env[name] == given


def test_what_serve_exports_to_everybody_dev_keeps_to_itself(scene: Scene) -> None:
    listeners = {each.name: each.address for each in scene.procfile(OURS).build(development=True).plan.listeners}
    assert listeners["http"] == "127.0.0.1:5000"


def test_an_attached_process_is_one_worker_with_one_thread(scene: Scene) -> None:
    found = developed(scene.procfile(OURS), attach="web")
    assert found["web.1"].attach
    assert found["web.1"].command.argv[-4:] == ("--workers", "1", "--threads", "1")
    assert not found["scheduler.1"].attach


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"attach": "wbe"}, r"--attach wbe: the Procfile has no 'wbe'. Did you mean 'web'\?"),
        ({"attach": "web", "formation": "web=2"}, "--attach web: 2 of it would run, and one terminal serves one"),
        ({"attach": "web", "formation": "web=0"}, "--attach web: 0 of it would run"),
    ],
)
def test_what_cannot_be_attached_is_refused(scene: Scene, options: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        developed(scene.procfile(OURS), **options)


def test_a_reload_plans_for_development_again(scene: Scene) -> None:
    replan = scene.procfile(OURS).build(development=True, attach="web").plan.replan
    assert replan is not None
    assert replan.argv[-3:] == ("--attach", "web", "--dev")


def test_the_watcher_gets_another_name_where_the_procfile_has_it(scene: Scene) -> None:
    assert set(developed(scene.procfile("dev: sleep 1000\n"))) == {"dev.1", "whalefall-dev.1"}


def test_the_watcher_outlives_a_change_of_dotenv(scene: Scene) -> None:
    """It would be replaced while it tells what came of the change."""
    before = developed(scene.procfile(OURS))["dev.1"]
    assert developed(scene.write(".env", "COLOUR=red\n"))["dev.1"] == before


def test_the_next_planner_names_our_modules_as_the_first_did() -> None:
    """It runs with -P, where sys.path begins one entry earlier; another answer would replace the watcher each time."""
    code = "from whalefall.planner import python; print(python.module('whalefall.cli.watch'))"
    environ = {"PYTHONPATH": str(ROOT)}
    answers = {
        subprocess.run(
            [sys.executable, *flags, "-c", code], env=environ, capture_output=True, text=True, check=True
        ).stdout
        for flags in ([], ["-P"])
    }
    assert len(answers) == 1
    assert "'-P', '-m', 'whalefall.cli.watch'" in answers.pop()
