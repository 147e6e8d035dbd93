"""Server-sent events: the counters, every other second, to every open page.

All pages share what was read for any of them, and one thread reads it. A page that is slow to take
its events misses some: it gets the newest ones when it is ready, and nothing waits for it in
memory. A stream ends after half a minute and its page opens the next one at once, so that a session
that has ended is noticed, and a server that shuts down need not wait for ever.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import msgspec
from anyio import CapacityLimiter, Event, move_on_after, to_thread
from anyio.lowlevel import RunVar
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from jobd.errors import UnavailableError
from jobd.text.translatable import Text
from jobd.web.http_errors import NotNow
from jobd.web.mount import network
from jobd.web.request import state_of
from jobd.web.shared.state import State

EVERY = 2.0
"""Seconds between two events."""

LASTS = 30.0
"""Seconds after which a stream ends."""

_RETRY = b"retry: 3000\n\n"
_AGAIN = b"event: again\ndata: {}\n\n"
_one: RunVar[CapacityLimiter] = RunVar("jobd.web.live")


async def live(request: Request) -> Response:
    """The stream of one page."""
    if "wsgi_environ" in request.scope:
        # Each stream would keep a thread of the server. At this a browser asks no more, and polls.
        return Response(status_code=204)
    state = state_of(request)
    if state.streams.full(network(request.scope)):
        raise NotNow(Text("Too many pages are open; this one polls."))
    return _Stream(state)


class _Stream(StreamingResponse):
    """One that is known to be open for exactly as long as it is."""

    def __init__(self, state: State) -> None:
        super().__init__(
            _nothing(),
            headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
            media_type="text/event-stream",
        )
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._state.streams.one(network(scope)) as end:
            self.body_iterator = _events(self._state, end)
            await super().__call__(scope, receive, send)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield


async def _events(state: State, end: Event) -> AsyncIterator[bytes]:
    try:
        limiter = _one.get()
    except LookupError:
        limiter = CapacityLimiter(1)
        _one.set(limiter)
    yield _RETRY
    until = time.monotonic() + LASTS
    while not end.is_set() and time.monotonic() < until:
        yield await to_thread.run_sync(_event, state, limiter=limiter)
        with move_on_after(EVERY):
            await end.wait()
    if not state.streams.closing:
        yield _AGAIN


def _event(state: State) -> bytes:
    try:
        return b"event: stats\ndata: " + msgspec.json.encode(state.counters()) + b"\n\n"
    except UnavailableError:
        trouble = {"error": "Redis does not answer."}
        return b"event: trouble\ndata: " + msgspec.json.encode(trouble) + b"\n\n"


routes = [Route("/live", live, name="live")]
