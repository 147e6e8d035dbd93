"""For load balancers and service managers: whether this process answers, and whether Redis does.

Both are public, and say nothing else.
"""

from __future__ import annotations

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from jobd.errors import UnavailableError
from jobd.text.translatable import Text
from jobd.web.http_errors import Unavailable
from jobd.web.request import state_of

FRESH = 1.0
"""Seconds for which an answer of Redis counts."""


async def healthz(_: Request) -> Response:
    """The process answers. Needs no thread, so that slow pages do not make it look dead."""
    return PlainTextResponse("ok\n")


async def readyz(request: Request) -> Response:
    """Redis answers, too."""
    state = state_of(request)
    try:
        await run_in_threadpool(state.snapshots.get, "ping", FRESH, state.api.redis.ping)
    except UnavailableError:
        raise Unavailable(Text("Redis does not answer.")) from None
    return PlainTextResponse("ok\n")


routes = [
    Route("/healthz", healthz, name="healthz"),
    Route("/readyz", readyz, name="readyz"),
]
