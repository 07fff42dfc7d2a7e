"""The JSON schema is current, and refuses what the reader refuses."""

import tomllib
from typing import Any

import jsonschema_rs
import pytest

from tests.support.supervised import ROOT
from tests.unit.planner.test_options import FULL, VALUES
from whalefall.planner import schema

SHIPPED = ROOT / "docs" / "reference" / "options.schema.json"


def accepts(document: Any) -> bool:
    return bool(jsonschema_rs.Draft202012Validator(schema.document()).is_valid(document))


def test_the_shipped_schema_is_current() -> None:
    assert SHIPPED.read_text() == schema.text(), "run: python -m whalefall.planner.schema > docs/reference/…"


def test_it_is_a_schema_and_takes_a_full_file() -> None:
    assert jsonschema_rs.meta.is_valid(schema.document())
    assert accepts(tomllib.loads(FULL)["tool"]["whalefall"])


@pytest.mark.parametrize(("key", "value", "_"), VALUES.values(), ids=VALUES)
def test_it_refuses_what_the_reader_refuses(key: str, value: object, _: str) -> None:
    assert not accepts({"services": {"web": {key: value}}})


def test_it_knows_no_other_keys() -> None:
    assert accepts({"app": "a:b"})
    assert not accepts({"aap": "a:b"})
    assert not accepts({"services": {"web": {"redy": "/"}}})
