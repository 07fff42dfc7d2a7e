"""What came of a command that acts: sentences as it happens, or with --json one document at its end.

The document has the shape of the control protocol's reply: `ok`, and `error` with the sentence that standard error has,
too. `instances` are rows as in `status`, each with `done`: what this command has done to it, "" for nothing.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from whalefall.errors import WhalefallError

Row = dict[str, Any]


@dataclass(slots=True)
class Outcome:
    """`rows` are the newest that are known of the instances that the command is about."""

    as_json: bool
    rows: dict[str, Row] = field(default_factory=dict)
    done: dict[str, str] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)  # what this command alone has to tell

    def say(self, sentence: str) -> None:
        """At once; nothing with --json."""
        if not self.as_json:
            print(sentence, flush=True)

    def concerns(self, names: Iterable[str], rows: Mapping[str, Row]) -> None:
        """From now on the document has these instances; one without a row yet gets it from `see`."""
        self.rows = {name: rows.get(name, {"name": name}) for name in names}

    def see(self, rows: Mapping[str, Row]) -> None:
        """Newer rows."""
        self.rows |= {name: rows[name] for name in self.rows if name in rows}

    def did(self, row: Row, what: str) -> None:
        """`what` was done to the instance, which is now as `row`."""
        self.rows[row["name"]], self.done[row["name"]] = row, what

    def close(self, error: str) -> None:
        """Prints the document, where one is wanted. `error` is "" when all is done."""
        if self.as_json:
            rows = [row | {"done": self.done.get(name, "")} for name, row in self.rows.items()]
            document = {"ok": not error, "error": error, **self.more, "instances": rows}
            print(json.dumps(document, indent=2), flush=True)


@contextmanager
def told(arguments: argparse.Namespace) -> Iterator[Outcome]:
    """Around a command: its document is printed when it succeeds, and when it raises one of our errors."""
    outcome = Outcome(arguments.json)
    try:
        yield outcome
    except WhalefallError as error:
        outcome.close(str(error))
        raise
    outcome.close("")
