"""The dashboard under a path of a proxy, which takes that path away or leaves it.

Both are common (nginx: ``proxy_pass http://…:7420/;`` and without the last slash), and nobody
should have to know which one it is. The first one makes ``//queues`` of ``/jobs/queues``, unless
its ``location`` ends in a slash as well.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class Prefixed:
    """Middleware that finds out.

    Args:
        path: where the proxy serves it, e.g. ``/jobs``.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if path != self._path and not path.startswith(self._path + "/"):
                path = f"{self._path}/{path.lstrip('/')}"
            scope = {**scope, "path": path, "root_path": self._path}
        await self._app(scope, receive, send)
