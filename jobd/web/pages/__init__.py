"""The pages. Each module is one page or one kind of page, with its routes and its actions."""

from __future__ import annotations

from starlette.routing import BaseRoute

from jobd.web.access.attempts import Attempts
from jobd.web.access.revoked import Ended
from jobd.web.access.users import Users
from jobd.web.pages import (
    audit,
    batches,
    busy,
    edit,
    find,
    job,
    login,
    metrics,
    overview,
    periodic,
    queue,
    queues,
    sets,
    stacks,
    trash,
    workflows,
)


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
        *periodic.routes,
        *batches.routes,
        *workflows.routes,
        *metrics.routes,
        *audit.routes,
        *login.routes(users, attempts, ended),
    ]
