"""Metrics: which jobs run how often, fail, and take how long; with the deploys in between."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.api import Histogram, JobMetrics, Mark
from jobd.text.printable import shortened
from jobd.text.translatable import Text
from jobd.web import language
from jobd.web.language import Language
from jobd.web.request import state_of
from jobd.web.shared.state import MOST_BY_MINUTE, State
from jobd.web.views.render import render
from jobd.wire.histogram import BOUNDS

PERIODS = (1, 2, 4, 8, 24, 48, 72)
"""Hours; of one class up to eight there are numbers by the minute, and histograms."""

DRAWN = 6
"""Classes in the chart."""

SHOWN = 100
"""Classes in the table."""

MEASURED = 12
"""Classes whose histogram is read for the table."""

SHARES = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
"""The percentiles that are shown. Each is the upper bound of its counter in the histogram."""

_OF_CLASS = (
    ("good", Text("executions"), "processed"),
    ("bad", Text("failed"), "failed"),
)
"""The lines of one class: tone, name, and the field of a point."""

_FRESH = 10.0


@dataclass(frozen=True, slots=True)
class _Row:
    """One class in the table; the times in seconds, infinity beyond the last bound, None where
    nothing is known."""

    metrics: JobMetrics
    median: float | None = None
    slow: float | None = None
    slowest: float | None = None


def metrics(request: Request) -> Response:
    """All classes."""
    state, hours = state_of(request), _hours(request)
    wanted = request.query_params.get("class", "")[:200]
    classes = state.classes(hours)
    found = [one for one in classes if wanted.lower() in one.name.lower()]
    rows = [_row(state, one, hours) for one in found[:MEASURED]]
    rows += [_Row(one) for one in found[MEASURED:SHOWN]]
    marks = _marks(state, hours)
    return render(
        request,
        "metrics.html",
        hours=hours,
        periods=PERIODS,
        wanted=wanted,
        rows=rows,
        hidden=max(0, len(found) - SHOWN),
        by_minute=hours <= MOST_BY_MINUTE,
        chart=_chart(found[:DRAWN], marks),
        marks=marks,
        slow=sorted(
            (row for row in rows if row.slow),
            key=lambda row: (-(row.slow or 0), -row.metrics.average),
        )[:5],
        failing=sorted(
            (one for one in found if one.failed), key=lambda one: (-one.failure_rate, one.name)
        )[:5],
    )


def metrics_of(request: Request) -> Response:
    """One class."""
    state, hours = state_of(request), _hours(request, most=8)
    name = request.query_params.get("name", "")
    one = state.snapshots.get(
        ("metrics of", name, hours),
        _FRESH,
        lambda: state.api.metrics.for_job(name, minutes=60 * hours),
    )
    histogram = _histogram(state, name, hours)
    marks = _marks(state, hours)
    labels = [*(f"{bound} ms" if bound < 1000 else f"{bound / 1000:g} s" for bound in BOUNDS), "∞"]
    return render(
        request,
        "metrics_of.html",
        hours=hours,
        periods=[period for period in PERIODS if period <= 8],
        one=one,
        percentiles=[(label, histogram.percentile(share)) for label, share in SHARES],
        succeeded=max(0, one.processed - one.failed),
        chart=_chart([one], marks, language.of(request)),
        marks=marks,
        histogram=_encode({"labels": labels, "counts": list(histogram.counts)}),
    )


def _hours(request: Request, most: int = PERIODS[-1]) -> int:
    given = request.query_params.get("hours", "1")
    chosen = [period for period in PERIODS if str(period) == given and period <= most]
    return chosen[0] if chosen else PERIODS[0]


def _row(state: State, one: JobMetrics, hours: int) -> _Row:
    if hours > 1:  # a class has as many histograms as there are minutes
        return _Row(one)
    histogram = _histogram(state, one.name, 1)
    return _Row(one, *(histogram.percentile(share) for _, share in SHARES))


def _histogram(state: State, name: str, hours: int) -> Histogram:
    return state.snapshots.get(
        ("histogram", name, hours),
        _FRESH,
        lambda: state.api.metrics.histogram(name, minutes=60 * hours),
    )


def _marks(state: State, hours: int) -> list[Mark]:
    days = hours // 24 + 2
    marks = state.snapshots.get(("marks", days), _FRESH, lambda: state.api.deploys.fetch(days))
    since = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=hours)
    return [mark for mark in marks if mark.at >= since]


def _chart(
    classes: Sequence[JobMetrics],
    marks: Sequence[Mark],
    spoken: Language | None = None,
) -> str:
    """What metrics.js draws: times, and seconds or the executions of one class a step, in
    words of the language *spoken*."""
    times = [point.at for point in classes[0].series] if classes else []
    series: list[dict[str, object]] = []
    for one in classes:
        if spoken is not None:
            points = one.series
            for tone, label, name in _OF_CLASS:
                values = [getattr(point, name) for point in points]
                series.append({"label": spoken.translate(label), "tone": tone, "values": values})
        else:
            values = [point.ms / 1000 for point in one.series]
            series.append({"label": shortened(one.name, 80), "values": values})
    deploys = [{"at": mark.at.timestamp(), "label": shortened(mark.label, 80)} for mark in marks]
    unit = "s" if spoken is None else ""
    return _encode({"times": times, "series": series, "marks": deploys, "unit": unit})


def _encode(content: object) -> str:
    return msgspec.json.encode(content).decode()


routes = [
    Route("/classes", metrics, name="metrics"),
    Route("/classes/one", metrics_of, name="metrics_of"),
]
