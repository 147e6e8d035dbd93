"""The dashboard as a view, under WSGI and ASGI.

It is an ASGI application, which runs on an event loop of its own; the view passes it each request
as WSGI does, together with the user of Django. Pages poll: a stream would occupy a thread of the
server.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django.urls import NoReverseMatch, reverse
from django.utils.crypto import salted_hmac
from django.views.decorators.csrf import csrf_exempt

from jobd.contrib.django.access import role_of
from jobd.contrib.django.apps import JobdConfig
from jobd.web import User

if TYPE_CHECKING:
    from starlette.requests import Request

_USER = "jobd.django_user"
_lock = threading.Lock()
_made: tuple[int, Any] | None = None


@csrf_exempt  # the dashboard checks where a form comes from, and its own token
def dashboard(request: HttpRequest, path: str = "") -> HttpResponse:
    """Answer with a page of the dashboard; who is not logged in is sent to the login."""
    role = role_of(request)
    if role is None:
        if not hasattr(request, "user"):
            raise ImproperlyConfigured(
                "the dashboard needs django.contrib.auth.middleware.AuthenticationMiddleware"
            )
        if request.user.is_authenticated:
            raise PermissionDenied("the permission jobd.view_jobs is needed to see background jobs")
        return _to_login(request, path)
    return _answer(request, path, User(request.user.get_username() or "?", role))


def _to_login(request: HttpRequest, path: str) -> HttpResponse:
    """Then back; where only forms lead, to the first page."""
    wanted = request.get_full_path() if request.method == "GET" else request.path.removesuffix(path)
    try:
        login = reverse("admin:login")
    except NoReverseMatch:
        login = resolve_url("login")
    return redirect_to_login(wanted, login, REDIRECT_FIELD_NAME)


def _answer(request: HttpRequest, path: str, user: User) -> HttpResponse:
    whole = request.path
    below = "/" + path
    environ = {
        **request.META,
        "HTTP_HOST": request.get_host(),  # one of ALLOWED_HOSTS, and that in front of a proxy
        "SCRIPT_NAME": _of_wsgi(whole[: len(whole) - len(below)]),
        "PATH_INFO": _of_wsgi(below),
        "SERVER_PROTOCOL": request.META.get("SERVER_PROTOCOL", "HTTP/1.1"),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(request.body),
        _USER: user,
    }
    environ.setdefault("REMOTE_ADDR", "")
    began: list[tuple[int, list[tuple[str, str]]]] = []

    def start(status: str, headers: list[tuple[str, str]], *_: object) -> None:
        began.append((int(status.split()[0]), headers))

    body: Iterable[bytes] = _application()(environ, start)
    try:
        response = HttpResponse(b"".join(body))
    finally:
        if close := getattr(body, "close", None):
            close()
    response.status_code, headers = began[-1]
    del response.headers["Content-Type"]
    for name, value in headers:
        if name.lower() == "set-cookie":
            response.cookies.load(value)
        elif name.lower() not in ("connection", "content-length"):
            response.headers[name] = value
    return response


def _of_wsgi(path: str) -> str:
    """A path as WSGI has it: its bytes as Latin-1."""
    return path.encode().decode("latin-1")


def _application() -> Any:
    """The dashboard, made at the first request of a process: that starts a thread, which a forked
    server does not have."""
    global _made
    pid = os.getpid()
    with _lock:
        if _made is None or _made[0] != pid:
            from a2wsgi import ASGIMiddleware

            from jobd.web import dashboard as made

            config = apps.get_app_config("jobd")
            assert isinstance(config, JobdConfig)
            secret = salted_hmac("jobd.contrib.django", "dashboard").hexdigest()
            application: Any = made(config.app.client, login=_login, secret=secret, back="/")
            _made = pid, ASGIMiddleware(application)
        return _made[1]


def _login(request: Request) -> User:
    user = request.scope["wsgi_environ"][_USER]
    assert isinstance(user, User)
    return user
