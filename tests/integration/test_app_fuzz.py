"""A fuzzer reads the OpenAPI document and asks through the real Nginx, as an administrator, as a viewer, as nobody.

No 500, no undocumented status, no answer that breaks its schema. Half of the cases name things that exist, because a
random name gets no further than 404.
"""

import os
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.integration.test_app_site import APPLICATION, PASSWORD, Browser
from tests.support.deployment import Deployment

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "4"))  # per operation and visitor; more for a long night
CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
# Restarting the site or locking everybody out is what these are for; they are asked about names that nobody has.
NEVER_REAL = ("/processes/{name}/actions/", "/users/{name}")


class Site:
    """The running site, a token for each role, and names of things that exist."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        with Browser(deployment.url("")) as browser:
            browser.log_in()
            self.tokens = {
                role: browser.ask("POST", "/api/v1/tokens", json={"name": f"fuzz {role}", "role": role}).json()["data"]
                for role in ("view", "admin")
            }
            run = browser.ask("POST", "/api/v1/scheduler/jobs/count/actions/run", json={}).json()["data"]["run_id"]
        self.names = {"job_id": "count", "run_id": run, "name": "web.1"}

    def headers(self, who: str) -> dict[str, str]:
        """Under another name than localhost, or nobody would be "this machine"."""
        host = {"Host": "fuzz.example", "Connection": "close"}
        return host if who == "nobody" else host | {"Authorization": f"Bearer {self.tokens[who]['secret']}"}

    def name_what_exists(self, case) -> None:
        if not any(part in case.operation.path for part in NEVER_REAL):
            for name, real in self.names.items():
                if name in (case.path_parameters or {}):
                    case.path_parameters[name] = real


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("fuzz")
    (directory / "own.py").write_text(APPLICATION)
    deployment = Deployment(directory, "own:app", WHALEFALL_ADMIN_PASSWORD=PASSWORD)
    with deployment.start():
        yield Site(deployment.until_ready())


@pytest.mark.parametrize("who", ["nobody", "view", "admin"])
def test_no_input_that_a_fuzzer_finds_breaks_a_promise_of_the_document(site: Site, who: str) -> None:
    schema = schemathesis.openapi.from_url(
        site.deployment.url("/api/v1/openapi.json"), config=SchemathesisConfig(), timeout=30
    )
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) > 30
    answers = Counter(status for operation in operations for status in fuzz(site, who, operation))
    expected = {"nobody": {200, 401}, "view": {200, 403, 404}, "admin": {200, 400, 404}}[who]
    assert expected <= set(answers), answers  # else it did not get where it should
    assert site.deployment.get("/api/v1/health/basic").status_code == 200
    assert all(row["restarts"] == 0 for row in site.deployment.rows().values()), "a process died of it"


def fuzz(site: Site, who: str, operation) -> list[int]:
    statuses: list[int] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=timedelta(seconds=30),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), is_real=st.booleans())
    def check(case, is_real: bool) -> None:
        if is_real:
            site.name_what_exists(case)
        answer = case.call(base_url=site.deployment.url(""), headers=site.headers(who), timeout=60)
        statuses.append(answer.status_code)
        assert answer.status_code not in range(500, 503), (case.as_curl_command(), answer.text)
        case.validate_response(answer, checks=CHECKS)

    check()
    return statuses
