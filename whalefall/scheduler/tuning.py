"""The numbers of the machinery, each with its reason. Tests make them small; others rarely touch them.

A Flask configuration key `SCHEDULER_` + the upper-case name changes one (`SCHEDULER_LEASE_TTL_S = 30`).
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from whalefall.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Tuning:
    lease_ttl_s: float = 10.0  # a dead leader is replaced after this long
    renew_every_s: float = 3.0  # three tries before the lease ends
    run_lease_s: float = 30.0  # a silent runner's run is lost after this long
    poll_s: float = 1.0  # how soon an edit made by another process is seen
    sweep_every_s: float = 5.0
    send_again_s: float = 30.0  # a run sent to a worker elsewhere and not claimed is sent again after this long
    sign_every_s: float = 1.0  # progress and output reach the ledger this often
    batch: int = 500  # jobs recorded in one transaction: measured, larger gains nothing
    threads: int = 10
    processes: int = 4
    backoff_max_s: float = 15.0  # between tries while the database does not answer
    tidy_every_s: float = 3600.0  # old runs are forgotten this often, first after a tenth of it
    hung_after_s: float = 30.0  # a loop that has not turned for so long gives the lease away


def tuning_from(config: Mapping[str, Any]) -> Tuning:
    """Reads the keys of a Flask configuration. Raises ConfigError."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Tuning):
        key = f"SCHEDULER_{field.name.upper()}"
        if key not in config:
            continue
        value = config[key]
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ConfigError(f"{key}: {value!r} is not a number above 0.")
        values[field.name] = int(value) if field.type is int else float(value)
    return Tuning(**values)
