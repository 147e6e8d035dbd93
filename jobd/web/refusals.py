"""What is not done, and how a browser or a script is told."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobd.web.place import is_api, path_within
from jobd.web.render import problem_page, url

PROBLEM = "application/problem+json"
"""RFC 9457."""

AGAIN = 5
"""Seconds after which a page that Redis keeps from being shown tries again."""


class Refusal(Exception):
    """Something is refused; *status* is of HTTP, the text is for people."""

    status = 400
    title = "That cannot be done"

    def headers(self) -> dict[str, str]:
        return {}


class Unauthorized(Refusal):
    """It is not known who asks."""

    status = 401
    title = "Who are you?"

    def headers(self) -> dict[str, str]:
        # Not Basic: at that, browsers would open a window of their own over the page.
        return {"WWW-Authenticate": 'Bearer realm="jobd"'}


class WrongBasic(Unauthorized):
    """The same, said to those who have sent a name and a password with the request."""

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": 'Basic realm="jobd", charset="UTF-8"'}


class Forbidden(Refusal):
    """It is known, but he may not; or it was not his own wish."""

    status = 403
    title = "You may not do that"


class NotFound(Refusal):
    """It is not there, or not there any more."""

    status = 404
    title = "Not here"


class Conflict(Refusal):
    """It does not go with how things are."""

    status = 409
    title = "Not possible now"


class TooSlow(Refusal):
    """The body did not come."""

    status = 408
    title = "Too slow"


class TooLarge(Refusal):
    """More was sent than anything needs."""

    status = 413
    title = "Too large"


class TooMany(Refusal):
    """Too many wrong passwords.

    Args:
        text: says so.
        seconds: after which they are forgotten.
    """

    status = 429
    title = "Too many attempts"

    def __init__(self, text: str, seconds: int) -> None:
        minutes = -(-seconds // 60)
        unit = "minute" if minutes == 1 else "minutes"
        super().__init__(f"{text} Try again in {minutes} {unit}.")
        self._seconds = seconds

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self._seconds)}


class Failed(Refusal):
    """A fault of ours."""

    status = 500
    title = "Something is broken here"


class Unavailable(Refusal):
    """Redis does not answer, or refuses."""

    status = 503
    title = "Redis does not answer"

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(AGAIN)}


class Ending(Refusal):
    """This process is being stopped."""

    status = 503
    title = "Not now"


class Answered(Refusal):
    """A refusal that Starlette or the login of the application around us has made."""

    def __init__(self, error: HTTPException) -> None:
        text = {404: "There is no such page.", 405: "That is not possible with this address."}
        super().__init__(text.get(error.status_code, error.detail or ""))
        self.status = error.status_code
        self.title = "Not here" if self.status == 404 else _phrase(self.status)
        self._headers = dict(error.headers or {})

    def headers(self) -> dict[str, str]:
        return self._headers


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "That cannot be done"


def problem(refusal: Refusal) -> Response:
    """The answer that says no to a program, as of RFC 9457."""
    content = {
        "type": "about:blank",
        "title": refusal.title,
        "status": refusal.status,
        "detail": str(refusal),
    }
    return Response(
        msgspec.json.encode(content), refusal.status, refusal.headers(), media_type=PROBLEM
    )


def refuse(request: Request, refusal: Refusal, *, can_log_in: bool = False) -> Response:
    """The answer that says no: JSON to a program, a page to a person, who is sent to the login page
    if that helps."""
    if is_api(request.scope):
        return problem(refusal)
    headers = refusal.headers()
    by_page = request.method == "GET" and "authorization" not in request.headers
    if isinstance(refusal, Unauthorized) and can_log_in and by_page:
        wanted = path_within(request.scope)
        query = request.url.query
        after = wanted + (f"?{query}" if query else "")
        return RedirectResponse(url(request, "login", next="" if after == "/" else after), 303)
    if isinstance(refusal, Unavailable) and request.method == "GET":
        headers["Refresh"] = str(AGAIN)
    return problem_page(request, refusal.title, str(refusal), refusal.status, headers)
