"""Contract suites run against every implementation."""

from tests.support.databases import *  # noqa: F403 - fixtures are found by their names
