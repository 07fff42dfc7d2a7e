"""The options as a JSON schema, for editors. Generated from the same tables that the planner reads by.

python -m whalefall.planner.schema > docs/reference/options.schema.json
"""

import json
import sys
from typing import Any

from whalefall.planner.options import SERVICE, TOP, Option


def document() -> dict[str, Any]:
    """The schema of whalefall.toml, which is also that of [tool.whalefall]."""
    service = _table(SERVICE)
    top = _table(TOP)
    top["properties"]["services"] |= {"additionalProperties": service}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "whalefall.toml, or [tool.whalefall] of pyproject.toml",
        **top,
    }


def text() -> str:
    """The document as it is shipped."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _table(rows: tuple[Option, ...]) -> dict[str, Any]:
    properties = {row.key: {"description": row.purpose, **row.kind.schema} for row in rows}
    return {"type": "object", "properties": properties, "additionalProperties": False}


if __name__ == "__main__":
    sys.stdout.write(text())
