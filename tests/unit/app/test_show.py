"""How pages write durations, sizes, lines, bars, and schedules in two languages."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from whalefall.app.pages import show
from whalefall.app.pages.schedules import schedule_words
from whalefall.scheduler import of
from whalefall.scheduler.ledger.overview import Result


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, show.NOTHING),
        (-1, "0 ms"),
        (0.0004, "0 ms"),
        (0.25, "250 ms"),
        (0.9999, "1.0 s"),
        (9.94, "9.9 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (184, "3 min 4 s"),
        (3_599.6, "1 h"),
        (7_500, "2 h 5 min"),
        (86_400, "1 d"),
        (1_000_000, "11 d 13 h"),
    ],
)
def test_durations_are_written_for_people(seconds, text) -> None:
    assert show.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, show.NOTHING),
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1.0 KiB"),
        (123 * 2**20, "123 MiB"),
        (5 * 2**40, "5.0 TiB"),
    ],
)
def test_sizes_have_one_to_three_digits(count, text) -> None:
    assert show.size(count) == text


def test_a_line_needs_two_points_and_leaves_gaps_out() -> None:
    assert show.spark([]) == show.spark([1]) == show.spark([None, 1]) == ""
    line = str(show.spark([0, None, 10], top=10))
    assert 'points="0.0,30.0 100.0,2.0"' in line
    assert str(show.spark([0, 0]))  # nothing is divided by nothing


def test_bars_are_as_high_as_the_runs_took_long(app) -> None:
    def run(seconds: int, state: str = "succeeded") -> Result:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return Result("id", state, at, at, at.replace(second=seconds))

    with app.test_request_context():
        bars = show.bars(
            [run(5), run(10, "failed"), Result("id", "queued", datetime(2026, 1, 1, tzinfo=UTC), None, None)]
        )
    assert [(bar.height, bar.kind) for bar in bars] == [(50, "good"), (100, "bad"), (3, "idle")]
    assert bars[1].title == "failed · 10 s · 01-01 00:00:00 UTC"


WORDS = [
    ({"second": "*/30"}, "每 30 秒"),
    ({"minute": "*/15"}, "每 15 分钟"),
    ({"minute": "17", "hour": "3"}, "每天 03:17"),
    ({"minute": "5"}, "每小时 05 分"),
    ({"minute": "0", "hour": "*/4"}, "每 4 小时"),
    ({"minute": "30", "hour": "2", "day_of_week": "mon-fri"}, "周一\N{EN DASH}周五 02:30"),
    ({"minute": "0", "hour": "9", "day": "1"}, "每月 1 日 09:00"),
    ({"minute": "0", "hour": "9", "month": "1"}, None),
    ({"minute": "1,2", "hour": "9"}, None),
    ({"minute": "0", "hour": "9", "day_of_week": "0"}, None),
]


@pytest.mark.parametrize(("fields", "words"), WORDS)
def test_common_schedules_have_chinese_words_and_others_stay_expressions(app, fields, words) -> None:
    job = of(app).admin.get_job("greet")
    every = dict.fromkeys(("minute", "hour", "day", "month", "day_of_week", "year"), "*") | {"second": "0"}
    job = replace(job, trigger_args=every | fields, cron_expression="the expression")
    with app.test_request_context(headers={"Accept-Language": "zh-CN"}):
        assert schedule_words(job) == (words or "the expression")
    with app.test_request_context():
        assert schedule_words(job) == job.trigger_words
