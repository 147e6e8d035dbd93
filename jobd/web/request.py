"""What every page asks of a request: its user, its dashboard, what was sent, other addresses."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from starlette.datastructures import FormData
from starlette.requests import Request

from jobd.api import Api
from jobd.api.roles import Role
from jobd.text.translatable import Text
from jobd.web.access.users import User
from jobd.web.http_errors import Forbidden, Refusal
from jobd.web.mount import prefix
from jobd.web.shared.state import State

_LONGEST = 20_000
"""Characters of a text in an address; uvicorn refuses requests whose first line has 64 KB."""


def user_of(request: Request) -> User:
    """Who sends this request."""
    user = request.scope["jobd.user"]
    assert isinstance(user, User)
    return user


def require(request: Request, role: Role) -> User:
    """Who sends this request, if their role is *role* or one above it.

    Raises:
        Forbidden: it is not; the text says which role it takes.
    """
    user = user_of(request)
    if user.role < role:
        raise Forbidden(
            Text(
                "this needs the role %(role)s; %(user)s has the role %(has)s",
                role=role.name.lower(),
                user=user.name,
                has=user.role.name.lower(),
            )
        )
    return user


def state_of(request: Request) -> State:
    """The dashboard that this request is for."""
    state = request.scope["jobd.state"]
    assert isinstance(state, State)
    return state


def acting(request: Request, *, permanent: bool = False) -> Api:
    """The data API on behalf of the user who asks: what they do is in the audit log, and can be
    undone unless it is *permanent*."""
    return state_of(request).api.acting_as(user_of(request).name, trash=not permanent)


def form_of(request: Request) -> FormData:
    """The fields of the form that was sent; empty when none was."""
    form = request.scope.get("jobd.form")
    return form if isinstance(form, FormData) else FormData()


def action_of(form: FormData, known: Mapping[str, object]) -> str:
    """The name of the action that a form wants.

    Raises:
        Refusal: it is not among those that are *known* here.
    """
    name = str(form.get("action", ""))
    if name not in known:
        raise Refusal(
            Text(
                "unknown action %(action)s; use one of: %(known)s",
                action=repr(name[:100]),
                known=", ".join(known),
            )
        )
    return name


def body_of(request: Request) -> bytes:
    """The body of a request that changes something."""
    return bytes(request.scope.get("jobd.body", b""))


def _fits(value: object) -> bool:
    return value not in (None, "", []) and not (isinstance(value, str) and len(value) > _LONGEST)


def url(request: Request, name: str, /, **query: object) -> str:
    """The address of the page *name*, wherever the dashboard is mounted; what is None or empty
    in *query* is left out, and a list is there once for each of its members. A text that no server
    takes in an address is left out as well: a page with some of them would have megabytes."""
    paths: Mapping[str, str] = request.scope["jobd.paths"]
    given = {key: value for key, value in query.items() if _fits(value)}
    return (
        prefix(request.scope) + paths[name] + (f"?{urlencode(given, doseq=True)}" if given else "")
    )
