"""`check` warns of what runs but will hurt, and of nothing else."""

from pathlib import Path

import pytest

from tests.support.supervised import ROOT
from tests.unit.planner.scene import Scene
from whalefall.planner.doctor import HOW_TO_MOVE, advice
from whalefall.planner.world import survey

PROCFILE = "web: python -m whalefall web shop:app\nscheduler: python -m whalefall scheduler shop:app\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"


@pytest.fixture
def shop(scene: Scene) -> Scene:
    return scene.procfile(PROCFILE).setting(PYTHONPATH=str(ROOT))


def warnings(scene: Scene, code: str = FLASK) -> list[str]:
    return list(advice(survey(scene.write("shop.py", code).request())))


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (
            "from apscheduler.schedulers.background import BackgroundScheduler\ns = BackgroundScheduler()\ns.start()\n",
            "shop.py:5 starts an APScheduler BackgroundScheduler when the application is imported",
        ),
        (
            "from apscheduler.schedulers.blocking import BlockingScheduler\nBlockingScheduler().start()\n",
            "shop.py:4 starts an APScheduler BlockingScheduler",
        ),
        ("import jobs\n", "jobs.py:3 starts an APScheduler BackgroundScheduler"),
        ("import flask_apscheduler\nflask_apscheduler.APScheduler().start()\n", "shop.py:4 starts Flask-APScheduler"),
    ],
)
def test_a_scheduler_of_its_own_is_told_with_its_line(shop: Scene, code: str, what: str) -> None:
    shop.write(
        "jobs.py", "from apscheduler.schedulers.background import *\n\nBackgroundScheduler().start(paused=True)\n"
    )
    # What the real one does; it is not installed here, because our own has its names.
    shop.write(
        "flask_apscheduler.py",
        "from apscheduler.schedulers.background import BackgroundScheduler\n"
        "class APScheduler:\n    def start(self):\n        BackgroundScheduler().start()\n",
    )
    found = warnings(shop, FLASK + code)
    assert len(found) == 1
    assert found[0].startswith(what)
    assert HOW_TO_MOVE in found[0]
    assert (ROOT / HOW_TO_MOVE).exists()


@pytest.mark.parametrize(
    "code",
    [
        FLASK,
        FLASK + "from whalefall import Scheduler\nscheduler = Scheduler(app)\n",
        FLASK + "from whalefall.compat.flask_apscheduler import APScheduler\ns = APScheduler(app=app)\ns.start()\n",
        FLASK
        + "from apscheduler.schedulers.background import BackgroundScheduler\nnot_started = BackgroundScheduler()\n",
    ],
)
def test_there_is_no_false_alarm(shop: Scene, code: str, tmp_path: Path) -> None:
    assert warnings(shop, code) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Procfile", "shop.py"], "nothing is left behind"


def test_what_the_import_prints_or_does_is_no_error_of_ours(shop: Scene) -> None:
    assert warnings(shop, FLASK + "print('{}')\n") == []
    assert warnings(shop, FLASK + "nonsense\n") == [
        "shop:app cannot be imported here: NameError: name 'nonsense' is not defined"
    ]
    assert warnings(shop, FLASK + "import os\nos._exit(7)\n") == [
        "shop:app cannot be imported here: the import ends its process with code 7"
    ]


def test_settings_that_will_hurt_are_told(shop: Scene) -> None:
    shop.setting(WEB_CONCURRENCY="1", GUNICORN_CMD_ARGS="--preload", GRACE="20")
    one, preload, grace = warnings(shop)
    assert one.startswith("WEB_CONCURRENCY=1: ")
    assert preload == "GUNICORN_CMD_ARGS (environment) has --preload, which the scheduler refuses. Remove it."
    assert grace.startswith("GRACE=20: Docker kills after 10 s unless told otherwise.")
    assert len(warnings(shop.setting(KUBERNETES_SERVICE_HOST="10.0.0.1"))) == 2, "there it is 30 s"


def test_the_built_in_application_needs_no_advice(scene: Scene) -> None:
    assert list(advice(survey(scene.request()))) == []
