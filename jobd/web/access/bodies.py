"""Bodies of requests: of a bearable size, in a bearable time, read once."""

from __future__ import annotations

from urllib.parse import parse_qsl

import anyio
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.types import Message, Receive

from jobd.text.translatable import Text
from jobd.web.http_errors import Refusal, TooLarge, TooSlow

WITHIN = 30.0
"""Seconds within which a body must have come."""

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 10_000


async def read_body(request: Request, receive: Receive, most: int) -> bytes:
    """All of it.

    Raises:
        TooLarge: it has more than *most* bytes; no more than that is held.
        TooSlow: it has not come within :data:`WITHIN`.
    """
    too_large = TooLarge(Text("a request like this may have %(most)s bytes", most=f"{most:,}"))
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > most:
        raise too_large
    body = bytearray()
    more = True
    try:
        with anyio.fail_after(WITHIN):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(Text("the request did not end"))
                body += message.get("body", b"")
                more = message.get("more_body", False)
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        raise TooSlow(
            Text("the request did not come within %(seconds)s seconds", seconds=f"{WITHIN:.0f}")
        ) from None
    return bytes(body)


def fields_of(request: Request, body: bytes) -> FormData:
    """The fields of a form, empty ones too."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return FormData()
    try:
        text = body.decode(errors="replace")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
        fields: list[tuple[str, str | UploadFile]] = [*pairs]
        return FormData(fields)
    except ValueError:
        raise TooLarge(Text("a form may have %(most)s fields", most=f"{_MOST_FIELDS:,}")) from None


def replay(body: bytes, receive: Receive) -> Receive:
    """What the application behind the gate reads the body from, and then whatever comes."""
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def again() -> Message:
        return next(messages, None) or await receive()

    return again
