"""The same for programs: ``/api/v1``, JSON over HTTP.

Every operation is in a table with the types of what it takes and returns
(:mod:`jobd.web.v1.operations`). From that table come the routes, the checks of what is sent, and
the description at ``/api/v1/openapi.json``; so they cannot contradict each other.
"""

from __future__ import annotations

from starlette.routing import BaseRoute

from jobd.web.v1 import actions, batches, metrics, openapi, periodic, reading, workflows
from jobd.web.v1.operations import Operation, routes_of

OPERATIONS: tuple[Operation, ...] = (
    *reading.OPERATIONS,
    *metrics.OPERATIONS,
    *periodic.OPERATIONS,
    *batches.OPERATIONS,
    *workflows.OPERATIONS,
    *actions.OPERATIONS,
)
"""All of them."""

routes: list[BaseRoute] = [*routes_of(OPERATIONS), openapi.route(OPERATIONS)]
