"""A fuzzer that reads the OpenAPI document: no 500, no undocumented status, no answer that breaks its schema."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, given, settings
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.unit.app.conftest import make_app
from whalefall.app.store import tokens
from whalefall.scheduler import of

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))  # per operation; more for a long night
# 503 is documented: no supervisor runs here, and no scheduler leads.
CHECKS = [
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]


@pytest.fixture(scope="module")
def fuzzed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Flask:
    data = tmp_path_factory.mktemp("fuzz") / "data"
    shutil.copytree(template, data)
    return make_app(data)


@pytest.fixture(scope="module")
def secret(fuzzed: Flask) -> str:
    return tokens.make(of(fuzzed).engine, "fuzzer", "admin", created_by="test", days=1)[1]


def operations(app: Flask) -> list:
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app, config=SchemathesisConfig())
    return [result.ok() for result in schema.get_all_operations()]


def test_no_input_that_a_fuzzer_finds_breaks_a_promise_of_the_document(fuzzed: Flask, secret: str) -> None:
    found = operations(fuzzed)
    assert len(found) > 30
    for operation in found:
        fuzz(operation, secret)
    of(fuzzed).engine.dispose()


def fuzz(operation, secret: str) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=timedelta(seconds=10),
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case) -> None:
        answer = case.call(headers={"Authorization": f"Bearer {secret}"})
        assert answer.status_code not in range(500, 503), (case.as_curl_command(), answer.text)
        case.validate_response(answer, checks=CHECKS)

    check()


def test_the_fuzzer_would_see_a_broken_promise(fuzzed: Flask, secret: str) -> None:
    """It can fail: an operation that answers what its schema does not allow."""
    listing = next(operation for operation in operations(fuzzed) if operation.path.endswith("/health/ping"))
    original = fuzzed.view_functions["whalefall_health.ping"]
    fuzzed.view_functions["whalefall_health.ping"] = lambda: {"success": "perhaps"}
    try:
        with pytest.raises(BaseException):  # noqa: B017, PT011 - a group of failures, of schemathesis' own classes
            fuzz(listing, secret)
    finally:
        fuzzed.view_functions["whalefall_health.ping"] = original
