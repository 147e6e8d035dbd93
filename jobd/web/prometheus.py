"""``/metrics`` for Prometheus; see :mod:`jobd.api.shared.prometheus`.

Who asks needs the role viewer, as for everything that says something about jobs: give Prometheus a
token.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.api.roles import Role
from jobd.api.shared import prometheus
from jobd.web.request import require, state_of


def metrics(request: Request) -> Response:
    """Everything, in the text format."""
    require(request, Role.VIEWER)
    text = prometheus.text(state_of(request))
    return Response(text, headers={"Content-Type": prometheus.CONTENT_TYPE})


routes = [Route("/metrics", metrics, name="prometheus")]
