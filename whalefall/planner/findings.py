"""What `whalefall check` has found beside the Plan: a sentence, and how much it weighs."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """An `error` would keep `serve` from starting, a `warning` will hurt later, a `note` is good to know."""

    sentence: str
    weight: Literal["error", "warning", "note"] = "warning"
