"""What goes wrong becomes an answer: a page for people, JSON for programs. Never a stack, and no
password: those go to the log, if anywhere."""

from __future__ import annotations

import logging
import secrets

import redis as redis_py
from anyio import get_cancelled_exc_class
from redis.exceptions import ConnectionError as NoConnection
from redis.exceptions import TimeoutError as NoAnswer
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobd.errors import ArgumentError
from jobd.settings import redact
from jobd.web.refusals import Answered, Ending, Failed, Refusal, Unavailable, refuse
from jobd.web.streams import Streams

_log = logging.getLogger("jobd.web")


class Failures:
    """Middleware that answers for everything that raises behind it.

    Args:
        streams: know whether the server ends.
        can_log_in: the login page can help those who are not known.
    """

    def __init__(self, app: ASGIApp, streams: Streams, can_log_in: bool) -> None:
        self._app = app
        self._streams = streams
        self._can_log_in = can_log_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = False

        async def watched(message: Message) -> None:
            nonlocal began
            began = began or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except ClientDisconnect:
            return  # nobody is there to be answered
        except get_cancelled_exc_class():
            # By a server that ends: there is still time for an answer.
            if not self._streams.closing:
                raise
            if not began:
                ending = Ending("The dashboard is being stopped.")
                await self.answer(Request(scope), ending)(scope, receive, send)
        except Exception as error:
            refusal = _refusal(Request(scope), error)
            if began:
                raise
            answer = self.answer(Request(scope), refusal)
            await answer(scope, receive, send)

    def answer(self, request: Request, refusal: Refusal) -> Response:
        return refuse(request, refusal, can_log_in=self._can_log_in)


def _refusal(request: Request, error: Exception) -> Refusal:
    """What is said about *error*."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return Answered(error)
    if isinstance(error, ArgumentError):
        return Refusal(str(error))
    if isinstance(error, NoConnection | NoAnswer):
        return Unavailable(f"{redact(str(error))}. This page tries again by itself.")
    if isinstance(error, redis_py.RedisError):
        refusal = Unavailable(f"{redact(str(error))}. This page tries again by itself.")
        refusal.title = "Redis refuses"
        return refusal
    ref = secrets.token_hex(4)
    _log.error("error %s in %s %s", ref, request.method, request.scope["path"], exc_info=error)
    return Failed(f"This is a fault of the dashboard. Its log says more, under {ref}.")
