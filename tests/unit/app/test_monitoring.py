"""What Prometheus and Grafana get: rules that fire when they must, queries that parse, metrics that there are."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.promtool import promtool, told
from tests.unit.app.conftest import Visitor
from whalefall.app import counted, metrics

DOCS = Path(__file__).parents[3] / "docs"
DASHBOARD = DOCS / "grafana" / "whalefall.json"
ALERTS = DOCS / "grafana" / "alerts.yml"
RULE_TESTS = Path(__file__).with_name("alerts_test.yml")
_COUNTERS = {  # the format adds _total
    "whalefall_http_requests",
    "whalefall_instance_restarts",
    "whalefall_job_expected",
    "whalefall_job_missed",
    "whalefall_job_runs",
    "whalefall_notices",
}


@pytest.fixture
def checker() -> None:
    if promtool() is None:
        pytest.skip("promtool is neither installed nor to be had (apt-get download prometheus)")


def queries() -> Iterator[tuple[str, str]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from ((panel["title"], target["expr"]) for target in panel.get("targets", []))


def metrics_used() -> set[str]:
    texts = [ALERTS.read_text(), *(query for _, query in queries())]
    return {re.sub("_(bucket|sum|count)$", "", name) for name in re.findall(r"\bwhalefall_\w+", "\n".join(texts))}


def test_the_monitoring_page_names_the_metrics_that_there_are() -> None:
    page = (DOCS / "how-to" / "monitoring.md").read_text()
    listed = set(re.findall(r"^\| `(whalefall_\w+)` ", page, re.MULTILINE))
    source = "".join(Path(module.__file__).read_text() for module in (counted, metrics))
    parts = "http|up|info|instance|supervisor|scheduler|jobs?|notices|alarms"
    made = set(re.findall(rf"\"(whalefall_(?:{parts})\w*)\"", source))
    assert listed == {f"{name}_total" if name in _COUNTERS else name for name in made}
    assert metrics_used() <= listed


def test_the_monitoring_page_names_every_alert() -> None:
    page = (DOCS / "how-to" / "monitoring.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", ALERTS.read_text())
    assert re.findall(r"^\| `([A-Z]\w+)` ", page, re.MULTILINE) == alerts
    tested = re.findall(r"alertname: (\w+)", RULE_TESTS.read_text())
    assert tested == alerts * 2  # quiet on a healthy site, loud on a sick one


def test_the_dashboard_is_one_that_grafana_can_read() -> None:
    board = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    taken = [(x, y) for place in places for x in _span(place, "x", "w") for y in _span(place, "y", "h")]
    assert len(taken) == len(set(taken)), "panels lie upon one another"
    assert {str(panel["datasource"]["uid"]) for panel in board["panels"] if "datasource" in panel} == {"${datasource}"}


def _span(place: dict[str, int], start: str, length: str) -> range:
    return range(place[start], place[start] + place[length])


def test_the_counters_are_named_as_such_in_rules_and_panels() -> None:
    """A counter as it is says how long the site has lived; only its increase or rate says what happens."""
    texts = [ALERTS.read_text(), *(query for _, query in queries())]
    uses = re.findall(r"(\w*)\((whalefall_\w+_(?:total|bucket|sum|count))", "\n".join(texts))
    assert len(uses) > 15
    assert {function for function, _ in uses} == {"increase", "rate"}


@pytest.mark.usefixtures("checker")
def test_every_query_of_the_dashboard_parses(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$site", "a")}
        for number, (_, query) in enumerate(queries())
    ]
    assert len(rules) > 15
    path = tmp_path / "queries.yml"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    code, said = told("check", "rules", str(path))
    assert code == 0, said
    path.write_text(path.read_text().replace("sum(", "sum((", 1))
    assert told("check", "rules", str(path))[0] != 0, "it would not see a query that does not parse"


@pytest.mark.usefixtures("checker")
def test_the_alerts_are_quiet_on_a_healthy_site_and_loud_on_a_sick_one(tmp_path: Path) -> None:
    for path in (ALERTS, RULE_TESTS):
        shutil.copy(path, tmp_path)
    code, said = told("check", "rules", "alerts.yml", cwd=tmp_path)
    assert code == 0, said
    code, said = told("test", "rules", RULE_TESTS.name, cwd=tmp_path)
    assert code == 0, said


@pytest.mark.usefixtures("checker")
def test_prometheus_itself_takes_the_scrape(admin: Visitor) -> None:
    code, said = told("check", "metrics", stdin=admin.get("/metrics").data)
    assert code == 0, said
