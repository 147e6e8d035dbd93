"""From data to a page: the templates, and what all of them know."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from jobd.api.roles import Role
from jobd.text.translatable import Text
from jobd.version import VERSION
from jobd.web import language
from jobd.web.access import session
from jobd.web.access.users import User
from jobd.web.mount import path_within, prefix
from jobd.web.request import state_of, url
from jobd.web.views import present
from jobd.web.views.visible import visible_page

_environment = Environment(
    loader=PackageLoader("jobd.web"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_environment.filters.update(present.FILTERS)
_environment.globals.update(_=language.gettext, ngettext=language.ngettext)
_environment.globals["Role"] = Role


@cache
def digest(path: str) -> str:
    """Twelve hexadecimal digits that stand for the content of a file in ``static``."""
    content = files("jobd.web").joinpath("static", path).read_bytes()
    return hashlib.sha256(content).hexdigest()[:12]


def static(request: Request, path: str) -> str:
    """The address of a file that browsers may keep for ever: with other content it has another."""
    return f"{prefix(request.scope)}/static/{path}?v={digest(path)}"


@dataclass(frozen=True, slots=True)
class Tab:
    """One entry of the navigation: the page, its text, its key, and the counter beside it."""

    page: str
    text: Text
    key: str
    stat: str = ""


TABS = (
    Tab("overview", Text("Overview"), "o"),
    Tab("busy", Text("Busy"), "b", "busy"),
    Tab("queues", Text("Queues"), "u", "enqueued"),
    Tab("retries", Text("Retries"), "r", "retries"),
    Tab("scheduled", Text("Scheduled"), "s", "scheduled"),
    Tab("dead", Text("Dead"), "d", "dead"),
    Tab("periodic", Text("Periodic"), "p"),
    Tab("batches", Text("Batches"), "t"),
    Tab("workflows", Text("Workflows"), "w"),
    Tab("metrics", Text("Metrics"), "m"),
    Tab("audit", Text("Audit"), "a"),
)
"""The navigation, in its order."""


def _here(request: Request) -> str:
    """The tab that this page belongs to."""
    paths: Mapping[str, str] = request.scope["jobd.paths"]
    path = path_within(request.scope)
    pages = [tab.page for tab in TABS if _below(path, paths[tab.page])]
    return max(pages, key=lambda page: len(paths[page]), default="")


def _below(path: str, page: str) -> bool:
    """Whether *path* is that of a page, or of one below it; every path is below the overview's."""
    return path == page or (page != "/" and path.startswith(page + "/"))


def render(
    request: Request,
    template: str,
    /,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: object,
) -> Response:
    """The page that *template* makes of *context*, in which *here* may name the tab."""
    user: User | None = request.scope.get("jobd.user")
    state = state_of(request)
    spoken = language.of(request)
    if user is not None and status < HTTPStatus.BAD_REQUEST:  # an error page waits for nothing
        state.look()
    with language.speaking(spoken):
        text = _environment.get_template(template).render(
            request=request,
            user=user,
            title=state.title,
            back=state.back,
            language=spoken,
            tabs=TABS,
            here=context.pop("here", None) or _here(request),
            counts=state.recent[-1] if state.recent else None,
            server=state.server,
            version=VERSION,
            now=time.time(),
            logged_in=bool(session.user_name(request)),
            may=lambda role: user is not None and user.role >= role,
            url=lambda name, /, **query: url(request, name, **query),
            static=lambda path: static(request, path),
            csrf=lambda: session.form_token(request),
            flash=session.take_flash(request),
            **context,
        )
    response = HTMLResponse(visible_page(text), status, headers)
    response.headers["Content-Language"] = spoken.tag
    if language.is_chosen(request):
        response.headers.add_vary_header("Accept-Language")
    return response
