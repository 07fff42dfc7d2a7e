"""From files and words to a Plan."""

import json
import sys
from pathlib import Path

import pytest

from tests.unit.planner.scene import Scene
from whalefall.errors import ConfigError, PlanError, UsageError
from whalefall.plan import Dependency, Probe, plan_from_json, plan_to_json
from whalefall.planner.build import build, scheduler_digests
from whalefall.planner.environment import MASK
from whalefall.planner.explain import as_document, in_words

PLAIN = "web: gunicorn -c own.conf.py wsgi:application\nscheduler: gunicorn wsgi:application\nworker: sleep 1000\n"
OURS = "nginx: python -m whalefall nginx\nweb: python -m whalefall web\nscheduler: python -m whalefall scheduler\n"


def environment(scene: Scene, name: str, **options: object) -> dict[str, str]:
    return dict(scene.instances(**options)[name].command.env)


def test_an_empty_directory_runs_the_built_in_procfile(scene: Scene) -> None:
    built = scene.build()
    assert [each.name for each in built.plan.instances] == ["web.1", "scheduler.1"]
    assert built.world.procfile == "the built-in Procfile"
    assert "direct mode: NGINX_BINARY is empty" in built.plan.notes[0]


def test_direct_mode_gives_web_the_public_port_and_the_schedulers_address(scene: Scene) -> None:
    found = scene.build(port=6000)
    web = found.plan.instances[0]
    assert {each.name: each.address for each in found.plan.listeners} == {
        "http": "0.0.0.0:6000",
        "scheduler": "127.0.0.1:5002",
    }
    assert web.listeners == ("http",)
    assert web.command.env["WHALEFALL_DIRECT"] == "http://127.0.0.1:5002"
    assert web.command.env["PORT"] == "6000"
    assert web.command.argv[-1] == "whalefall.app.direct:application"


@pytest.mark.parametrize(
    ("procfile", "formation", "why"),
    [
        ("nginx: whalefall nginx\nweb: whalefall web\n", "", "direct mode: NGINX_BINARY is empty, so web takes"),
        (
            "nginx: whalefall nginx\nweb: whalefall web\n",
            "nginx=0",
            "direct mode: Procfile runs no nginx, so web takes",
        ),
        ("web: whalefall web\n", "", "direct mode: Procfile runs no nginx, so web takes"),
    ],
)
def test_direct_mode_says_why(scene: Scene, procfile: str, formation: str, why: str) -> None:
    built = scene.procfile(procfile).build(formation=formation)
    assert built.plan.notes[0].startswith(why)
    assert built.plan.notes[-1] == "the site is at http://localhost:5000"


def test_the_schedulers_part_is_not_forwarded_when_there_is_none(scene: Scene) -> None:
    web = scene.instances(formation="scheduler=0")["web.1"]
    assert "WHALEFALL_DIRECT" not in web.command.env
    assert web.command.argv[-1] == "whalefall.app.wsgi:application"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({}, "http://localhost:5000"),
        ({"PORT": "80"}, "http://localhost"),
        ({"HOST": "127.0.0.2"}, "http://127.0.0.2:5000"),
        ({"WHALEFALL_URL": "https://example.org"}, "https://example.org"),
    ],
)
def test_every_process_knows_the_public_address(scene: Scene, environ: dict[str, str], url: str) -> None:
    found = scene.setting(**environ).instances()
    assert {each.command.env["WHALEFALL_URL"] for each in found.values()} == {url}


def test_enable_scheduler_is_the_roles_to_give(scene: Scene) -> None:
    scene.procfile(PLAIN).write(".env", "ENABLE_SCHEDULER=true\n").setting(ENABLE_SCHEDULER="yes")
    scene.write("pyproject.toml", '[tool.whalefall.services.worker]\nenv = { ENABLE_SCHEDULER = "true" }\n')
    found = {name: each.command.env["ENABLE_SCHEDULER"] for name, each in scene.instances().items()}
    assert found == {"web.1": "false", "scheduler.1": "true", "worker.1": "false"}


def test_every_instance_knows_who_it_is(scene: Scene) -> None:
    scene.procfile(PLAIN)
    found = scene.instances(formation="worker=2", port=7000)
    known = {name: (each.command.env["PS"], each.command.env["PORT"]) for name, each in found.items()}
    assert known == {
        "web.1": ("web.1", "7000"),
        "scheduler.1": ("scheduler.1", "7100"),
        "worker.1": ("worker.1", "7200"),
        "worker.2": ("worker.2", "7201"),
    }
    assert all(each.command.env["RUN_DIR"] == str(scene.directory / "run") for each in found.values())
    assert all(each.command.env["DATA_DIR"] == str(scene.directory / "var") for each in found.values())


def test_who_wins(scene: Scene) -> None:
    scene.procfile("web: A=line prog\nworker: sleep 1\n".replace("prog", "sleep 1"))
    scene.write(".env", "A=file\nB=file\nC=file\nD=file\n").setting(B="real", C="real")
    scene.write("pyproject.toml", '[tool.whalefall.services.web]\nenv = { A = "option", C = "option" }\n')
    built = scene.build()
    web, worker = built.environments["web.1"], built.environments["worker.1"]
    assert [(web[n].value, web[n].source) for n in "ABCD"] == [
        ("line", "Procfile:1"),
        ("real", "environment"),
        ("option", "pyproject.toml:2: [tool.whalefall.services.web] env"),
        ("file", ".env:4"),
    ]
    assert [worker[n].value for n in "ABCD"] == ["file", "real", "real", "file"]


def test_the_command_line_wins_over_the_environment_and_that_over_dotenv(scene: Scene) -> None:
    scene.write(".env", "PORT=6001\nGRACE=20\n")
    assert scene.build().plan.listeners[0].address == "0.0.0.0:6001"
    scene.setting(PORT="6002")
    assert scene.build().plan.listeners[0].address == "0.0.0.0:6002"
    assert scene.build(port=6003).plan.listeners[0].address == "0.0.0.0:6003"
    assert scene.build().grace_s["web"] == 20
    assert scene.build(grace_s=12).grace_s["web"] == 12


def test_a_procfile_elsewhere_is_run_where_it_lies(scene: Scene) -> None:
    scene.write("deploy/Procfile.prod", "worker: sleep 1\n").write("deploy/.env", "A=1\n")
    worker = scene.instances(procfile=Path("deploy/Procfile.prod"))["worker.1"]
    assert worker.command.cwd == str(scene.directory / "deploy")
    assert worker.command.env["A"] == "1"
    assert worker.command.argv == ("sleep", "1")


def test_a_plain_command_runs_as_it_is_written(scene: Scene) -> None:
    scene.procfile(PLAIN + "tail: tail -f /dev/null | cat\nport: sleep $PORT\n")
    found = scene.instances()
    assert found["web.1"].command.argv == ("gunicorn", "-c", "own.conf.py", "wsgi:application")
    assert found["tail.1"].command.argv == ("/bin/sh", "-c", "tail -f /dev/null | cat")
    assert found["port.1"].command.argv == ("/bin/sh", "-c", "exec sleep $PORT")
    assert found["web.1"].listeners == ()
    assert found["web.1"].command.env["GUNICORN_CMD_ARGS"].endswith("run/web.1.gunicorn.ctl")
    assert "GUNICORN_CMD_ARGS" not in found["worker.1"].command.env


def test_a_socket_is_held_where_the_options_say_so(scene: Scene) -> None:
    scene.procfile(PLAIN)
    scene.write(
        "whalefall.toml",
        '[services.web]\nlisten = ["localhost:5001", "127.0.0.1:5011"]\nready = "/health"\n'
        '[services.worker]\nlisten = ["unix:/r/w"]\n',
    )
    built = scene.build()
    assert {each.name: each.address for each in built.plan.listeners} == {
        "web-1": "127.0.0.1:5001",
        "web-2": "127.0.0.1:5011",
        "worker": "unix:/r/w",
    }
    web, _, worker = built.plan.instances
    assert web.listeners == ("web-1", "web-2")
    assert web.ready == Probe("http", "", "/health")  # Gunicorn: on a socket of its own
    assert (web.replace, web.stop.orphans) == ("start_first", "drain")
    assert (worker.replace, worker.stop.orphans, worker.ready) == ("stop_first", "kill", None)


def test_options_shape_the_life_of_a_service(scene: Scene) -> None:
    scene.procfile(PLAIN).write(
        "whalefall.toml",
        '[services.worker]\nafter = ["web:started"]\nstop_signal = "INT"\ngrace = 2\norphans = "drain"\n'
        'on_give_up = "stop"\nready = "tcp"\n',
    )
    worker = scene.instances()["worker.1"]
    assert worker.after == (Dependency("web", "started"),)
    assert (worker.stop.signal, worker.stop.grace_s, worker.stop.orphans) == ("INT", 2, "drain")
    assert worker.restart.on_give_up == "stop"
    assert worker.ready == Probe("tcp", "127.0.0.1:5200")


def test_the_defaults_of_the_roles(scene: Scene) -> None:
    found = scene.procfile(PLAIN + "release: true\n").instances()
    assert found["scheduler.1"].restart.on_give_up == "degrade"
    assert found["web.1"].restart.on_give_up == found["worker.1"].restart.on_give_up == "exit"
    assert found["scheduler.1"].lock == str(scene.directory / "var" / "scheduler.lock")
    assert found["web.1"].lock == ""
    assert found["release.1"].run_once
    assert found["release.1"].after == ()
    assert found["web.1"].after == (Dependency("release", "finished"),)


def test_a_web_that_opens_its_port_itself_is_ready_when_it_is_open(scene: Scene) -> None:
    web = scene.procfile("web: gunicorn -b 127.0.0.1:$PORT wsgi\n").instances(port=7100)["web.1"]
    assert web.ready == Probe("tcp", "127.0.0.1:7100")


def test_the_users_application_is_ready_when_a_worker_has_loaded_it(scene: Scene) -> None:
    scene.write("shop.py", "app = None\n")
    found = scene.instances(app="shop:app")
    assert found["scheduler.1"].ready == Probe("http", "", "/whalefall/ready")
    assert found["scheduler.1"].command.argv[-1] == "shop:app"
    assert found["web.1"].command.env["WHALEFALL_APP"] == "shop:app"


APPLICATIONS = {
    "argument": ({"app": "shop:app"}, {}, "", "", "shop:app"),
    "environment": ({}, {"WHALEFALL_APP": "shop:app"}, "", "", "shop:app"),
    "options": ({}, {}, "", '[tool.whalefall]\napp = "shop:app"\n', "shop:app"),
    "argument over environment": ({"app": "shop:app"}, {"WHALEFALL_APP": "x:y"}, "", "", "shop:app"),
    "environment over options": ({}, {"WHALEFALL_APP": "shop:app"}, "", '[tool.whalefall]\napp = "x:y"\n', "shop:app"),
    "dotenv over options": ({}, {}, "WHALEFALL_APP=shop:app", '[tool.whalefall]\napp = "x:y"\n', "shop:app"),
}


@pytest.mark.parametrize("case", APPLICATIONS.values(), ids=APPLICATIONS)
def test_where_the_application_is_named(
    scene: Scene, case: tuple[dict[str, str], dict[str, str], str, str, str]
) -> None:
    options, environ, dotenv, toml, app = case
    scene.write("shop.py", "app = jobs = None").write(".env", dotenv).write("pyproject.toml", toml).setting(**environ)
    scheduler = scene.instances(**options)["scheduler.1"]
    assert scheduler.command.argv[-1] == app
    assert scheduler.command.env["WHALEFALL_APP"] == app


def test_the_scheduler_can_have_an_application_of_its_own(scene: Scene) -> None:
    scene.write("shop.py", "app = jobs = None").write("jobs.py", "app = None")
    scene.procfile("web: whalefall web\nscheduler: whalefall scheduler jobs:app\n")
    found = scene.instances(app="shop:app")
    assert found["scheduler.1"].command.argv[-1] == found["scheduler.1"].command.env["WHALEFALL_APP"] == "jobs:app"
    assert found["web.1"].command.env["WHALEFALL_APP"] == "shop:app"


WRONG = {
    "an unknown module": ({"app": "shpo:app"}, "the application: there is no module 'shpo' in", "Did you mean 'shop'?"),
    "a path": ({"app": "shop.py"}, "the application: 'shop.py' is no application", "as in shop:app"),
    "a submodule": ({"app": "shop.api:app"}, "there is no module 'shop.api'", ""),
    "two schedulers": ({"formation": "scheduler=2"}, "scheduler=2 is refused", "compete"),
    "nobody": ({"formation": "all=0"}, "no process is left to run", "-c"),
    "an unknown type": ({"formation": "wep=2"}, "-c wep=2: the Procfile has no 'wep'", "Did you mean 'web'?"),
    "no procfile": ({"procfile": Path("Procfiel")}, "Procfiel: there is no such Procfile", "-f"),
    "no env file": ({"env_file": Path("x.env")}, "x.env: cannot be read", "--env"),
}


@pytest.mark.parametrize(("options", "sentence", "mend"), WRONG.values(), ids=WRONG)
def test_a_bad_command_line(scene: Scene, options: dict[str, object], sentence: str, mend: str) -> None:
    scene.write("shop.py", "app = jobs = None")
    with pytest.raises((ConfigError, UsageError)) as caught:
        scene.build(**options)
    assert sentence in str(caught.value)
    assert mend in str(caught.value)
    assert caught.value.exit_code == 2


FILES = {
    "a program": ("web: gunicron wsgi\n", {}, "Procfile:1: there is no program 'gunicron' on PATH"),
    "a path": ("web: ./run.sh\n", {}, "Procfile:1: there is no program './run.sh'"),
    "a module": ("web: python -m whalefal web\n", {}, "Procfile:1: there is no module 'whalefal' in"),
    "a role": ("web: python -m whalefall wbe\n", {}, "Procfile:1: whalefall has no role 'wbe'. Did you mean 'web'?"),
    "an .env that Docker made": ("web: sleep 1\n", {".env/x": ""}, ".env: cannot be read (Is a directory)"),
    "a line": ("web gunicorn\n", {}, "Procfile:1: 'web gunicorn' has no colon"),
    "an edge": ("web: sleep 1\n", {"whalefall.toml": '[services.web]\nafter = ["db"]'}, "the Procfile has no 'db'"),
    "a circle": (
        "a: sleep 1\nb: sleep 1\n",
        {"whalefall.toml": '[services.a]\nafter = ["b"]\n[services.b]\nafter = ["a"]'},
        "services wait for each other in a circle: a → b → a",
    ),
    "listen for the front": (
        "web: whalefall web\n",
        {"whalefall.toml": '[services.web]\nlisten = ["127.0.0.1:1"]'},
        "'web' has the public port. Set HOST and PORT instead.",
    ),
    "one port twice": (
        "web: whalefall web\nscheduler: whalefall scheduler\n",
        {".env": "PORT=5002"},
        ".env:1: SCHEDULER_LISTEN (127.0.0.1:5002) and --port or PORT (0.0.0.0:5002) want the same port",
    ),
    "a setting in .env": ("web: sleep 1\n", {".env": "\nPORT=x"}, ".env:2: PORT: 'x' is not understood"),
    "a host": ("web: whalefall web\n", {".env": "HOST=no.such.host.invalid"}, ".env:1: HOST: the host 'no."),
    "TLS without nginx": (
        "web: whalefall web\n",
        {".env": "TLS_CERTIFICATE=a\nTLS_KEY=b"},
        ".env:1: TLS_CERTIFICATE: TLS is Nginx's part, and Procfile has no nginx process. Add the line `nginx: "
        "whalefall nginx` to it, or unset",
    ),
    "TLS without the nginx program": (
        "nginx: whalefall nginx\nweb: whalefall web\n",
        {".env": "TLS_CERTIFICATE=a\nTLS_KEY=b"},
        ".env:1: TLS_CERTIFICATE: TLS is Nginx's part, and there is no nginx here. Install it",
    ),
    "TLS with no instance of nginx": (
        "nginx: whalefall nginx\nweb: whalefall web\n",
        {
            ".env": "TLS_CERTIFICATE=a\nTLS_KEY=b",
            "whalefall.toml": "[services.nginx]\ninstances = 0\n",
        },
        ".env:1: TLS_CERTIFICATE: TLS is Nginx's part, and 'nginx' has no instance. Give it one (-c nginx=1), or unset",
    ),
    "pyproject's prefix in whalefall.toml": (
        "web: sleep 1\n",
        {"whalefall.toml": "app = 'a:b'\n[tool.whalefall.services.web]\ngrace = 4\n"},
        "whalefall.toml:2: in whalefall.toml leave out the prefix tool.whalefall, as in [services.web].",
    ),
    "a limit that is nearly one": (
        "web: sleep 1\n",
        {"whalefall.toml": "[services.web]\nlimits = { nofil = 4 }\n"},
        "whalefall.toml:2: [services.web] limits = {'nofil': 4} is not understood: there is no limit 'nofil'; did you "
        "mean 'nofile'?",
    ),
    "a socket file in direct mode": (
        "web: whalefall web\nscheduler: whalefall scheduler\n",
        {".env": "SCHEDULER_LISTEN=unix:/r/s"},
        ".env:1: SCHEDULER_LISTEN: without Nginx it must be host:port",
    ),
}


@pytest.mark.parametrize(("procfile", "files", "sentence"), FILES.values(), ids=FILES)
def test_a_bad_file(scene: Scene, procfile: str, files: dict[str, str], sentence: str) -> None:
    scene.procfile(procfile)
    for name, content in files.items():
        scene.write(name, content)
    with pytest.raises((ConfigError, PlanError)) as caught:
        scene.build()
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_stop_that_does_not_fit_is_noted(scene: Scene) -> None:
    scene.procfile("a: sleep 1\nb: sleep 1\n")
    scene.write("whalefall.toml", '[services.a]\ngrace = 8\nafter = ["b"]\n[services.b]\ngrace = 4\n')
    notes = scene.build().plan.notes
    assert any("a stop may take 12 s (a → b), more than GRACE=9" in note for note in notes)


def test_the_drain_delay_is_part_of_the_stop_budget(scene: Scene) -> None:
    scene.procfile("web: whalefall web\nscheduler: whalefall scheduler\n").setting(DRAIN_DELAY="10", GRACE="25")
    built = scene.build()
    assert built.plan.drain_delay_s == 10.0
    assert set(built.grace_s.values()) == {15.0}
    assert "longest chain drain delay 10 s → web = 25 s of GRACE=25 s" in in_words(built)


def test_an_option_that_does_not_fit_beside_the_drain_delay_is_noted(scene: Scene) -> None:
    scene.procfile("a: sleep 1\n").setting(DRAIN_DELAY="5")
    scene.write("whalefall.toml", "[services.a]\ngrace = 8\n")
    note = "a stop may take 13 s (drain delay 5 s → a), more than GRACE=9"
    assert any(note in each for each in scene.build().plan.notes)


def test_a_drain_delay_that_leaves_no_time_to_stop_is_refused(scene: Scene) -> None:
    with pytest.raises(ConfigError, match=r"^DRAIN_DELAY=9 leaves nothing of GRACE=9 to stop in\. Raise GRACE"):
        scene.setting(DRAIN_DELAY="9").build()


def test_looking_leaves_nothing_behind(scene: Scene) -> None:
    scene.build()
    assert not list(scene.directory.iterdir())


def test_serving_makes_private_directories_and_one_secret(scene: Scene) -> None:
    first = build(scene.request())
    again = build(scene.request())
    run, key = scene.directory / "run", scene.directory / "var" / "secret_key"
    assert run.stat().st_mode & 0o777 == 0o700
    assert key.stat().st_mode & 0o777 == 0o600
    secrets = {each.command.env["SECRET_KEY"] for each in (*first.plan.instances, *again.plan.instances)}
    assert secrets == {key.read_text().strip()}
    assert first.environments["web.1"]["SECRET_KEY"].source == "generated"
    assert json.loads((run / "health.json").read_text())["url"] == "http://127.0.0.1:5000/api/v1/health/basic"


def test_what_is_only_looked_at_is_the_scheduler_that_was_planned(scene: Scene) -> None:
    replan = build(scene.request()).plan.replan
    assert replan is not None
    planned = dict([replan.argv[replan.argv.index("--planned") + 1].split("=")])
    assert list(planned) == ["scheduler.1"]

    def seen(**options: str) -> dict[str, str]:
        looked = scene.build(**options)
        return scheduler_digests(looked.plan.instances, looked.world)

    assert seen() == seen(formation="web=3") == planned
    assert seen(formation="scheduler=0") == {}
    scene.write("shop.py", "app = None\n")
    assert seen(app="shop:app") != planned
    scene.write("whalefall.toml", "[services.web]\ngrace = 3\n")
    assert seen() == planned
    scene.write("whalefall.toml", "[services.scheduler]\nstart_timeout = 3\n")
    assert seen() != planned
    scene.write("Procfile", "web: sleep 1\nscheduler: sleep 1\n").write("whalefall.toml", "")
    assert seen() == {}, "none of ours"


def test_a_secret_that_is_given_is_not_generated(scene: Scene) -> None:
    scene.setting(SECRET_KEY="mine")
    built = build(scene.request())
    assert built.plan.instances[0].command.env["SECRET_KEY"] == "mine"
    assert not (scene.directory / "var" / "secret_key").exists()


def test_the_plan_survives_json(scene: Scene) -> None:
    plan = build(scene.request()).plan
    assert plan_from_json(plan_to_json(plan)) == plan


def test_the_next_plan_is_asked_for_with_the_same_words(scene: Scene) -> None:
    scene.write("shop.py", "app = jobs = None").write("P", "web: whalefall web\nworker: sleep 1\n").write("e", "")
    plan = scene.build(
        app="shop:app", port=6000, formation="worker=0", grace_s=5, procfile=Path("P"), env_file=Path("e")
    ).plan
    assert plan.replan is not None
    words = (
        "-P -m whalefall plan --for-supervisor shop:app --procfile P --port 6000 --formation worker=0 --grace 5 --env e"
    )
    assert plan.replan.argv == (sys.executable, *words.split())
    assert plan.replan.env == scene.environ


def test_no_secret_is_shown(scene: Scene) -> None:
    scene.procfile(
        "web: DB_PASSWORD=hush1 sleep 1\nworker: sleep --token=hush2\n".replace("sleep --token=hush2", "sleep 1")
    )
    scene.write(".env", "API_TOKEN=hush3\nDATABASE_URL=postgresql://u:hush4@h/d\n").setting(SECRET_KEY="hush5")
    built = scene.build()
    assert "hush" not in in_words(built)
    assert "hush" not in json.dumps(as_document(built))
    assert "hush3" in in_words(built, show_secrets=True)
    document = as_document(built)
    assert document["instances"][0]["command"]["env"]["API_TOKEN"] == MASK
    assert document["sources"]["web.1"]["API_TOKEN"] == ".env:1"
    assert set(document["sources"]["web.1"]) == set(document["instances"][0]["command"]["env"])
