"""What each class of jobs has done: executions, failures, times; and one class over time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from rich.text import Text
from textual.binding import Binding, BindingType

from jobctl.top.charts import bar, columns, short, summed
from jobctl.top.source import Source
from jobctl.top.table import Column, Row
from jobctl.top.views.listing import ListView
from jobctl.top.views.text import TextView
from jobd.api.entry import Api
from jobd.api.metrics import Histogram, JobMetrics


class Period(NamedTuple):
    """A time that is looked at: so many minutes, or so many hours by ten minutes."""

    title: str
    minutes: int | None = None
    hours: int | None = None


_PERIODS = (
    Period("the last hour", minutes=60),
    Period("the last 8 hours", minutes=480),
    Period("the last 3 days", hours=72),
)
_ROWS = 500
_SPARK = 20
_HEIGHT = 5


class MetricsView(ListView[list[JobMetrics]]):
    """All classes; those that took most time first."""

    every: ClassVar[float] = 20.0

    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "period", "Period")]

    def __init__(self, source: Source) -> None:
        columns = [
            Column("CLASS", 12, share=1),
            Column("DONE", 9, right=True),
            Column("FAILED", 7, right=True),
            Column("FAIL %", 6, right=True, drop=2),
            Column("AVERAGE", 8, right=True),
            Column("TOTAL", 8, right=True, drop=1),
            Column("OVER TIME", _SPARK, drop=3),
        ]
        super().__init__(source, "Metrics", columns)
        self._period = 0

    def reading(self) -> Callable[[Api], list[JobMetrics]]:
        period = _PERIODS[self._period]
        return lambda api: api.metrics.top_jobs(minutes=period.minutes, hours=period.hours)[:_ROWS]

    def head(self, found: list[JobMetrics]) -> str:
        done, failed = sum(one.processed for one in found), sum(one.failed for one in found)
        title = f"Metrics of {_PERIODS[self._period].title} (m: others)"
        return f"{title}: {done:,} done, {failed:,} failed" if found else f"{title}: nothing ran"

    def rows(self, found: list[JobMetrics]) -> list[Row]:
        return [_row(one) for one in found]

    def details(self, row: Row) -> None:
        self.open(ClassView(self.source, row.subject.name, self._period))

    def action_period(self) -> None:
        """Look at a longer time, or at the shortest again."""
        self._period = (self._period + 1) % len(_PERIODS)
        self.look_again()


def _row(one: JobMetrics) -> Row:
    spark = columns(summed([point.processed for point in one.series], _SPARK), _SPARK, 1)[0]
    return Row(
        one.name,
        [
            one.name,
            f"{one.processed:,}",
            (f"{one.failed:,}", "red" if one.failed else ""),
            f"{100 * one.failure_rate:.1f}",
            took(one.average),
            took(one.ms / 1000),
            (spark, "green"),
        ],
        one,
    )


def took(seconds: float) -> str:
    """How long something took.

    >>> took(0), took(0.0042), took(0.25), took(7.25), took(7200)
    ('0', '4.2ms', '250ms', '7.2s', '2.0h')
    """
    if seconds <= 0:
        return "0"
    if seconds < 1:
        ms = seconds * 1000
        return f"{ms:.1f}ms" if ms < 10 else f"{ms:.0f}ms"
    if seconds < 600:
        return f"{seconds:.1f}s" if seconds < 100 else f"{seconds:.0f}s"
    return f"{seconds / 60:.0f}m" if seconds < 7200 else f"{seconds / 3600:.1f}h"


@dataclass(frozen=True, slots=True)
class ClassLook:
    """What is read of one class; there is no histogram for long periods."""

    job: JobMetrics
    times: Histogram | None


class ClassView(TextView[ClassLook]):
    """One class over time, and how long its jobs took.

    Args:
        name: the class.
        period: the number of the period.
    """

    every: ClassVar[float] = 20.0

    BINDINGS: ClassVar[list[BindingType]] = [Binding("m", "period", "Period")]

    def __init__(self, source: Source, name: str, period: int) -> None:
        super().__init__(source, f"Class {name[:200]}")
        self._class, self._period = name, period

    def reading(self) -> Callable[[Api], ClassLook]:
        name, period = self._class, _PERIODS[self._period]
        return lambda api: _read(api, name, period)

    def action_period(self) -> None:
        self._period = (self._period + 1) % len(_PERIODS)
        self.look_again()

    def show(self, found: ClassLook) -> None:
        title = _PERIODS[self._period].title
        self.write(_text(found, title, max(10, self.size.width - 2)))


def _read(api: Api, name: str, period: Period) -> ClassLook:
    job = api.metrics.for_job(name, minutes=period.minutes, hours=period.hours)
    times = None
    if period.minutes is not None:
        times = api.metrics.histogram(name, minutes=period.minutes)
    return ClassLook(job, times)


def _text(found: ClassLook, title: str, width: int) -> Text:
    job = found.job
    text = Text()
    text.append(f"{job.processed:,} done, {job.failed:,} failed in {title} (m: others); ", "bold")
    text.append(f"{took(job.average)} on average\n\n")
    done = [float(point.processed) for point in job.series]
    failed = [float(point.failed) for point in job.series]
    for name, values, style in (("executed", done, "green"), ("failed", failed, "red")):
        sums = summed(values, width)
        text.append(f"{name}, at most {short(max(sums, default=0))}\n", "dim")
        text.append("\n".join(columns(sums, width, _HEIGHT)) + "\n", style)
    first = time.strftime("%H:%M", time.localtime(job.series[0].at)) if job.series else ""
    text.append(f"{first}{'now'.rjust(width - len(first))}\n\n", "dim")
    if found.times is not None and any(found.times.counts):
        text.append_text(_histogram(found.times, width))
    return text


def _histogram(times: Histogram, width: int) -> Text:
    marks = [f"{name} under {_bound(times, share)}" for name, share in _SHARES]
    text = Text.assemble(("how long they took: ", "dim"), ", ".join(marks), "\n")
    most = max(times.counts)
    bounds = [*map(took, times.bounds), "more"]
    for bound, count in zip(bounds, times.counts, strict=True):
        if count:
            line = bar(count, most, max(1, width - 20))
            text.append(f"{bound:>8} ").append(f"{count:>8,} ", "dim").append(f"{line}\n", "cyan")
    return text


_SHARES = (("half", 0.5), ("95 %", 0.95), ("99 %", 0.99))


def _bound(times: Histogram, share: float) -> str:
    found = times.percentile(share)
    return "-" if found is None else "any time" if found == float("inf") else took(found)
