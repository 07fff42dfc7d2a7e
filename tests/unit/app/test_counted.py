"""What is counted, as Prometheus sees it: histograms like those of its own library, a bounded number of series."""

import random
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from whalefall.app import counted
from whalefall.app.counted import Counts
from whalefall.app.tally import Tally
from whalefall.scheduler.core.fires import NEWER_RAN
from whalefall.scheduler.core.runs import RunState, Source
from whalefall.scheduler.ledger.news import Ended, News, Recorded


class _Shown(Collector):
    def __init__(self, counts: Counts, *job_ids: str) -> None:
        self._counts, self._job_ids = counts, job_ids

    def collect(self):
        return self._counts.shown(self._job_ids)


def shown(counts: Counts, *job_ids: str) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(_Shown(counts, *job_ids)).decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def run(job_id: str, state: RunState = RunState.SUCCEEDED, late_s: float = 0.02, took_s: float = 3.0) -> list[News]:
    return [Recorded(job_id, RunState.QUEUED, 1), Ended(job_id, state, Source.SCHEDULE, late_s, took_s)]


def test_a_histogram_is_what_prometheus_own_library_makes_of_it(tmp_path: Path) -> None:
    chance = random.Random(3)
    values = [*counted.DURATION.bounds, 0.0, 1e6, *(chance.expovariate(0.02) for _ in range(500))]
    registry = CollectorRegistry()
    theirs = Histogram(
        counted.DURATION.name, counted.DURATION.text, ["job"], buckets=counted.DURATION.bounds, registry=registry
    )
    for value in values:
        theirs.labels("report").observe(value)
    for part in (values[:200], values[200:]):  # two processes, one after the other
        Counts(Tally(tmp_path)).runs(
            [Ended("report", RunState.SUCCEEDED, Source.SCHEDULE, None, value) for value in part]
        )
    expected = {
        (s.name, *s.labels.values()): s.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for s in family.samples
        if not s.name.endswith("_created")
    }
    found = {key: value for key, value in shown(Counts(Tally(tmp_path))).items() if key[0] in {k[0] for k in expected}}
    assert found == pytest.approx(expected)
    assert len(found) == len(counted.DURATION.bounds) + 3


def test_runs_skips_and_attempts_in_between() -> None:
    counts = Counts(Tally(None))
    counts.runs(
        [
            Recorded("report", RunState.QUEUED, 1),
            Recorded("report", RunState.SKIPPED_LATE, 30, "late by 70.0 s"),  # one row that stands for many
            Recorded("report", RunState.SKIPPED_LATE, 10, NEWER_RAN),
            Ended("report", RunState.QUEUED, Source.SCHEDULE, 0.2, None),  # to be tried again
            Ended("report", RunState.FAILED, Source.SCHEDULE, None, 5.0),
        ]
    )
    found = shown(counts)
    assert found["whalefall_job_expected_total", "report"] == 41
    runs = {key[2]: value for key, value in found.items() if key[0] == "whalefall_job_runs_total"}
    assert {state: value for state, value in runs.items() if value} == {"skipped_late": 40, "failed": 1}
    assert found["whalefall_job_missed_total", "report"] == 30, "a newer one that ran instead leaves nothing amiss"
    assert found["whalefall_job_lateness_seconds_count", "report"] == 1
    assert found["whalefall_job_duration_seconds_sum", "report"] == 5


def test_a_run_by_hand_is_expected_when_it_has_ended() -> None:
    counts = Counts(Tally(None))
    counts.runs([Ended("report", RunState.QUEUED, Source.MANUAL, 0.1, None)])
    assert "whalefall_job_expected_total" not in {key[0] for key in shown(counts)}
    counts.runs([Ended("report", RunState.CANCELLED, Source.MANUAL)])
    found = shown(counts)
    assert found["whalefall_job_expected_total", "report"] == 1
    assert found["whalefall_job_runs_total", "report", "cancelled"] == 1


def test_a_job_that_never_failed_shows_a_zero_so_that_the_first_failure_is_an_increase() -> None:
    found = shown(Counts(Tally(None)), "report")
    zeros = {key[1:] for key, value in found.items() if key[0] == "whalefall_job_runs_total" and value == 0}
    assert zeros == {("report", str(state)) for state in counted.SHOWN_STATES}
    assert found["whalefall_job_expected_total", "report"] == found["whalefall_job_missed_total", "report"] == 0


def test_beyond_a_thousand_jobs_the_rest_is_one_series_also_for_the_next_process(tmp_path: Path) -> None:
    first = Counts(Tally(tmp_path))
    first.runs([news for number in range(counted.JOBS_MAX - 1) for news in run(f"a{number}")])
    second = Counts(Tally(tmp_path))
    second.runs([*run("b1"), *run("b2"), *run("b3"), *run("a7")])
    found = shown(Counts(Tally(tmp_path)), "b1", "b4")
    runs = Counter({key[1]: value for key, value in found.items() if key[0] == "whalefall_job_expected_total"})
    assert (runs["a7"], runs["b1"], runs["(other)"]) == (2, 1, 2)
    assert len(runs) == counted.JOBS_MAX + 1, "nobody gets a zero who would get no series"


def test_bounds_of_another_release_end_in_those_of_this_one(tmp_path: Path) -> None:
    name = counted.DURATION.name
    Tally(tmp_path).add({(name, "report", "2.0"): 3, (name, "report", "99999999.0"): 1, (name, "report", "sum"): 7})
    found = shown(Counts(Tally(tmp_path)))
    assert [found[f"{name}_bucket", "report", le] for le in ("1.0", "5.0", "43200.0", "+Inf")] == [0, 3, 3, 4]
    assert found[f"{name}_sum", "report"] == 7


def test_a_clock_that_was_set_back_makes_no_negative_seconds() -> None:
    counts = Counts(Tally(None))
    counts.runs([Ended("report", RunState.SUCCEEDED, Source.SCHEDULE, -3.0, -0.5)])
    found = shown(counts)
    assert found["whalefall_job_duration_seconds_sum", "report"] == 0
    assert found["whalefall_job_lateness_seconds_bucket", "report", "0.01"] == 1
