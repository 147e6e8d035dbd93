"""Says in the log that requests come through a proxy that no setting names.

Its visitors all count as one address then, and cookies are not for TLS only. Nothing else would
tell that: the pages work.
"""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Receive, Scope, Send

from jobd.web.mount import address, header

_log = logging.getLogger("jobd.web")


class UnnamedProxy:
    """Middleware that says it once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._said = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._said and scope["type"] == "http" and header(scope, b"x-forwarded-for"):
            self._said = True
            _log.warning(
                "a request from %s has X-Forwarded-For, but the setting proxies of [web] names no "
                "proxy, so it is not believed: all who come through that proxy count as one "
                "address. If it is yours, put its address into proxies",
                address(scope),
            )
        await self._app(scope, receive, send)
