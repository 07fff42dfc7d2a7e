"""Tables fit the terminal, and lose nothing where there is none."""

import pytest

from whalefall.scheduler.tables import fitted, told_below

JOBS = [
    ("ID", "TRIGGER", "NEXT", "SOURCE"),
    ("report", "at 00:00, on the last day of the month", "2026-12-31 18:00:00", "code"),
    ("tick", "every minute", "-", "edited"),
]
RUNS = [("WHEN", "REASON"), ("18:00", "the shelf is empty, and so is the cellar"), ("18:01", "")]


def test_without_a_terminal_a_table_is_as_wide_as_it_is() -> None:
    assert fitted(JOBS, None, cut=(0, 1)) == [
        "ID      TRIGGER                                 NEXT                 SOURCE",
        "report  at 00:00, on the last day of the month  2026-12-31 18:00:00  code",
        "tick    every minute                            -                    edited",
    ]
    assert told_below(RUNS, None) == ["WHEN   REASON", "18:00  the shelf is empty, and so is the cellar", "18:01"]


def test_what_does_not_fit_loses_its_last_column_and_then_its_widest_cells() -> None:
    assert fitted(JOBS, 75, cut=(0, 1)) == fitted(JOBS, None, cut=(0, 1))
    assert fitted(JOBS, 74, cut=(0, 1))[1] == ("report  at 00:00, on the last day of the month  2026-12-31 18:00:00")
    assert fitted(JOBS, 50, cut=(0, 1)) == [
        "ID      TRIGGER                NEXT",
        "report  at 00:00, on the las…  2026-12-31 18:00:00",
        "tick    every minute           -",
    ]


@pytest.mark.parametrize("width", [1, 20, 38])
def test_a_cell_stays_readable_and_a_time_whole_however_narrow_it_is(width: int) -> None:
    assert fitted(JOBS, width, cut=(0, 1))[1] == "report  at 00:00,…  2026-12-31 18:00:00"


def test_a_reason_that_does_not_fit_stands_below_its_row() -> None:
    assert told_below(RUNS, 30) == [
        "WHEN   REASON",
        "18:00",
        "    the shelf is empty, and so",
        "    is the cellar",
        "18:01",
    ]
    assert told_below(RUNS, 47) == told_below(RUNS, None)
