"""Litestar: a plugin that configures jobd, mounts the dashboard, and adds `litestar jobd`.

Litestar calls a mounted ASGI application with a path that ends in a slash and without saying where
it is mounted; the dashboard gets both as they were.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import unquote

import click
from litestar import Litestar, asgi
from litestar.config.app import AppConfig
from litestar.connection import ASGIConnection
from litestar.handlers import ASGIRouteHandler
from litestar.plugins import CLIPlugin, InitPlugin
from litestar.types import Guard, Receive, Scope, Send

from jobd.errors import ConfigError
from jobd.jobs.app import App, default
from jobd.jobs.unrun import is_coroutine_function, refuse_lazy

if TYPE_CHECKING:
    from starlette.requests import Request

    from jobd.web.access.gate import Login as WebLogin
    from jobd.web.access.users import User
    from jobd.web.app import Dashboard, DashboardOptions

Connection = ASGIConnection[Any, Any, Any, Any]
Login = Callable[[Connection], Any]
"""Says who sends a request to the dashboard: a :class:`jobd.web.User`, or None to refuse it. A
function, which is called in a thread, or a coroutine function."""


class JobdPlugin(InitPlugin, CLIPlugin):
    """The plugin.

    Args:
        redis: URL of Redis; default as for :class:`jobd.Client`.
        prefix: prefix of all keys.
        dashboard: path of the dashboard; None for none.
        login: who may see it, see :data:`Login`.
        guards: of the dashboard, which refuse a request with an exception of Litestar.
        jobs: the :class:`jobd.App` that is configured.
        options: further arguments of :func:`jobd.web.dashboard`.

    Raises:
        ConfigError: nothing says who may see the dashboard, or its path is none.

    Example:
        >>> app = Litestar(plugins=[JobdPlugin("redis://127.0.0.1:6379/0")])
    """

    def __init__(
        self,
        redis: str | None = None,
        prefix: str | None = None,
        *,
        dashboard: str | None = None,
        login: Login | None = None,
        guards: Sequence[Guard] = (),
        jobs: App = default,
        **options: Unpack[DashboardOptions],
    ) -> None:
        if login is not None:
            refuse_lazy("login", login, awaits=True)
        if dashboard is not None:
            if not dashboard.startswith("/") or dashboard.endswith("/"):
                raise ConfigError(f"dashboard is a path such as /jobs, not {dashboard!r}")
            if login is None and not options.keys() & {"users", "tokens", "local"}:
                raise ConfigError(
                    "nothing says who may see the dashboard: give JobdPlugin a login, a function "
                    "that returns the jobd.web.User of a connection"
                )
        self.jobs = jobs
        self._redis = redis
        self._prefix = prefix
        self._dashboard = dashboard
        self._login = login
        self._guards = list(guards)
        self._options = options

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.lifespan = [*app_config.lifespan, self._lifespan]
        if self._dashboard is not None:
            app_config.route_handlers = [*app_config.route_handlers, self._mount(self._dashboard)]
        return app_config

    def on_cli_init(self, cli: click.Group) -> None:
        cli.add_command(
            click.Command(
                "jobd",
                callback=self._become,
                params=[click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
                context_settings={
                    "ignore_unknown_options": True,
                    "allow_interspersed_args": False,
                },
                add_help_option=False,
                short_help="Run jobd with the Redis of the application.",
            )
        )

    @asynccontextmanager
    async def _lifespan(self, _app: Litestar) -> AsyncIterator[None]:
        client = self.jobs.client
        if self._redis is not None or self._prefix is not None:
            client = self.jobs.configure(self._redis, self._prefix)
        try:
            yield
        finally:
            await client.aclose()

    def _become(self, arguments: tuple[str, ...]) -> None:
        """Become ``jobd ARGUMENTS``: a daemon that has imported the application could not load its
        new code."""
        for name, value in (("JOBD_REDIS", self._redis), ("JOBD_PREFIX", self._prefix)):
            if value is not None:
                os.environ.setdefault(name, value)
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, "-P", "-m", "jobd", *arguments])

    def _mount(self, path: str) -> ASGIRouteHandler:
        made: list[Any] = []

        async def jobd_dashboard(scope: Scope, receive: Receive, send: Send) -> None:
            if not made:  # at the first request: jobd is configured by then
                made.append(self._made())
            await made[0](_mounted(scope, path), receive, send)

        # It checks the origin of requests itself.
        opt = {"exclude_from_csrf": True}
        mount = asgi(path, is_mount=True, copy_scope=True, guards=self._guards, opt=opt)
        return mount(jobd_dashboard)

    def _made(self) -> Dashboard:
        from jobd.web import dashboard

        own = self._login
        login: WebLogin | None = None
        if own is not None and is_coroutine_function(own):

            async def awaited(request: Request) -> User | None:
                found: User | None = await own(_connection(request))
                return found

            login = awaited
        elif own is not None:

            def called(request: Request) -> User | None:
                found: User | None = own(_connection(request))
                return found

            login = called
        return dashboard(self.jobs.client, login=login, **self._options)


def _connection(request: Request) -> Connection:
    scope: Any = request.scope
    return ASGIConnection(scope)


def _mounted(scope: Scope, mount: str) -> dict[str, object]:
    """*scope* as a server would give it to an application that is mounted at *mount*."""
    path = unquote(scope["raw_path"].decode("latin-1").partition("?")[0])
    above = str(scope.get("root_path", "")).rstrip("/")
    if not path.startswith(f"{above}/"):  # a proxy that takes the root away from the path
        path = above + path
    return {**scope, "root_path": above + mount, "path": path}
