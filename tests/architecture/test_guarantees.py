"""The page of promises names tests that exist, and no promise stands there without one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.supervised import ROOT

PAGE = ROOT / "docs" / "explanation" / "guarantees.md"
NAMED = re.findall(r"`(tests/[^`]+)`", PAGE.read_text())
FEWEST = 80  # a page that lost its table would pass, too


@cache
def names_in(file: Path) -> frozenset[str]:
    """`test_a` and `TestB::test_c`, as pytest names them."""
    found = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return frozenset(name for name in found if name.rpartition("::")[2].startswith("test_"))


@pytest.mark.parametrize("named", NAMED)
def test_a_test_that_the_page_names_exists(named: str) -> None:
    file, _, name = named.partition("::")
    assert (ROOT / file).is_file(), file
    assert name in names_in(ROOT / file)


def test_every_promise_has_a_test() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "shown by" not in line]
    assert [row for row in rows if "`tests/" not in row.split(" | ", 1)[1]] == []
    assert len(NAMED) >= FEWEST
