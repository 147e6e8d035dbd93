"""Flask: an extension that configures jobd and gives jobs the context of the application.

The dashboard is a blueprint: a request passes everything that the application does before and after
its own, and only then becomes one of the dashboard. That is an ASGI application, whose adapter
starts a thread: it is made by the first request, after a server has forked.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack, cast
from urllib.parse import urlencode

import click
from a2wsgi import ASGIMiddleware
from flask import Blueprint, Flask, Response, current_app, request
from flask.cli import ScriptInfo, pass_script_info
from flask.typing import ResponseReturnValue

from jobd.errors import ArgumentError, ConfigError
from jobd.jobs.app import App, default
from jobd.jobs.context import CurrentJob
from jobd.jobs.middleware import AsyncNext, Next
from jobd.jobs.unrun import refuse_lazy

if TYPE_CHECKING:
    from wsgiref.types import WSGIApplication

    from starlette.requests import Request

    from jobd.web.access.users import User
    from jobd.web.app import DashboardOptions

Login = Callable[[], "User | ResponseReturnValue | None"]
"""Called in the context of a request to the dashboard: its user, None to refuse it, or a response
to send instead, such as a redirect to a login page."""

_USER = "jobd.user"


class Jobd:
    """The extension.

    It reads ``JOBD_REDIS`` and ``JOBD_PREFIX`` of the application's configuration; what is not
    there comes from the environment, or in a worker from the daemon. ``JOBD_DASHBOARD`` is the path
    of the dashboard, which needs *login*; ``JOBD_TITLE`` is shown on its pages.

    Args:
        app: the application; or call :meth:`init_app` later.
        login: who sends a request to the dashboard, see :data:`Login`.
        jobs: the :class:`jobd.App` whose jobs get the context.

    Example:
        >>> app = Flask("shop")
        >>> Jobd(app).jobs is default
        True
    """

    def __init__(
        self, app: Flask | None = None, *, login: Login | None = None, jobs: App = default
    ) -> None:
        if login is not None:
            refuse_lazy("login", login)
        self.jobs = jobs
        self._login = login
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set up *app*. If there are several in one process, jobs get the context of the last.

        Raises:
            ConfigError: a setting has a wrong type, or nothing says who may see the dashboard.
        """
        if not isinstance(app, Flask):
            raise ArgumentError(f"Jobd extends a Flask application, not {app!r}")
        redis, prefix = _text(app, "JOBD_REDIS"), _text(app, "JOBD_PREFIX")
        path = _text(app, "JOBD_DASHBOARD")
        if redis is not None or prefix is not None:
            self.jobs.configure(redis, prefix)
        self.jobs.server_middleware.add(AppContext(app))
        app.extensions["jobd"] = self
        app.cli.add_command(_command)
        if path is not None:
            if not path.startswith("/") or path.endswith("/"):
                raise ConfigError(f"JOBD_DASHBOARD is a path such as /jobs, not {path!r}")
            app.register_blueprint(self.dashboard(), url_prefix=path)

    def dashboard(self, name: str = "jobd", **options: Unpack[DashboardOptions]) -> Blueprint:
        """The dashboard as a blueprint, to be registered with a ``url_prefix``.

        Args:
            name: of the blueprint.
            options: arguments of :func:`jobd.web.dashboard`, such as ``users`` or ``back``.

        Raises:
            ConfigError: nothing says who may see it.
        """
        if self._login is None and not options.keys() & {"users", "tokens", "local"}:
            raise ConfigError(
                "nothing says who may see the dashboard: give Jobd a login, a function that "
                "returns the jobd.web.User of a request"
            )
        blueprint = Blueprint(name, __name__)
        mount = _Mount(self, options)
        methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
        for rule in ("", "/", "/<path:below>"):
            blueprint.add_url_rule(rule, "serve", mount.serve, methods=methods)
        return blueprint


class AppContext:
    """Server middleware: each job runs in a context of the application, as a request does. So
    ``current_app`` works, and extensions close at the end of the job what they have opened."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def __call__(self, _job: CurrentJob, _payload: object, _queue: str, call_next: Next) -> object:
        with self._app.app_context():
            return call_next()

    async def acall(
        self, _job: CurrentJob, _payload: object, _queue: str, call_next: AsyncNext
    ) -> object:
        with self._app.app_context():
            return await call_next()

    # One replaces the other in a chain: a factory may make several applications, as in tests.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, AppContext)

    def __hash__(self) -> int:
        return hash(AppContext)


class _Mount:
    """Passes requests on to the dashboard."""

    def __init__(self, extension: Jobd, options: DashboardOptions) -> None:
        self._extension = extension
        self._options = options
        self._lock = threading.Lock()
        self._made: tuple[int, WSGIApplication] | None = None

    def serve(self, **_below: str) -> ResponseReturnValue:
        user = None
        if self._extension._login is not None:
            user = self._extension._login()
            if user is not None and not _is_user(user):
                return cast("ResponseReturnValue", user)
        body = request.get_data()
        if not body and request.form:  # something before us has read it
            body = urlencode(list(request.form.items(multi=True))).encode()
        environ = dict(request.environ)
        # Not what the router has found, in which it has changed slashes.
        above = str(request.url_rule).removesuffix("/<path:below>").rstrip("/")
        environ["SCRIPT_NAME"] = environ.get("SCRIPT_NAME", "") + above
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(above)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(body), str(len(body))
        environ[_USER] = user
        # Read to its end where nobody reads the body: the dashboard waits until it is sent.
        return Response.from_app(self._adapter(), environ, buffered=request.method == "HEAD")

    def _adapter(self) -> WSGIApplication:
        pid = os.getpid()
        with self._lock:
            if self._made is None or self._made[0] != pid:
                self._made = pid, self._make()
            return self._made[1]

    def _make(self) -> WSGIApplication:
        from jobd.web import dashboard

        title = current_app.config.get("JOBD_TITLE") or ""
        options: DashboardOptions = {"title": title, **self._options}
        key = current_app.secret_key
        if key and "secret" not in options:  # the same in all processes of the server
            secret = key.encode() if isinstance(key, str) else key
            options["secret"] = hmac.new(secret, b"jobd dashboard", hashlib.sha256).hexdigest()
        login = _user_of if self._extension._login is not None else None
        made: Any = dashboard(self._extension.jobs.client, login=login, **options)
        return cast("WSGIApplication", ASGIMiddleware(made))


async def _user_of(asked: Request) -> User | None:
    found: User | None = asked.scope["wsgi_environ"][_USER]
    return found


def _is_user(found: object) -> bool:
    from jobd.web.access.users import User

    return isinstance(found, User)


def _text(app: Flask, name: str) -> str | None:
    found = app.config.setdefault(name, None)
    if found is not None and not isinstance(found, str):
        raise ConfigError(f"{name} must be a string, not {found!r}")
    return found


@click.command(
    "jobd",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    add_help_option=False,
    short_help="Run jobd with the configuration of the application.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_script_info
def _command(info: ScriptInfo, arguments: tuple[str, ...]) -> None:
    """Become ``jobd ARGUMENTS``: a daemon that has imported the application could not load its new
    code."""
    config = info.load_app().config
    for name in ("JOBD_REDIS", "JOBD_PREFIX"):
        if config.get(name) is not None:
            os.environ.setdefault(name, config[name])
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-m", "jobd", *arguments])
