"""Options are checked to the last key; a typo is refused with what was probably meant."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.planner.scene import attempt
from whalefall.errors import ConfigError
from whalefall.plan import Dependency
from whalefall.planner import options, toml_lines
from whalefall.planner.options import SERVICE, TOP, Options, ServiceOptions, from_document, read

FULL = """
[tool.whalefall]
app = "shop.wsgi:application"

[tool.whalefall.services.web]
listen = ["127.0.0.1:5001", "unix:/run/x.sock", "[::1]:80"]
ready = "/health"
after = ["release:finished", "db:started", "cache"]
stop_signal = "sigint"
grace = 4
orphans = "drain"
on_give_up = "degrade"
env = { MODE = "x" }
start_timeout = 90
live = "tcp"
live_period = 3
live_timeout = 0.5
live_failures = 2
watchdog = 30
critical = false
memory_limit = "300M"
log = "raw"
run_once = true
instances = 4
restart_first = 1
restart_max = 20
early_crashes = 3
early_window = 30
crashes = 6
crash_window = 90
user = "nobody"
umask = "027"
limits = { nofile = 64, core = "unlimited" }
"""


def test_every_key_is_read(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(FULL)
    found = read(tmp_path)
    assert found.app == "shop.wsgi:application"
    assert found.of("web") == ServiceOptions(
        listen=("127.0.0.1:5001", "unix:/run/x.sock", "[::1]:80"),
        ready="/health",
        after=(Dependency("release", "finished"), Dependency("db", "started"), Dependency("cache", "ready")),
        stop_signal="INT",
        grace=4.0,
        orphans="drain",
        on_give_up="degrade",
        env={"MODE": "x"},
        start_timeout=90.0,
        live="tcp",
        live_period=3.0,
        live_timeout=0.5,
        live_failures=2,
        watchdog=30.0,
        critical=False,
        memory_limit=300 * 1024 * 1024,
        log="raw",
        run_once=True,
        instances=4,
        restart_first=1.0,
        restart_max=20.0,
        early_crashes=3,
        early_window=30.0,
        crashes=6,
        crash_window=90.0,
        user="nobody",
        umask=0o027,
        limits={"nofile": 64, "core": -1},
    )
    assert found.of("other") == ServiceOptions()


def test_whalefall_toml_has_the_same_keys_without_a_prefix_and_goes_first(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(FULL)
    (tmp_path / "whalefall.toml").write_text('app = "a:b"\n[services.web]\nready = "tcp"\n')
    found = read(tmp_path)
    assert (found.path, found.app, found.of("web").ready) == ("whalefall.toml", "a:b", "tcp")
    assert found.where("web", "ready") == "whalefall.toml:3: [services.web] ready"
    assert found.where_top("app") == "whalefall.toml:1: app"


def test_no_file_and_no_table_mean_no_options(tmp_path: Path) -> None:
    assert read(tmp_path) == Options()
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert read(tmp_path).services == {}


WRONG = {
    "a top key": ({"aap": "x"}, "p: [T] has no key 'aap'. Did you mean 'app'?"),
    "a service key": (
        {"services": {"web": {"redy": "/"}}},
        "p: [T.services.web] has no key 'redy'. Did you mean 'ready'?",
    ),
    "nothing near": (
        {"services": {"web": {"zzz": 1}}},
        "p: [T.services.web] has no key 'zzz'. There are: listen, ready",
    ),
    "services": ({"services": []}, "p: [T] services = [] is not understood"),
    "a service": ({"services": {"web": 1}}, "p: [T.services.web] is no table."),
    "the table": ([], "p: tool.whalefall is no table."),
    "app": ({"app": 1}, "p: [T] app = 1 is not understood: write a text in quotes."),
}
VALUES = {
    "listen as a text": ("listen", "127.0.0.1:80", "write a list of texts"),
    "listen without a port": ("listen", ["localhost"], "write host:port"),
    "listen twice": ("listen", ["h:1", "h:1"], "the same address stands in it twice"),
    "ready without a slash": ("ready", "health", "write a path to ask for by HTTP"),
    "ready with a blank": ("ready", "/a b", "write a path"),
    "ready as a number": ("ready", 1, "write a path"),
    "ready as no command": ("ready", [], "or a command as a list of words"),
    "ready as a command with a number": ("ready", ["sleep", 1], "or a command as a list of words"),
    "live by its own word": ("live", "notify", 'or "tcp", "none", or a command'),
    "a size in another unit": ("memory_limit", "300 MB", 'as in "300M", "2G" or as a number of bytes'),
    "a size below a megabyte": ("memory_limit", 1000, "at least one megabyte"),
    "a size as a boolean": ("memory_limit", True, "write a size"),
    "critical as a text": ("critical", "no", "write true or false"),
    "an unknown format": ("log", "jsno", "did you mean 'json'?"),
    "a watchdog that never barks": ("watchdog", 0, "more than 0"),
    "after as a text": ("after", "web", "write a list of texts"),
    "after an unknown state": ("after", ["web:up"], "'web:up' ends with no known state"),
    "a signal": ("stop_signal", "SIGBOOM", "write one of TERM, INT"),
    "a signal's number": ("stop_signal", 15, "write one of TERM, INT"),
    "no grace": ("grace", 0, "more than 0"),
    "too much grace": ("grace", 3601, "at most 3600"),
    "grace as a text": ("grace", "4", "write a number of seconds"),
    "grace as a boolean": ("grace", True, "write a number of seconds"),
    "orphans": ("orphans", "drian", "write one of kill, drain; did you mean 'drain'?"),
    "on_give_up": ("on_give_up", "die", "write one of exit, degrade, stop"),
    "env": ("env", ["A=1"], "write a table of texts"),
    "env with a number": ("env", {"A": 1}, "A must be a text in quotes"),
    "run_once as a text": ("run_once", "yes", "write true or false"),
    "too many instances": ("instances", 101, "write a whole number from 0 to 100"),
    "half an instance": ("instances", 1.5, "write a whole number"),
    "instances as a boolean": ("instances", True, "write a whole number"),
    "no crashes": ("crashes", 0, "write a whole number from 1"),
    "a decimal umask": ("umask", 27, 'write three octal digits in quotes, as in "027"'),
    "an umask with a 9": ("umask", "099", "write three octal digits"),
    "limits as a number": ("limits", 4096, "write a table of numbers"),
    "an unknown limit": ("limits", {"nofiles": 1}, "there is no limit 'nofiles'; did you mean 'nofile'?"),
    "a negative limit": ("limits", {"nofile": -1}, "nofile must be a whole number"),
    "env with a bad name": ("env", {"A-B": "1"}, "'A-B' is no name of a variable"),
}


@pytest.mark.parametrize(("document", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_by_file_and_table(document: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_document(document, "pyproject.toml")
    assert str(caught.value).startswith(sentence.replace("p:", "pyproject.toml:", 1).replace("[T", "[tool.whalefall"))


@pytest.mark.parametrize(("key", "value", "sentence"), VALUES.values(), ids=VALUES)
def test_a_bad_value_is_named_by_its_key(key: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_document({"services": {"web": {key: value}}}, "pyproject.toml")
    assert f"[tool.whalefall.services.web] {key} = {value!r} is not understood" in str(caught.value)
    assert sentence in str(caught.value)


def test_a_file_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "whalefall.toml").write_text("app = \n")
    with pytest.raises(ConfigError, match=r"^whalefall.toml:1: is not TOML: Invalid value\.$"):
        read(tmp_path)
    (tmp_path / "whalefall.toml").write_text("app = 'a:b'\n\n[services.web\n")
    with pytest.raises(ConfigError, match=r"^whalefall.toml:3: is not TOML: "):
        read(tmp_path)
    (tmp_path / "whalefall.toml").write_text("app = 'a:b'\n[services.web]\nready = [")
    with pytest.raises(ConfigError, match=r"^whalefall.toml:3: is not TOML: "):
        read(tmp_path)
    (tmp_path / "whalefall.toml").write_bytes(b"app = 'a:b'\n# \xff\n")
    with pytest.raises(ConfigError, match=r"^whalefall.toml:2: byte 0xff is not UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize(("name", "table"), [("whalefall.toml", ""), ("pyproject.toml", "[tool.whalefall]\r\n")])
def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path: Path, name: str, table: str) -> None:
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + f'{table}app = "a:b"\r\n'.encode())
    assert read(tmp_path).app == "a:b"


PROJECT = '''\
[project]
name = "shop"
description = """
[tool.whalefall.services.web]
redy = "in a text, so nobody's key"
"""

[tool.whalefall]
app = "shop:app"

[tool.whalefall.services]
cache = { grace = 4 }
mail.grace = 4

[ tool . "whalefall" . services . 'web' ]
ready = "/health"
limits = { nofile = 64 }

[tool.whalefall.services.web.env]
MODE = "x"
'''


@pytest.mark.parametrize(
    ("was", "wrong", "where"),
    [
        ('app = "shop:app"', "app = 1", "pyproject.toml:9: [tool.whalefall] app = 1 is not"),
        ('app = "shop:app"', 'aap = "shop:app"', "pyproject.toml:9: [tool.whalefall] has no key 'aap'"),
        ("{ grace = 4 }", "{ grcae = 4 }", "pyproject.toml:12: [tool.whalefall.services.cache] has no key 'grcae'"),
        ("{ grace = 4 }", "4", "pyproject.toml:12: [tool.whalefall.services.cache] is no table"),
        ("mail.grace = 4", "mail.grace = 0", "pyproject.toml:13: [tool.whalefall.services.mail] grace = 0 is not"),
        ('ready = "/health"', 'redy = "/"', "pyproject.toml:16: [tool.whalefall.services.web] has no key 'redy'"),
        ("nofile", "nofiles", "pyproject.toml:17: [tool.whalefall.services.web] limits = "),
        ('MODE = "x"', "MODE = 1", "pyproject.toml:19: [tool.whalefall.services.web] env = "),
    ],
)
def test_an_error_names_the_line_of_the_key(tmp_path: Path, was: str, wrong: str, where: str) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    assert read(tmp_path).of("mail").grace == 4
    (tmp_path / "pyproject.toml").write_text(PROJECT.replace(was, wrong))
    with pytest.raises(ConfigError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(where)


def test_a_service_that_the_procfile_lacks_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    with pytest.raises(ConfigError, match=r"^pyproject.toml:15: \[tool.whalefall.services.web\]: the Procfile has no"):
        options.check_names(read(tmp_path), ["cache", "mail"])


@pytest.mark.parametrize("comment", ["# one\u2028line", '# """ opens nothing', "  # nor does '''"])
def test_a_comment_does_not_move_the_lines(tmp_path: Path, comment: str) -> None:
    (tmp_path / "whalefall.toml").write_text(f'{comment}\n[services.web]\nredy = "/"\n')
    with pytest.raises(ConfigError, match=r"^whalefall.toml:3: \[services.web\] has no key 'redy'"):
        read(tmp_path)


@given(st.text("[]='\".ab# \n", max_size=60))
def test_whatever_the_text_is_a_line_is_one_of_it(text: str) -> None:
    assert all(1 <= line <= len(text.splitlines()) for line in toml_lines.lines_of(text).values())


def test_options_of_an_unknown_service_are_refused() -> None:
    found = from_document({"services": {"wbe": {}}}, "pyproject.toml")
    with pytest.raises(ConfigError, match=r"services.wbe\]: the Procfile has no 'wbe'. Did you mean 'web'\?"):
        options.check_names(found, ["web", "scheduler"])


def test_the_tables_and_the_record_have_the_same_keys() -> None:
    assert {row.key for row in SERVICE} == set(ServiceOptions.__dataclass_fields__)
    assert {row.key for row in TOP} == {"app", "services"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([row.key for row in SERVICE] + ["x"]), JSON, max_size=4))
def test_any_table_is_answered_by_options_or_by_a_sentence(table: dict[str, object]) -> None:
    found, sentence = attempt(lambda: from_document({"services": {"web": table}}, "whalefall.toml"))
    assert found or sentence.startswith("whalefall.toml: [services.web]")


def test_a_question_ends_with_its_own_mark() -> None:
    with pytest.raises(ConfigError, match=r"there is no limit 'nofil'; did you mean 'nofile'\?$"):
        from_document({"services": {"web": {"limits": {"nofil": 4}}}}, "whalefall.toml")
