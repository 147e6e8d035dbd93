"""What is not done: the errors of HTTP, and their texts."""

from __future__ import annotations

from http import HTTPStatus

from starlette.exceptions import HTTPException

from jobd.text.translatable import Text

PROBLEM = "application/problem+json"
"""RFC 9457."""

AGAIN = 5
"""Seconds after which a page that Redis keeps from being shown tries again."""


class Refusal(Exception):
    """Something is refused; *status* is of HTTP. The text is for people: a :class:`Text`, unless
    it is said to programs only, or somebody else has said it."""

    status = 400
    title: str = Text("Bad request")

    @property
    def text(self) -> str:
        """What is said to people; it can be translated if it was made here."""
        return said_by(self)

    def headers(self) -> dict[str, str]:
        return {}


class Unauthorized(Refusal):
    """It is not known who asks."""

    status = 401
    title = Text("Sign in")

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
    title = Text("Not allowed")


class NotFound(Refusal):
    """It is not there, or not there any more."""

    status = 404
    title = Text("Not found")


class Conflict(Refusal):
    """It does not go with how things are."""

    status = 409
    title = Text("Conflict")


class TooSlow(Refusal):
    """The body did not come."""

    status = 408
    title = Text("Too slow")


class TooLarge(Refusal):
    """More was sent than anything needs."""

    status = 413
    title = Text("Too large")


class TooMany(Refusal):
    """Too many wrong passwords.

    Args:
        text: says so.
        seconds: after which they are forgotten.
    """

    status = 429
    title = Text("Too many attempts")

    def __init__(self, text: Text, seconds: int) -> None:
        super().__init__(
            Text.counted(
                "%(text)s Try again in %(count)s minute.",
                "%(text)s Try again in %(count)s minutes.",
                -(-seconds // 60),
                text=text,
            )
        )
        self._seconds = seconds

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self._seconds)}


class Failed(Refusal):
    """A fault of ours."""

    status = 500
    title = Text("Internal error")


class Unavailable(Refusal):
    """Redis does not answer, or refuses."""

    status = 503
    title = Text("Redis does not answer")

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(AGAIN)}


class NotNow(Refusal):
    """This process has too much open, or is being stopped."""

    status = 503
    title = Text("Not now")

    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(AGAIN)}


class Answered(Refusal):
    """A refusal that Starlette or the login of the application around us has made."""

    def __init__(self, error: HTTPException) -> None:
        texts = {
            404: Text("There is no such page."),
            405: Text("This address does not support that method."),
        }
        super().__init__(texts.get(error.status_code, error.detail or ""))
        self.status = error.status_code
        self.title = NotFound.title if self.status == 404 else _phrase(self.status)
        self._headers = dict(error.headers or {})

    def headers(self) -> dict[str, str]:
        return self._headers


class LoginError(Exception):
    """The login of the application around us is at fault: it raised, or what it returned is no
    user."""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return Refusal.title


def said_by(error: Exception) -> str:
    """The text of *error*, as a :class:`Text` where it is one."""
    text = error.args[0] if error.args else ""
    return text if isinstance(text, Text) else str(error)
