"""The overview: the counters, the throughput, the queues, and how Redis is."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.api import Day
from jobd.api.diagnosis.server import SLOW
from jobd.web.request import state_of
from jobd.web.shared.state import Live
from jobd.web.views.render import render

DAYS = (7, 30, 90, 180)
"""What the chart of the days may show."""

_SIGNS = ("processed", "processes", "scheduled", "retries", "dead")
"""Counters of which one is above zero wherever jobd or Sidekiq has been used."""


def overview(request: Request) -> Response:
    """The first page."""
    state = state_of(request)
    days = request.query_params.get("days", "30")
    chosen = int(days) if days in map(str, DAYS) else 30
    history = state.snapshots.get(("history", chosen), 30.0, lambda: state.api.history(chosen))
    queues = state.queues()
    info = state.info()
    counters = state.counters()
    return render(
        request,
        "overview.html",
        counters=counters,
        is_new=not (queues or any(getattr(counters, name) for name in _SIGNS)),
        recent_points=_recent(state.recent),
        history_points=_points(history),
        processed=sum(day.processed for day in history),
        failed=sum(day.failed for day in history),
        days=chosen,
        choices=DAYS,
        queues=sorted(queues, key=lambda queue: -queue.latency),
        oldest=max((queue.latency for queue in queues), default=0.0),
        waiting=sum(queue.size for queue in queues),
        known=state.known_queues(),
        served=state.served(),
        filled=sum(queue.size > 0 for queue in queues),
        slow=SLOW,
        info=info,
        troubles=state.troubles(),
    )


def _recent(counters: Iterable[Live]) -> str:
    """The totals of the last minutes, from which the chart of now makes its rates."""
    seen = [(one.at, one.processed, one.failed) for one in counters]
    return msgspec.json.encode(seen).decode()


def _points(history: Sequence[Day]) -> str:
    """The days as the chart takes them: times, processed, failed; oldest first."""
    days = list(reversed(history))
    midnights = [
        datetime.datetime.combine(day.date, datetime.time(), datetime.UTC).timestamp()
        for day in days
    ]
    series = [midnights, [day.processed for day in days], [day.failed for day in days]]
    return msgspec.json.encode(series).decode()


routes = [Route("/", overview, name="overview")]
