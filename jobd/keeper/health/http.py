"""The part of HTTP/1.1 that probes and scrapers need: one request without a body, one answer, and
the connection is closed.

https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

MOST_HEAD = 8 * 1024
"""Bytes of a request."""

END_OF_HEAD = b"\r\n\r\n"

PLAIN = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Request:
    """*method*, and the *path* without a query."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, and a body of this *type*."""

    status: HTTPStatus
    body: str
    type: str = PLAIN

    @classmethod
    def of(cls, status: HTTPStatus, text: str) -> Answer:
        """One line of text."""
        return cls(status, f"{text}\n")


class BadRequest(Exception):
    """It is no request; *args* has the answer."""

    @property
    def answer(self) -> Answer:
        answer: Answer = self.args[0]
        return answer


def read(head: bytes) -> Request:
    """Read the head of a request.

    Raises:
        BadRequest: it is none, or its method is not GET or HEAD.

    Example:
        >>> read(b"GET /metrics?x=1 HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        Request(method='GET', path='/metrics')
    """
    words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest(Answer.of(HTTPStatus.BAD_REQUEST, "this is not a request of HTTP/1.1"))
    method, target, _ = words
    if method not in ("GET", "HEAD"):
        raise BadRequest(Answer.of(HTTPStatus.METHOD_NOT_ALLOWED, "use GET or HEAD"))
    try:
        path = urlsplit(target).path
    except ValueError:
        raise BadRequest(Answer.of(HTTPStatus.BAD_REQUEST, "the target is no URL")) from None
    return Request(method, path)


def written(answer: Answer, *, head: bool = False) -> bytes:
    """The bytes of *answer*; only its *head* for HEAD."""
    body = answer.body.encode()
    lines = [
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
        f"Content-Type: {answer.type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append("Allow: GET, HEAD")
    return "\r\n".join([*lines, "", ""]).encode() + (b"" if head else body)
