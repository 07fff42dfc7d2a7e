"""The reference is what the code says, and the examples of the how-tos run."""

import re
import types
from pathlib import Path

import pytest

from tests.unit.app.conftest import Visitor
from whalefall.app.api import reference
from whalefall.scheduler import of

DOCS = Path(__file__).parents[3] / "docs"


def test_the_api_reference_is_what_the_code_says() -> None:
    told = (DOCS / "reference" / "api.md").read_text()
    assert told == reference.render(reference.document()), (
        "run: python -m whalefall.app.api.reference docs/reference/api.md"
    )


def blocks(name: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / "how-to" / name).read_text(), re.DOTALL)


def test_the_python_of_the_how_to_runs_against_the_real_api(app, admin, monkeypatch, capsys) -> None:
    """`requests` is answered by the application itself; nothing else of the examples is touched."""
    secret = admin.post("/api/v1/tokens", json={"name": "example", "role": "admin"}).json["data"]["secret"]
    script = Visitor(app)

    class Session:
        def __init__(self) -> None:
            self.headers: dict[str, str] = {}

        def get(self, url: str, params: dict | None = None) -> object:
            return self._answer(script.get(self._path(url), query_string=params, headers=self.headers))

        def post(self, url: str, json: dict) -> object:
            return self._answer(script.post(self._path(url), json=json, headers=self.headers))

        def _path(self, url: str) -> str:
            return url.replace("https://site.example", "").replace("import_orders", "greet")

        def _answer(self, answer) -> object:
            assert answer.status_code == 200, answer.text
            return types.SimpleNamespace(json=lambda: answer.json)

    requests = types.SimpleNamespace(Session=Session)
    monkeypatch.setitem(__import__("sys").modules, "requests", requests)
    assert of(app).start()
    try:
        space: dict[str, object] = {"token": secret}
        for block in blocks("api-from-scripts.md"):
            exec(compile(block, "api-from-scripts.md", "exec"), space)  # noqa: S102 - the point of the test
    finally:
        of(app).stop(5)
    assert "succeeded hello" in capsys.readouterr().out
    assert {job["pause_reason"] for job in admin.get("/api/v1/scheduler/jobs").json["data"]} == {"deploy 42"}


def test_the_application_of_the_how_to_serves_its_pages(tmp_path, monkeypatch) -> None:
    for name, value in {"DATA_DIR": str(tmp_path), "RUN_DIR": str(tmp_path), "SECRET_KEY": "k" * 40}.items():
        monkeypatch.setenv(name, value)
    space: dict[str, object] = {"__name__": "example"}
    for block in blocks("users-and-access.md"):
        exec(compile(block, "users-and-access.md", "exec"), space)  # noqa: S102 - the point of the test
    app = space["app"]
    assert Visitor(app, "127.0.0.1", "localhost").get("/scheduler").status_code == 200
    of(app).engine.dispose()


@pytest.mark.parametrize("name", ["users-and-access.md", "api-from-scripts.md", "monitoring.md"])
def test_every_link_of_a_how_to_leads_somewhere(name) -> None:
    page = DOCS / "how-to" / name
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
