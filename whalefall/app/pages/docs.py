"""The page at /api/v1/docs: the OpenAPI document for people, rendered here, because a vendored viewer is megabytes."""

from typing import Any

from flask import render_template

from whalefall.app.pages import show


def render(document: dict[str, Any]) -> str:
    """Every operation, grouped by its tag."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "parameters":
                entry = operation | {"path": path, "method": method.upper()}
                groups.setdefault(operation["tags"][0], []).append(entry)
    tags = {tag["name"]: tag.get("description", "") for tag in document["tags"]}
    return render_template("whalefall/docs.html", groups=groups, tags=tags, document=document, **show.context())
