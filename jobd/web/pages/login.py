"""Logging in and out."""

from __future__ import annotations

import logging
import re

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from jobd.text.translatable import Text
from jobd.web.access import session
from jobd.web.access.attempts import Attempts
from jobd.web.access.revoked import Ended
from jobd.web.access.users import Users
from jobd.web.http_errors import NotFound, Refusal
from jobd.web.mount import address, prefix
from jobd.web.request import form_of, url
from jobd.web.views.render import render

_log = logging.getLogger("jobd.web")

# An address of ours: below the prefix, and with nothing that a browser takes for another host.
_PAGE = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]{0,1000}")


def routes(users: Users, attempts: Attempts, ended: Ended) -> list[Route]:
    """Of the login page."""

    def form(request: Request) -> Response:
        if not users.with_passwords:
            raise NotFound(Text("There is no login here: no users are set up."))
        after = request.query_params.get("next", "")
        return render(request, "login.html", name="", wrong="", after=after)

    async def log_in(request: Request) -> Response:
        given = form_of(request)
        name, password = str(given.get("name", "")), str(given.get("password", ""))
        after = str(given.get("next", ""))
        try:
            user = await attempts.check(request, name, password)
        except Refusal as refusal:
            text, headers = refusal.text, refusal.headers()
            return render(
                request, "login.html", refusal.status, headers, name=name, wrong=text, after=after
            )
        session.log_in(request, user.name, users.proof(user.name))
        return RedirectResponse(_destination(request, after), 303)

    async def log_out(request: Request) -> Response:
        content = session.session_of(request).content
        if content.ident:
            # The cookie goes last: until the end is noted, copies of it are good, and the user must
            # be able to try again.
            await run_in_threadpool(ended.add, content.user, content.ident, content.until)
            _log.info("%s logged out from %s", content.user, address(request.scope))
        session.log_out(request)
        return RedirectResponse(url(request, "login"), 303)

    return [
        Route("/login", form, name="login"),
        Route("/login", log_in, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"], name="logout"),
    ]


def _destination(request: Request, after: str) -> str:
    """The page that somebody wanted before he had to log in; the first one if it is no page."""
    return prefix(request.scope) + (after if _PAGE.fullmatch(after) else "/")
