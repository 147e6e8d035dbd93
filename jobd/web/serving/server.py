"""``jobd web``: the dashboard with a server of its own."""

from __future__ import annotations

import errno
import os
import signal
import socket
from ipaddress import ip_address

import click
import uvicorn
from starlette.types import ASGIApp

from jobd.api import Api
from jobd.errors import ConfigError, Exit, UnavailableError
from jobd.jobs.app import App
from jobd.runtime.log import log
from jobd.runtime.log.file import LogFile
from jobd.runtime.log.stderr import STDERR
from jobd.runtime.process.sdnotify import Notifier
from jobd.settings.daemon import Config
from jobd.settings.dashboard import WebConfig
from jobd.text.printable import shown
from jobd.web.app import Dashboard, dashboard
from jobd.web.mount import is_loopback
from jobd.web.serving.crowd import ACCEPTED_AT_ONCE
from jobd.web.serving.prefixed import Prefixed
from jobd.web.serving.protocol import Protocol
from jobd.web.serving.unnamed import UnnamedProxy

ENDS_WITHIN = 3
"""Seconds that requests get when the server ends."""

_BACKLOG = 1_024
"""Connections that may wait to be accepted."""


def serve(config: Config, web: WebConfig, app: App) -> int:
    """Serve until a signal ends it; returns the exit code.

    Raises:
        ConfigError: the settings would let strangers in, or name no address.
        UnavailableError: the address is taken.
    """
    log.configure(
        LogFile(STDERR, ""), config.log_level, config.log_format, "web", config.log_max_value
    )
    api = Api(
        config.redis,
        config.prefix,
        dead_max_jobs=config.dead_max_jobs,
        dead_timeout=config.dead_timeout,
        app=app,
    )
    local = not (web.users or web.tokens)
    pages = dashboard(
        api,
        users=web.users,
        tokens=web.tokens,
        local=local,
        secret=web.secret,
        title=web.title,
        translations=web.translations,
    )
    path = web.path.rstrip("/")
    served: ASGIApp = pages
    if path:
        _check_path(pages, path)
        served = Prefixed(pages, path)
    if not web.proxies:
        served = UnnamedProxy(served)
    with _listen(web.bind, web.port, only_loopback=local) as listening:
        host, port = listening.getsockname()[:2]
        # An address that stands for all of them is none that a browser elsewhere can open.
        name = socket.gethostname() if ip_address(host).is_unspecified else host
        name = f"[{name}]" if ":" in name else name
        server = _Server(
            uvicorn.Config(
                served,
                http=Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                backlog=ACCEPTED_AT_ONCE,
                proxy_headers=bool(web.proxies),
                forwarded_allow_ips=list(web.proxies),
                timeout_graceful_shutdown=ENDS_WITHIN,
            ),
            pages,
        )
        # From here on: uvicorn takes them over when it runs, and gives them back at the end.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, server.handle_exit)
        where = f"http://{name}:{port}{path}/"
        click.echo(shown(f"jobd web: {where} (Redis: {config.redacted().redis})"))
        Notifier.take(os.environ).ready(f"serving {where}")
        server.run([listening])
    return Exit.OK


class _Server(uvicorn.Server):
    """One that ends the streams of the open pages, instead of waiting for them, and that accepts a
    few connections at a time, however many wait."""

    def __init__(self, config: uvicorn.Config, app: Dashboard) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # For asyncio it is one number: how many may wait, and how many are accepted at once.
        for listening in sockets or []:
            listening.listen(_BACKLOG)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.close()
        await super().shutdown(sockets)


def _check_path(app: Dashboard, path: str) -> None:
    """Refuse a path that could be an address of ours: then nobody could tell whether a proxy has
    taken it away."""
    first = "/" + path.split("/")[1]
    taken = {"/" + str(route.path).split("/")[1] for route in app.routes if hasattr(route, "path")}
    if first in taken:
        raise ConfigError(f"path {path}: {first} is an address of the dashboard; choose another")


def _listen(name: str, port: int, *, only_loopback: bool) -> socket.socket:
    """A socket that listens at that name or address.

    Raises:
        ConfigError: there is no such address here, or strangers could come to it.
        UnavailableError: another program listens there.
    """
    where = f"{name} port {port}"
    try:
        found = socket.getaddrinfo(
            name.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {error.strerror}") from None
    family, _, _, _, address = min(found, key=lambda one: one[0])  # IPv4 first
    if only_loopback and not is_loopback(str(address[0])):
        raise ConfigError(
            f"without users the dashboard listens on a loopback address only, not on {name}: "
            "anybody could stop workers and delete jobs. Make a user with `jobd web-password` and "
            "put it into [web] users"
        )
    both = address[0] == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server(address, family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(
                f"cannot listen on {where}: {reason}; another program is there, maybe another "
                "`jobd web`. Choose another port with -p"
            ) from None
        raise ConfigError(f"cannot listen on {where}: {reason}") from None
