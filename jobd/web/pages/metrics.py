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
"""Hours."""

MOST_MEASURED = 8
"""Hours up to which there are histograms, and numbers of one class by the minute."""

DRAWN = 6
"""Classes in the chart: those that took most time, unless others are chosen."""

SHOWN = 100
"""Classes in the table."""

MEASURED = 12
"""Classes whose histograms are read for the table, those that took most time."""

STEPS = 60
"""Parts of a period for which the chart of one class has durations."""

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
    shown = set(request.query_params.getlist("show"))
    chosen = [one for one in found if one.name in shown]
    drawn = (chosen or found)[:DRAWN]
    measured = hours <= MOST_MEASURED
    logarithmic = request.query_params.get("scale") == "log"
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
        measured=measured,
        measured_hours=MOST_MEASURED,
        most_measured=MEASURED,
        chart=_chart(drawn, marks, logarithmic=logarithmic),
        drawn={one.name for one in drawn},
        most_drawn=DRAWN,
        scale="log" if logarithmic else "",
        # What the addresses of this page have in common.
        query={
            "hours": hours,
            "class": wanted,
            "show": [one.name for one in chosen[:DRAWN]],
            "scale": "log" if logarithmic else "",
        },
        marks=marks,
        slow=sorted(
            (row for row in rows if (row.slow if measured else row.metrics.average)),
            key=lambda row: (-(row.slow or 0), -row.metrics.average),
        )[:5],
        failing=sorted(
            (one for one in found if one.failed), key=lambda one: (-one.failure_rate, one.name)
        )[:5],
    )


def metrics_of(request: Request) -> Response:
    """One class."""
    state, hours = state_of(request), _hours(request, most=MOST_MEASURED)
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
        periods=[period for period in PERIODS if period <= MOST_MEASURED],
        one=one,
        percentiles=[(label, histogram.percentile(share)) for label, share in SHARES],
        succeeded=max(0, one.processed - one.failed),
        chart=_chart([one], marks, language.of(request)),
        marks=marks,
        durations=_durations(histogram, marks),
        step=60 * hours // STEPS,
        histogram=_encode({"labels": labels, "counts": list(histogram.counts)}),
    )


def _hours(request: Request, most: int = PERIODS[-1]) -> int:
    given = request.query_params.get("hours", "1")
    chosen = [period for period in PERIODS if str(period) == given and period <= most]
    return chosen[0] if chosen else PERIODS[0]


def _row(state: State, one: JobMetrics, hours: int) -> _Row:
    if hours > MOST_MEASURED:
        return _Row(one)
    histogram = _histogram(state, one.name, hours)
    return _Row(one, *(histogram.percentile(share) for _, share in SHARES))


def _histogram(state: State, name: str, hours: int) -> Histogram:
    return state.snapshots.get(
        ("histogram", name, hours),
        _FRESH,
        lambda: state.histograms.look(state.api.metrics, name, 60 * hours),
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
    *,
    logarithmic: bool = False,
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
    return _encode(
        {
            "times": times,
            "series": series,
            "marks": _deploys(marks),
            "unit": "s" if spoken is None else "",
            "log": logarithmic,
        }
    )


def _durations(histogram: Histogram, marks: Sequence[Mark]) -> str:
    """What metrics.js draws as a band: p50 and p95 over time."""
    size = max(1, len(histogram.series) // STEPS)
    parts = [histogram.series[at : at + size] for at in range(0, len(histogram.series), size)]
    sums = [tuple(map(sum, zip(*(counts for _, counts in part), strict=True))) for part in parts]
    series = [
        {"label": label, "values": [_estimate(counts, share) for counts in sums]}
        for label, share in SHARES[:2]
    ]
    return _encode(
        {
            "times": [part[0][0] for part in parts],
            "series": series,
            "marks": _deploys(marks),
            "unit": "s",
            "band": True,
        }
    )


def _estimate(counts: Sequence[int], share: float) -> float | None:
    """Seconds below which that share of the executions ended, as if they were spread evenly within
    each bucket: as steps from bound to bound, a chart would show none of the smaller changes.

    >>> _estimate([0, 10, *[0] * 24], 0.5), _estimate([0] * 26, 0.5)
    (0.025, None)
    """
    wanted, seen, lower = share * sum(counts), 0, 0
    for count, bound in zip(counts, BOUNDS, strict=False):
        if count and seen + count >= wanted:
            return (lower + (bound - lower) * (wanted - seen) / count) / 1000
        seen, lower = seen + count, bound
    return lower / 1000 if any(counts) else None


def _deploys(marks: Sequence[Mark]) -> list[dict[str, object]]:
    return [{"at": mark.at.timestamp(), "label": shortened(mark.label, 80)} for mark in marks]


def _encode(content: object) -> str:
    return msgspec.json.encode(content).decode()


routes = [
    Route("/classes", metrics, name="metrics"),
    Route("/classes/one", metrics_of, name="metrics_of"),
]
