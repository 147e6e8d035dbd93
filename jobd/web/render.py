"""From data to a page: the templates, what all of them know, and the addresses of other pages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from jobd.texts import Text
from jobd.web import language, present, session
from jobd.web.place import path_within, prefix
from jobd.web.users import Role, User

if TYPE_CHECKING:
    from jobd.web.state import State

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


def url(request: Request, name: str, /, **query: Any) -> str:
    """The address of the page *name*, wherever the dashboard is mounted; what is None or empty
    in *query* is left out."""
    paths: Mapping[str, str] = request.scope["jobd.paths"]
    given = {key: value for key, value in query.items() if value not in (None, "")}
    return prefix(request.scope) + paths[name] + (f"?{urlencode(given)}" if given else "")


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
    Tab("metrics", Text("Metrics"), "m"),
    Tab("audit", Text("Audit"), "a"),
)
"""The navigation, in its order."""


def _here(request: Request) -> str:
    """The tab that this page belongs to."""
    paths: Mapping[str, str] = request.scope["jobd.paths"]
    path = path_within(request.scope)
    pages = [tab.page for tab in TABS if path.startswith(paths[tab.page])]
    return max(pages, key=lambda page: len(paths[page]), default="")


def render(
    request: Request,
    template: str,
    /,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> Response:
    """The page that *template* makes of *context*, in which *here* may name the tab."""
    user: User | None = request.scope.get("jobd.user")
    state: State | None = request.scope.get("jobd.state")
    spoken = language.of(request)
    with language.speaking(spoken):
        text = _environment.get_template(template).render(
            request=request,
            user=user,
            title=state.title if state else "",
            back=state.back if state else "",
            language=spoken,
            tabs=TABS,
            here=context.pop("here", None) or _here(request),
            logged_in=bool(session.user_name(request)),
            may=lambda role: user is not None and user.role >= role,
            url=lambda name, /, **query: url(request, name, **query),
            static=lambda path: static(request, path),
            csrf=lambda: session.form_token(request),
            flash=session.take_flash(request),
            **context,
        )
    response = HTMLResponse(text, status, headers)
    response.headers["Content-Language"] = spoken.tag
    if language.is_chosen(request):
        response.headers.add_vary_header("Accept-Language")
    return response


def problem_page(
    request: Request,
    title: str,
    text: str,
    status: int,
    headers: Mapping[str, str] | None = None,
    *,
    again: bool = False,
) -> Response:
    """A page that says what went wrong; *again*: it will be asked for again by itself."""
    return render(request, "problem.html", status, headers, heading=title, text=text, again=again)
