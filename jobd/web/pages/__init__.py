"""The pages. Each module is one page or one kind of page, with its routes and its actions."""

from __future__ import annotations

from starlette.routing import BaseRoute

from jobd.web.attempts import Attempts
from jobd.web.ended import Ended
from jobd.web.pages import (
    audit,
    busy,
    edit,
    find,
    job,
    login,
    metrics,
    overview,
    queue,
    queues,
    sets,
    stacks,
    trash,
)
from jobd.web.users import Users


def routes(users: Users, attempts: Attempts, ended: Ended) -> list[BaseRoute]:
    """Those of all pages."""
    return [
        *overview.routes,
        *busy.routes,
        *stacks.routes,
        *job.routes,
        *edit.routes,
        *find.routes,
        *queues.routes,
        *queue.routes,
        *sets.routes,
        *trash.routes,
        *metrics.routes,
        *audit.routes,
        *login.routes(users, attempts, ended),
    ]
