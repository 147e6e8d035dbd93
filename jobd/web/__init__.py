"""The web dashboard: an ASGI application that runs by itself or inside another one.

It holds no state: everything comes from Redis through :mod:`jobd.api`. By itself it is
``jobd web``; inside another application it is what :func:`dashboard` returns:

    >>> from starlette.applications import Starlette
    >>> from starlette.routing import Mount
    >>> from jobd.web import Role, User, dashboard
    >>> def who(request):
    ...     return User("alice", Role.ADMIN) if "alice" in request.headers else None
    >>> app = Starlette(routes=[Mount("/jobs", dashboard(login=who))])

Needs the packages of the extra ``web``: ``pip install 'pyjobd[web]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobd.api.roles import Role
from jobd.web.access.users import User

if TYPE_CHECKING:
    from jobd.web.app import dashboard

__all__ = ["Role", "User", "dashboard"]


def __getattr__(name: str) -> object:
    # Made at the first use: `jobd web-password` and `jobd check` need nothing of Starlette.
    if name == "dashboard":
        try:
            from jobd.web.app import dashboard
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"the dashboard needs the package {str(error.name).partition('.')[0]}: "
                "run pip install 'pyjobd[web]'",
                name=error.name,
            ) from None

        return dashboard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
