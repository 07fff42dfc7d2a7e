"""`check` warns of what runs but will hurt, refuses what would not run, and says nothing else."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.support.supervised import ROOT
from tests.unit.planner.scene import Scene
from whalefall.planner.doctor import HOW_TO_MOVE, findings, loaded, new_code
from whalefall.planner.services import START_TIMEOUT_S

PROCFILE = "web: python -m whalefall web shop:app\nscheduler: python -m whalefall scheduler shop:app\n"
FLASK = "from flask import Flask\napp = Flask(__name__)\n"


@pytest.fixture
def shop(scene: Scene) -> Scene:
    return scene.procfile(PROCFILE).setting(PYTHONPATH=str(ROOT))


def warnings(scene: Scene, code: str = FLASK) -> list[str]:
    found = list(findings(scene.write("shop.py", code).build()))
    assert [each.sentence for each in found if each.weight == "error"] == []
    return [each.sentence for each in found if each.weight == "warning"]


def refused(scene: Scene, code: str) -> str:
    """The one thing that is wrong; serve would not get it up."""
    (found,) = findings(scene.write("shop.py", code).build())
    assert found.weight == "error"
    return found.sentence


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


NO_IMPORT = "If only this machine lacks something, check with --no-import."
INSTALL = f"install the package that has it, perhaps by: {sys.executable} -m pip install"
BROKEN = {
    "a name": ("nonsense", "shop.py:3: shop:app cannot be imported: NameError: name 'nonsense' is not defined."),
    "a package that is not installed": (
        "import nobody_has_it",
        "shop.py:3: shop:app cannot be imported: ModuleNotFoundError: No module named 'nobody_has_it'. "
        f"Mend the name, or {INSTALL} nobody_has_it",
    ),
    "a module with a typo": (
        "import modles",
        "shop.py:3: shop:app cannot be imported: ModuleNotFoundError: No module named 'modles'. "
        f"Did you mean 'models'? If not, {INSTALL} modles",
    ),
    "a module of a package with a typo": (
        "import parts.modles",
        "shop.py:3: shop:app cannot be imported: ModuleNotFoundError: No module named 'parts.modles'. "
        "Did you mean 'parts.models'?",
    ),
    "a syntax error": ("import crooked", "crooked.py:2: shop:app cannot be imported: SyntaxError: invalid syntax."),
    "a variable that is not set": (
        "import os\nos.environ['STRIPE_KEY']",
        "shop.py:4: shop:app cannot be imported: KeyError: 'STRIPE_KEY'. "
        f"Set STRIPE_KEY in the environment or in .env. {NO_IMPORT}",
    ),
    "a library, called by a module of the project": (
        "import models\nmodels.parsed('{')",
        "models.py:4: shop:app cannot be imported: json.decoder.JSONDecodeError: Expecting property name enclosed in "
        f"double quotes: line 1 column 2 (char 1). {NO_IMPORT}",
    ),
    "a library that is installed in the project": (
        "import sys\nsys.path.append('env/site-packages')\nimport installed\ninstalled.fail()",
        f"shop.py:6: shop:app cannot be imported: ValueError: in the library. {NO_IMPORT}",
    ),
    "one exception from another": (
        "try:\n    {}['a']\nexcept KeyError as error:\n    raise OSError('no\\n  database') from error",
        f"shop.py:6: shop:app cannot be imported: OSError: no database. {NO_IMPORT}",
    ),
    "a password in a URL": (
        "raise OSError('no postgresql://u:sesame@h/d')",
        f"shop.py:3: shop:app cannot be imported: OSError: no postgresql://u:********@h/d. {NO_IMPORT}",
    ),
    "its own way out": (
        "raise SystemExit('no')",
        f"shop.py:3: shop:app cannot be imported: SystemExit: no. {NO_IMPORT}",
    ),
    "the end of its process": (
        "import os\nos._exit(7)",
        f"shop:app cannot be imported: that ends its process with code 7. {NO_IMPORT}",
    ),
    "a crash": (
        "import os\nos.kill(os.getpid(), 11)",
        f"shop:app cannot be imported: that ends its process by SIGSEGV. {NO_IMPORT}",
    ),
    "no application": ("app = 5", "shop:app cannot be imported: Application object must be callable."),
}


@pytest.mark.parametrize(("code", "sentence"), BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_imported_is_refused_with_its_line_and_the_mend(shop: Scene, code: str, sentence: str) -> None:
    shop.write("models.py", "import json\n\ndef parsed(text):\n    return json.loads(text)\n")
    shop.write("parts/__init__.py", "").write("parts/models.py", "").write("crooked.py", "\ndef x(:\n")
    shop.write("env/site-packages/installed.py", "def fail():\n    raise ValueError('in the library')\n")
    assert refused(shop, FLASK + code + "\n") == sentence


def test_an_import_that_takes_longer_than_its_service_may_is_refused(shop: Scene) -> None:
    shop.write("whalefall.toml", "[services.web]\nstart_timeout = 1.5\n")
    assert refused(shop, FLASK + "import threading\nthreading.Event().wait()\n").startswith(
        "shop:app cannot be imported: it takes longer than 1.5 s (start_timeout), and `serve` would not wait either."
    )


def test_what_the_import_prints_or_leaves_running_is_no_error(shop: Scene, tmp_path: Path) -> None:
    assert warnings(shop, FLASK + "print('{}')\n") == []
    began = time.monotonic()
    assert warnings(shop, FLASK + "import threading\nthreading.Thread(target=threading.Event().wait).start()\n") == []
    left = "import subprocess\nleft = subprocess.Popen(['sleep', '1000'])\nopen('left', 'w').write(str(left.pid))\n"
    assert warnings(shop, FLASK + left) == []
    os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
    assert time.monotonic() - began < START_TIMEOUT_S / 2, "nobody waits for them"


def test_the_import_has_what_its_service_would_have(shop: Scene, tmp_path: Path) -> None:
    shop.procfile(PROCFILE.replace("web: ", "web: FROM_LINE=1 "))
    shop.write("whalefall.toml", "[services.web.env]\nFROM_OPTIONS = '1'\n").write(".env", "FROM_FILE=1\n")
    names = "FROM_LINE FROM_OPTIONS FROM_FILE SECRET_KEY WHALEFALL_APP PORT PS"
    code = f"import os\n[os.environ[name] for name in '{names}'.split()]\nassert os.environ['PS'] == 'web.1'\n"
    log = "open(os.environ['LOG_DIR'] + '/log', 'x')\nopen(os.environ['DATA_DIR'] + '/data', 'x')\n"
    assert warnings(shop.setting(LOG_DIR=str(tmp_path / "log")), FLASK + code + log) == []
    assert not (tmp_path / "log").exists()


def test_an_application_that_no_service_of_ours_would_load_is_only_looked_at(shop: Scene) -> None:
    shop.procfile("web: sleep 1\n").setting(WHALEFALL_APP="shop:app")
    (sentence,) = warnings(shop, FLASK + "nonsense\n")
    assert sentence.startswith("shop.py:3: shop:app cannot be imported: NameError")
    assert loaded(shop.build().world) == {}


def test_without_imports_the_application_is_left_alone(shop: Scene, tmp_path: Path) -> None:
    built = shop.write("shop.py", f"app = open('{tmp_path}/touched', 'w')\n").build()
    assert list(findings(built, imports=False)) == []
    assert not (tmp_path / "touched").exists()


def test_who_loads_what_is_known(shop: Scene, scene: Scene) -> None:
    assert loaded(shop.write("shop.py", FLASK).build().world) == {"shop:app": "web.1"}
    scene.procfile("web: python -m whalefall web shop:app\nscheduler: python -m whalefall scheduler\n")
    assert loaded(scene.build().world) == {"shop:app": "web.1", "": "scheduler.1"}, "the built-in one"


def test_a_misspelt_variable_of_ours_is_told_with_the_nearest(shop: Scene) -> None:
    shop.write(".env", "WHALEFALL_ADMIN_PASWORD=x\nWHALEFALL_URL=http://shop\n").setting(WHALEFAL_APP="shop:app")
    shop.setting(WHALEFALL_ZZZ="1", WHALEFALL_LIFE="web.1#1", WHALEFALL_TOKEN="x", WHALE="1")
    assert sorted(warnings(shop)) == [
        "WHALEFALL_ADMIN_PASWORD (.env:1) is no variable of whalefall's and is not read. "
        "Did you mean 'WHALEFALL_ADMIN_PASSWORD'?",
        "WHALEFALL_ZZZ (environment) is no variable of whalefall's and is not read. "
        "There are: WHALEFALL_APP, WHALEFALL_URL, WHALEFALL_ADMIN_PASSWORD.",
        "WHALEFAL_APP (environment) is no variable of whalefall's and is not read. Did you mean 'WHALEFALL_APP'?",
    ]


def test_settings_that_will_hurt_are_told(shop: Scene) -> None:
    shop.setting(WEB_CONCURRENCY="1", GUNICORN_CMD_ARGS="--preload", GRACE="20")
    one, preload, grace = warnings(shop)
    assert one.startswith("WEB_CONCURRENCY=1: ")
    assert preload == "GUNICORN_CMD_ARGS (environment) has --preload, which the scheduler refuses. Remove it."
    assert grace.startswith("GRACE=20: Docker kills after 10 s unless told otherwise.")
    assert len(warnings(shop.setting(KUBERNETES_SERVICE_HOST="10.0.0.1"))) == 2, "there it is 30 s"


def test_the_built_in_application_needs_no_advice(scene: Scene) -> None:
    assert list(findings(scene.build())) == []


def test_a_misspelt_setting_is_told_where_people_write_it(shop: Scene) -> None:
    shop.write(".env", "WEB_CONCURENCY=3\nSHOP_PORT=1\n").setting(WEB_THREAD="1")
    assert warnings(shop) == [
        "WEB_CONCURENCY (.env:1) is no variable of whalefall's and is not read. Did you mean 'WEB_CONCURRENCY'?"
    ]


def test_a_scheduler_that_is_misspelt_would_run_no_job_and_is_told(shop: Scene) -> None:
    shop.procfile("web: python -m whalefall web shop:app\nschedular: gunicorn shop:app\nworkers: sleep 9\n")
    assert warnings(shop) == [
        "Procfile:2: 'schedular' is treated as any other process. Did you mean 'scheduler'?",
    ]


def test_an_application_that_only_one_of_the_two_has_is_told(shop: Scene) -> None:
    shop.procfile("web: python -m whalefall web shop:app\nscheduler: python -m whalefall scheduler\n")
    assert warnings(shop) == [
        "Procfile:2: scheduler runs the built-in application and not shop:app: no job of it would run. "
        "Write: python -m whalefall scheduler shop:app"
    ]


def test_a_job_that_cannot_be_is_told_once_and_without_a_class(shop: Scene) -> None:
    code = f"{FLASK}from whalefall import Scheduler\nscheduler = Scheduler(app)\n"
    assert refused(shop, f"{code}@scheduler.task('cron', id='report', hours=6)\ndef report(): ...\n") == (
        "shop.py:5: shop:app cannot be imported: job 'report': 'hours' is neither an argument of the trigger 'cron' "
        "nor a policy. Did you mean 'hour'?"
    )


def test_a_factory_that_is_named_without_being_called_is_refused(shop: Scene) -> None:
    shop.procfile("web: python -m whalefall web shop:create_app\n")
    code = "from flask import Flask\n\n\ndef create_app(test=None):\n    return Flask(__name__)\n"
    assert refused(shop, code) == (
        "shop.py:4: shop:create_app cannot be imported: it is a function without the two arguments of a WSGI "
        "application. If it makes one, write 'shop:create_app()'."
    )
    assert warnings(shop, "def create_app(environ, start_response): ...\n") == []


@pytest.mark.parametrize(("install", "told"), [("", 1), ("from whalefall.app import install\ninstall(app)\n", 0)])
def test_jobs_without_their_pages_are_noted(shop: Scene, install: str, told: int) -> None:
    code = f"{FLASK}from whalefall import Scheduler\nscheduler = Scheduler(app)\n{install}"
    found = list(findings(shop.write("shop.py", code).build()))
    said = "shop:app has no /scheduler, no /dashboard and no API: `install(app)` of whalefall.app."
    assert [(each.sentence, each.weight) for each in found] == [(said, "note")] * told


def test_new_code_finds_a_secret_where_the_start_would_generate_one(shop: Scene) -> None:
    shop.write("shop.py", FLASK + "import os\nassert os.environ['SECRET_KEY']\n")
    assert new_code("shop:app", shop.directory, shop.environ | {"SECRET_KEY": ""}, START_TIMEOUT_S) == ""


def test_new_code_that_cannot_be_tried_is_no_refusal(shop: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("shop.py", "nonsense(\n")
    assert new_code("shop:app", shop.directory, shop.environ, START_TIMEOUT_S)
    assert new_code("shop:app", shop.directory / "gone", shop.environ, START_TIMEOUT_S) == ""
    monkeypatch.setattr("tempfile.tempdir", str(shop.directory / "full"))
    assert new_code("shop:app", shop.directory, shop.environ, START_TIMEOUT_S) == ""
