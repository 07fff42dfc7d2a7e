"""What is counted as it happens, in all processes together: requests, notices, and what becomes of each job's instants.

A family's name, labels and limits stand here once. Labels come from code and people of the site, never from strangers:
routes, not paths; and beyond JOBS_MAX jobs the rest share one label, because each series costs Prometheus memory.
"""

import math
import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from whalefall.app.tally import Key, Tally
from whalefall.scheduler.core.runs import FINAL, RunState, Source
from whalefall.scheduler.ledger.news import Ended, News, Recorded

JOBS_MAX = 1_000  # that have series of their own; Prometheus holds some thirty for each
OTHERS = "(other)"
# Shown as 0 until the first comes: Prometheus sees no increase in a series that begins with 1.
SHOWN_STATES = (RunState.SUCCEEDED, RunState.FAILED, RunState.TIMED_OUT, RunState.LOST)
_SUM = "sum"


@dataclass(frozen=True, slots=True)
class Family:
    """A counter; with bounds, upper limits in seconds, a histogram."""

    name: str
    text: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()

    def counted(self, *labels: str) -> Key:
        return (self.name, *labels)

    def observed(self, value: float, *labels: str) -> dict[Key, float]:
        """One observation: its bucket and its seconds."""
        value = max(value, 0.0)  # a clock may have been set back between start and end
        return {(self.name, *labels, str(self._bound(value))): 1, (self.name, *labels, _SUM): value}

    def shown(self, totals: Mapping[Key, float]) -> Metric:
        """As Prometheus wants it: buckets include those below them."""
        if not self.bounds:
            counter = CounterMetricFamily(self.name, self.text, labels=self.labels)
            for key, value in sorted(totals.items()):
                counter.add_metric(key[1:], value)
            return counter
        histogram = HistogramMetricFamily(self.name, self.text, labels=self.labels)
        series: defaultdict[Key, defaultdict[float, float]] = defaultdict(lambda: defaultdict(float))
        sums: dict[Key, float] = {}
        for (_, *labels, last), value in totals.items():
            if last == _SUM:
                sums[tuple(labels)] = value
            else:  # another release may have had other bounds
                series[tuple(labels)][self._bound(float(last))] += value
        for key, counts in sorted(series.items()):
            histogram.add_metric(key, list(self._cumulated(counts)), sums.get(key, 0.0))
        return histogram

    def _bound(self, value: float) -> float:
        at = bisect_left(self.bounds, value)
        return self.bounds[at] if at < len(self.bounds) else math.inf

    def _cumulated(self, counts: Mapping[float, float]) -> Iterator[tuple[str, float]]:
        count = 0.0
        for bound in (*self.bounds, math.inf):
            count += counts.get(bound, 0.0)
            yield ("+Inf" if bound == math.inf else str(bound)), count


REQUESTS = Family("whalefall_http_requests", "Requests by route and status", ("method", "route", "status"))
LATENCY = Family(
    "whalefall_http_request_duration_seconds",
    "Time to answer, by route",
    ("route",),
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
NOTICES = Family("whalefall_notices", "Notices by channel and outcome", ("channel", "outcome"))
EXPECTED = Family("whalefall_job_expected", "Instants that came due, and runs by hand that have ended", ("job",))
RUNS = Family("whalefall_job_runs", "What became of them: one of the final states of a run", ("job", "state"))
MISSED = Family("whalefall_job_missed", "Instants too late to run, in whose place nothing newer ran", ("job",))
LATENESS = Family(
    "whalefall_job_lateness_seconds",
    "From the nominal instant to the start of the first attempt, told when that ended",
    ("job",),
    (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0),
)
DURATION = Family(
    "whalefall_job_duration_seconds",
    "From the start to the end of the last attempt of a run that was not lost",
    ("job",),
    (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0),
)
FAMILIES = (REQUESTS, LATENCY, NOTICES, EXPECTED, RUNS, MISSED, LATENESS, DURATION)


class Counts:
    """All families of one site, as far as this process sees it."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._jobs: set[str] | None = None  # with series of their own

    def request(self, method: str, route: str, status: int, took_s: float | None) -> None:
        amounts = {} if took_s is None else LATENCY.observed(took_s, route)
        self._tally.add({REQUESTS.counted(method, route, str(status)): 1, **amounts})

    def notice(self, channel: str, outcome: str) -> None:
        """One try to tell somebody: sent, retried or failed."""
        self._tally.add({NOTICES.counted(channel, outcome): 1})

    def runs(self, news: Sequence[News]) -> None:
        """What a committed transaction did."""
        amounts: defaultdict[Key, float] = defaultdict(float)
        for each in news:
            label = self._label(each.job_id)
            match each:
                case Recorded(_, state, count):
                    amounts[EXPECTED.counted(label)] += count
                    if state in FINAL:
                        amounts[RUNS.counted(label, state)] += count
                    if each.is_miss:
                        amounts[MISSED.counted(label)] += count
                case Ended(_, state, source, late_s, took_s):
                    if state in FINAL:
                        amounts[RUNS.counted(label, state)] += 1
                        # People ask from any process and host; what ends a run is one of the site's.
                        amounts[EXPECTED.counted(label)] += source == Source.MANUAL
                    for family, value in ((LATENESS, late_s), (DURATION, took_s)):
                        for key, amount in family.observed(value, label).items() if value is not None else ():
                            amounts[key] += amount
        self._tally.add(amounts)

    def shown(self, job_ids: Iterable[str]) -> Iterator[Metric]:
        """Every family; of these jobs also what has not happened yet."""
        totals = self._tally.totals()
        by_name: defaultdict[str, dict[Key, float]] = defaultdict(dict)
        for key, value in totals.items():
            by_name[key[0]][key] = value
        for label in _labels_for(job_ids, _jobs_in(totals)):
            for family in (EXPECTED, MISSED):
                by_name[family.name].setdefault(family.counted(label), 0)
            for state in SHOWN_STATES:
                by_name[RUNS.name].setdefault(RUNS.counted(label, state), 0)
        return (family.shown(by_name[family.name]) for family in FAMILIES)

    def _label(self, job_id: str) -> str:
        if self._jobs is None:
            self._jobs = _jobs_in(self._tally.totals())
        if job_id in self._jobs:
            return job_id
        if len(self._jobs) >= JOBS_MAX:
            return OTHERS
        self._jobs.add(job_id)
        return job_id


def _jobs_in(totals: Iterable[Key]) -> set[str]:
    return {key[1] for key in totals if key[0] in (EXPECTED.name, RUNS.name)} - {OTHERS}


def _labels_for(job_ids: Iterable[str], known: set[str]) -> set[str]:
    """Those that have series, and as many others as may still get some."""
    new = [job_id for job_id in job_ids if job_id not in known]
    return known | set(new[: max(JOBS_MAX - len(known), 0)])


def _directory() -> Path | None:
    """`serve`, and each role without it, names RUN_DIR to all processes of a site; elsewhere nobody shares."""
    run_dir = os.environ.get("RUN_DIR")
    return Path(run_dir).absolute() / "metrics" if run_dir else None


counts = Counts(Tally(_directory()))
