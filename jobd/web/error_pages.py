"""What goes wrong becomes an answer: a page for people, JSON for programs. Never a stack, and no
password: those go to the log, if anywhere."""

from __future__ import annotations

import logging
import secrets
import time

import msgspec
from anyio import get_cancelled_exc_class
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from jobd.errors import ArgumentError, ConflictError, RefusedError, UnavailableError
from jobd.text.masking import mask
from jobd.text.printable import harmless_json
from jobd.text.translatable import Text
from jobd.web.http_errors import (
    AGAIN,
    PROBLEM,
    Answered,
    Conflict,
    Failed,
    LoginError,
    NotNow,
    Refusal,
    Unauthorized,
    Unavailable,
    said_by,
)
from jobd.web.mount import is_api, path_within
from jobd.web.request import url
from jobd.web.shared.streams import Streams
from jobd.web.views.render import render

_TELL_AGAIN = 60.0
"""Seconds between two lines of the log about the same trouble with Redis."""

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
        self._outage = "", 0.0

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
                ending = NotNow(Text("The dashboard is being stopped."))
                await self.answer(Request(scope), ending)(scope, receive, send)
        except Exception as error:
            refusal = _refusal(Request(scope), error)
            if isinstance(refusal, Unavailable):
                self._tell_outage(str(refusal))
            if began:
                raise
            answer = self.answer(Request(scope), refusal)
            await answer(scope, receive, send)

    def _tell_outage(self, why: str) -> None:
        """Log it, but not for each of the pages that poll."""
        told, at = self._outage
        now = time.monotonic()
        if why != told or now - at >= _TELL_AGAIN:
            self._outage = why, now
            _log.warning("redis_unavailable: %s", why)

    def answer(self, request: Request, refusal: Refusal) -> Response:
        """JSON (RFC 9457) to a program, a page to a person, who is sent to the login page if that
        helps."""
        headers = refusal.headers()
        if is_api(request.scope):
            problem = {
                "type": "about:blank",
                "title": str(refusal.title),
                "status": refusal.status,
                "detail": str(refusal),
            }
            return Response(
                harmless_json(msgspec.json.encode(problem)),
                refusal.status,
                headers,
                media_type=PROBLEM,
            )
        by_page = request.method == "GET" and "authorization" not in request.headers
        if isinstance(refusal, Unauthorized) and self._can_log_in and by_page:
            wanted = path_within(request.scope)
            query = request.url.query
            after = wanted + (f"?{query}" if query else "")
            return RedirectResponse(url(request, "login", next="" if after == "/" else after), 303)
        again = isinstance(refusal, Unavailable) and request.method == "GET"
        if again:
            headers["Refresh"] = str(AGAIN)
        return render(
            request,
            "problem.html",
            refusal.status,
            headers,
            heading=refusal.title,
            text=refusal.text,
            again=again,
        )


def _refusal(request: Request, error: Exception) -> Refusal:
    """What is said about *error*."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        return Answered(error)
    if isinstance(error, ArgumentError):
        return Refusal(said_by(error))
    if isinstance(error, ConflictError):
        return Conflict(said_by(error))
    if isinstance(error, UnavailableError):
        return _unavailable(error)
    ref = secrets.token_hex(4)
    _log.error("error %s in %s %s", ref, request.method, request.scope["path"], exc_info=error)
    if isinstance(error, LoginError):
        return Failed(
            Text(
                "The application's login function failed. The log has the details, under %(ref)s.",
                ref=ref,
            )
        )
    return Failed(Text("The dashboard failed. Its log has the details, under %(ref)s.", ref=ref))


def _unavailable(error: UnavailableError) -> Refusal:
    refusal = Unavailable(Text("%(detail)s.", detail=mask(str(error)).rstrip(".")))
    if isinstance(error, RefusedError):
        refusal.title = Text("Redis refuses")
    return refusal
