"""Authentication, authorization and CSRF.

In this order: the application around us may know (its own login), a script has a token or a
password in its header, a browser has a session. Whoever changes something from a browser must have
done so on a page of ours: by what the browser says of the request's origin, and by the token that
only our forms carry.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from jobd.api.roles import Role
from jobd.jobs.unrun import awaited
from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.access.attempts import Attempts
from jobd.web.access.bodies import fields_of, read_body, replay
from jobd.web.access.origin import check_local, check_origin
from jobd.web.access.revoked import Ended
from jobd.web.access.users import User, Users
from jobd.web.http_errors import Forbidden, LoginError, Refusal, Unauthorized, WrongBasic
from jobd.web.mount import is_api, path_within

Login = Callable[[Request], User | Awaitable[User | None] | None]
"""The login of the application around the dashboard: who it is, or None for nobody."""

LOCAL = User("local", Role.ADMIN)
"""Whoever is at this machine, where no users are set up."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PUBLIC = frozenset({"/login", "/healthz", "/readyz"})
_PUBLIC_FILES = "/static/"

_MOST_BYTES = 4 * 1024 * 1024
"""Of the body of a request: an edited job and something around it."""

_MOST_PUBLIC = 16 * 1024
"""Of what strangers send."""


class Gate:
    """Middleware that lets pass who may.

    Args:
        users: those of the settings.
        login: the login of the application around us.
        local: whoever is at this machine may do everything.
        attempts: counts the passwords that were wrong.
        ended: sessions that were ended.
    """

    def __init__(
        self,
        app: ASGIApp,
        users: Users,
        login: Login | None,
        local: bool,
        attempts: Attempts,
        ended: Ended,
    ) -> None:
        self._app = app
        self._users = users
        self._login = login
        self._local = local
        self._attempts = attempts
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] == "http":
            request = Request(scope)
            if request.method in _SAFE:
                if not _is_public(scope):
                    scope["jobd.user"], _ = await self._identify(request)
            else:
                receive = await self._check_change(request, receive)
        await self._app(scope, receive, send)

    async def _check_change(self, request: Request, receive: Receive) -> Receive:
        """Whether something may be changed; returns what reads the body once more."""
        check_origin(request)
        by_header, most = False, _MOST_PUBLIC
        # Before the body is read, so that strangers cannot make us hold much.
        if not _is_public(request.scope):
            request.scope["jobd.user"], by_header = await self._identify(request)
            most = _MOST_BYTES
        body = await read_body(request, receive, most)
        request.scope["jobd.body"] = body
        form = await run_in_threadpool(fields_of, request, body)
        request.scope["jobd.form"] = form
        if not by_header:
            given = request.headers.get("x-csrf-token") or str(form.get("csrf", ""))
            if is_api(request.scope) and not given and "authorization" in request.headers:
                raise Forbidden(
                    Text("changes by the API take a token: Authorization: Bearer TOKEN")
                )
            if not session.is_form_token(request, given):
                raise Forbidden(
                    Text(
                        "this form is too old, or cookies are switched off: "
                        "go back, load the page again, repeat it"
                    )
                )
        return replay(body, receive)

    async def _identify(self, request: Request) -> tuple[User, bool]:
        """Who it is, and whether the request has a header that no browser sends by itself."""
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        bearer = scheme.lower() == "bearer"
        if self._login is not None and (user := await self._by_application(request)):
            return user, bearer
        if bearer:
            if user := self._users.with_token(credentials.strip()):
                return user, True
            raise Unauthorized(Text("the token is not known"))
        if scheme.lower() == "basic":
            return await self._by_password(request, credentials), False
        if user := await self._by_session(request):
            return user, False
        if self._local:
            check_local(request)
            return LOCAL, False
        raise Unauthorized(Text("log in first"))

    async def _by_application(self, request: Request) -> User | None:
        """Who the application around us says it is. What it raises refuses the request."""
        try:
            # In a thread, for it may look into a database; a coroutine function only begins there.
            found: object = await run_in_threadpool(self._login, request)  # type: ignore[arg-type]
            found = await awaited(found)
        except (HTTPException, Refusal, asyncio.CancelledError):
            raise
        except BaseException as error:  # SystemExit would end the server
            raise LoginError("the login of the application has failed") from error
        if found is None:
            return None
        # Never taken for a user: True, a user of another library, and the like.
        if not (isinstance(found, User) and isinstance(found.role, Role) and found.name):
            raise LoginError(
                f"the login of the application returned {type(found).__name__}; "
                "it must be a jobd.web.User with a name, or None"
            )
        return found

    async def _by_password(self, request: Request, credentials: str) -> User:
        try:
            name, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise WrongBasic(Text("the Authorization header cannot be read")) from None
        try:
            return await self._attempts.check(request, name, password)
        except Unauthorized as refusal:
            raise WrongBasic(refusal.text) from None

    async def _by_session(self, request: Request) -> User | None:
        content = session.session_of(request).content
        user = self._users.named(content.user, content.proof)
        if user is None:
            return None
        ended = await run_in_threadpool(self._ended.has, content.user, content.ident, content.until)
        return None if ended else user


def _is_public(scope: Scope) -> bool:
    path = path_within(scope)
    return path in _PUBLIC or path.startswith(_PUBLIC_FILES)
