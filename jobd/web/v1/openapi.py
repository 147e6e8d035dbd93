"""The description of the API, as of OpenAPI 3.1. It is made from the table of operations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from http import HTTPStatus

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.version import VERSION
from jobd.web.http_errors import PROBLEM
from jobd.web.mount import prefix
from jobd.web.v1.operations import PATH, Operation
from jobd.wire.json_value import Object

_ABOUT = (
    "Jobs in Redis: to look at and to act on. Send a token as `Authorization: Bearer TOKEN`, or a "
    "name and a password as Basic authentication; what changes something takes a token, or the "
    "session and the form token of a browser in `X-CSRF-Token`. Times are seconds since 1970 (UTC)."
)
_SCHEMAS = "#/components/schemas/{name}"


class Problem(msgspec.Struct, frozen=True):
    """What went wrong, as of RFC 9457."""

    type: str
    title: str
    status: int
    detail: str


def route(operations: Sequence[Operation]) -> Route:
    """Where it is served."""

    @cache
    def described(place: str) -> bytes:
        return msgspec.json.encode(describe(operations, place))

    def openapi(request: Request) -> Response:
        return Response(described(prefix(request.scope)), media_type="application/json")

    return Route(f"{PATH}/openapi.json", openapi, name="api_openapi")


def describe(operations: Sequence[Operation], place: str = "") -> Object:
    """The description, for a dashboard under the prefix *place*."""
    taken = [one.body for one in operations if one.body is not None]
    results = [one.result for one in operations]
    schemas, components = msgspec.json.schema_components(
        [*results, *taken, Problem], ref_template=_SCHEMAS
    )
    paths: dict[str, dict[str, object]] = {}
    for at, one in enumerate(operations):
        body = schemas[len(results) + taken.index(one.body)] if one.body is not None else None
        described = _operation(one, schemas[at], body, schemas[-1])
        paths.setdefault(one.path, {})[one.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {"title": "jobd", "version": VERSION, "description": _ABOUT},
        "servers": [{"url": place + PATH}],
        "security": [{"token": []}, {"password": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _operation(
    one: Operation,
    result: dict[str, object],
    body: dict[str, object] | None,
    problem: dict[str, object],
) -> dict[str, object]:
    described: dict[str, object] = {
        "operationId": one.name,
        "summary": one.summary,
        "description": f"Takes the role {one.role.name.lower()}.",
        "x-role": one.role.name.lower(),
        "responses": {
            "200": {"description": "Done.", "content": {"application/json": {"schema": result}}},
            **{
                str(status): {
                    "description": HTTPStatus(status).phrase,
                    "content": {PROBLEM: {"schema": problem}},
                }
                for status in _statuses(one)
            },
        },
    }
    if one.query is not None:
        described["parameters"] = _parameters(one)
    if body is not None:
        content = {"application/json": {"schema": body}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _statuses(one: Operation) -> list[int]:
    """Those of the problems that it may answer with."""
    found = {400, 401, 403, 429, 500, 503}
    if one.finds:
        found.add(404)
    if one.method != "GET":
        found |= {408, 409, 413}
    if one.body is not None:
        found.add(415)
    return sorted(found)


def _parameters(one: Operation) -> list[dict[str, object]]:
    (schema,), components = msgspec.json.schema_components([one.query], ref_template=_SCHEMAS)
    described = components[schema["$ref"].rpartition("/")[2]]
    return [
        {
            "name": name,
            "in": "path" if f"{{{name}}}" in one.path else "query",
            "required": name in described.get("required", ()),
            "schema": {key: fact for key, fact in facts.items() if key != "description"},
            "description": facts.get("description", ""),
        }
        for name, facts in described["properties"].items()
    ]
