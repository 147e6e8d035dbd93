"""The application: its parts put together."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import TypedDict

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from jobd.api import Api
from jobd.api.session import Source
from jobd.errors import ConfigError
from jobd.jobs.unrun import refuse_lazy
from jobd.settings.dashboard import LEAST_SECRET
from jobd.web import health, live, pages, prometheus, v1
from jobd.web.access.attempts import Attempts
from jobd.web.access.gate import Gate, Login
from jobd.web.access.headers import SecurityHeaders
from jobd.web.access.revoked import Ended
from jobd.web.access.session import Sessions
from jobd.web.access.turns import Turns
from jobd.web.access.users import Users
from jobd.web.error_pages import Failures
from jobd.web.language import Languages
from jobd.web.mount import path_within, prefix, root, whole_path
from jobd.web.shared.state import State
from jobd.web.views.render import digest

_KEEP = 365 * 86400


class _Static(StaticFiles):
    """Files whose address changes with their content, so that browsers need not ask again."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        if "\0" in path:  # which Starlette before 1.0 takes for a name of a file
            raise HTTPException(404)
        response = await super().get_response(path, scope)
        # Only where it is that content: another version of jobd may be asked in a rolling restart.
        current = Request(scope).query_params.get("v") == digest(path)
        kept = f"public, max-age={_KEEP}, immutable" if current else "no-cache"
        response.headers["Cache-Control"] = kept
        return response


class Context:
    """Middleware that gives every request what all share."""

    def __init__(
        self, app: ASGIApp, state: State, languages: Languages, paths: Mapping[str, str]
    ) -> None:
        self._app = app
        self._state = state
        self._languages = languages
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["jobd.state"] = self._state
        scope["jobd.languages"] = self._languages
        scope["jobd.paths"] = self._paths
        if scope["type"] == "http" and not path_within(scope):
            # "/jobs": from there, relative addresses would lead elsewhere.
            await RedirectResponse(prefix(scope) + "/", 307)(scope, receive, send)
            return
        await self._app(scope, receive, send)


class Dashboard(Starlette):
    """The application that :func:`dashboard` makes."""

    shared: State

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A copy, for what we put into it is nothing to the application around us.
        own = {**scope}
        if scope["type"] == "http":
            own["root_path"], own["path"] = root(scope), whole_path(scope)
        await super().__call__(own, receive, send)

    def close(self) -> None:
        """End the streams of all open pages, from the thread of the event loop: whoever waits for
        connections to end need not wait for those."""
        self.shared.streams.close()


class DashboardOptions(TypedDict, total=False):
    """The arguments of :func:`dashboard` that do not depend on the framework around it."""

    users: Iterable[str]
    tokens: Iterable[str]
    local: bool
    secret: str
    title: str
    back: str
    translations: str


def dashboard(
    source: Source | Api = None,
    *,
    users: Iterable[str] = (),
    tokens: Iterable[str] = (),
    login: Login | None = None,
    local: bool = False,
    secret: str = "",
    title: str = "",
    back: str = "",
    translations: str = "",
) -> Dashboard:
    """The dashboard as an ASGI application, to be mounted anywhere.

    Args:
        source: where Redis is: a URL, a client of Redis, a :class:`jobd.Client`, an ``Api``, or
            None for what :func:`jobd.configure` has set up.
        users: who may log in, each ``NAME:ROLE:HASH``; ``jobd web-password`` makes one.
        tokens: for scripts, each ``NAME:ROLE:SHA256``.
        login: asked first for every request: the :class:`~jobd.web.User` who sends it by the
            login of your application, or None. A function, which is called in a thread, or a
            coroutine function. What it raises refuses the request; a ``HTTPException`` of Starlette
            also says how, e.g. by sending people to your own login page.
        local: for development: whoever is at this machine is an administrator. A proxy on the same
            machine is at this machine, too, if it does not say that it is one.
        secret: signs the cookies, at least 16 characters; the same in all processes that serve the
            same dashboard. Empty: a random one.
        title: name of this installation, shown on every page.
        back: address of a link back to your application.
        translations: directory with catalogues of other languages than English.

    Raises:
        ConfigError: an entry of *users* or *tokens* is not of that form, *secret* is too short,
            nothing says who may look, or *translations* cannot be read.
        ArgumentError: *login* is no function, or a generator.

    Example:
        >>> app = dashboard("redis://127.0.0.1:6379/0", login=lambda request: None)
        >>> [route.path for route in app.routes][:1]
        ['/']
    """
    people = Users(users, tokens)
    if not (people or login or local):
        raise ConfigError(
            "nothing says who may see the dashboard: give it users, tokens or login "
            "(or local=True, for development)"
        )
    if login is not None:
        refuse_lazy("login", login, awaits=True)
    if secret and len(secret) < LEAST_SECRET:
        raise ConfigError(
            f"the secret of the dashboard must have at least {LEAST_SECRET} characters"
        )
    api = source if isinstance(source, Api) else Api(source)
    state, languages = State(api, title, back), Languages(translations)
    attempts, ended = Attempts(api, people), Ended(api, state.snapshots)
    routes: list[BaseRoute] = [
        *pages.routes(people, attempts, ended),
        *v1.routes,
        *health.routes,
        *prometheus.routes,
        *live.routes,
        Mount("/static", _Static(packages=[("jobd.web", "static")]), name="static"),
    ]
    paths: dict[str, str] = {}
    for route in routes:
        if isinstance(route, Route):
            assert paths.setdefault(route.name, route.path) == route.path, route.name
    app = Dashboard(
        routes=routes,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5),
            Middleware(Context, state=state, languages=languages, paths=paths),
            Middleware(Sessions, secret=secret or secrets.token_urlsafe(32)),
            Middleware(Failures, streams=state.streams, can_log_in=people.with_passwords),
            Middleware(
                Gate, users=people, login=login, local=local, attempts=attempts, ended=ended
            ),
            Middleware(Turns),
        ],
        exception_handlers={HTTPException: _passed_on},
    )
    # It would send people to an address made of the Host header.
    app.router.redirect_slashes = False
    app.shared = state
    return app


async def _passed_on(_: Request, error: Exception) -> Response:
    """Left to :class:`Failures`, as everything else that is raised."""
    raise error
