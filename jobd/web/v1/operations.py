"""One operation of the API: its address, who may use it, what it takes and what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar, get_type_hints

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from jobd.api import Api
from jobd.api.actions import Action
from jobd.api.roles import Role
from jobd.text.printable import harmless_json
from jobd.web.http_errors import NotFound, Refusal
from jobd.web.request import acting, body_of, require, state_of
from jobd.web.shared.state import State
from jobd.wire.json_value import UNREADABLE

PATH = "/api/v1"
_JSON = "application/json"
H = TypeVar("H", bound=Callable[..., object])
Q = TypeVar("Q", bound="Query")
B = TypeVar("B", bound="Body")


class WrongType(Refusal):
    """The body is no JSON."""

    status = 415
    title = "Wrong type"


class Query(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of an operation. One that is not there is an error, for it may be a misspelt
    one that was meant to bound a deletion."""


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an operation."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an operation.

    Attributes:
        api: the data API on behalf of the caller.
    """

    state: State
    api: Api


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An operation.

    Attributes:
        name: unique, ``operationId`` in the description.
        path: below :data:`PATH`; what is in braces is a field of *query*.
        query, body: types of what it takes; None for nothing.
        result: type of what it returns.
        finds: there may be nothing to be found: 404.
    """

    name: str
    method: str
    path: str
    role: Role
    summary: str
    handler: Callable[..., object]
    result: object
    query: type[Query] | None
    body: type[Body] | None
    finds: bool

    def answer(self, request: Request) -> Response:
        """Check what was sent, do it, and say what came of it."""
        require(request, self.role)
        state = state_of(request)
        given: dict[str, object] = {}
        query = _query(self.query or Query, request, self.path)
        if self.query is not None:
            given["query"] = query
        if self.body is not None:
            given["body"] = _body(self.body, request)
        try:
            result = self.handler(Call(state, acting(request)), **given)
        finally:
            if self.method != "GET":
                state.snapshots.changed()
        return Response(harmless_json(msgspec.json.encode(result)), media_type=_JSON)


class Table(list[Operation]):
    """Operations, in the order in which they are written."""

    def add(
        self,
        method: str,
        path: str,
        summary: str,
        role: Role = Role.VIEWER,
        *,
        finds: bool = False,
    ) -> Callable[[H], H]:
        """Makes an operation of a function of a :class:`Call`, of a ``query`` and of a ``body``, by
        the types of those and of what it returns."""

        def take(handler: H) -> H:
            types = get_type_hints(handler, include_extras=True)
            self.append(
                Operation(
                    name=handler.__name__,
                    method=method,
                    path=path,
                    role=role,
                    summary=summary,
                    handler=handler,
                    result=types["return"],
                    query=types.get("query"),
                    body=types.get("body"),
                    finds=finds or "{" in path,
                )
            )
            return handler

        return take

    def act(
        self,
        method: str,
        path: str,
        action: Action[Callable[..., object]],
        summary: str = "",
        *,
        finds: bool = False,
    ) -> Callable[[H], H]:
        """As :meth:`add`, for *action* of the table; *summary* where it is not that of the
        action."""
        return self.add(method, path, summary or str(action.summary), action.role, finds=finds)


def routes_of(operations: Iterable[Operation]) -> list[Route]:
    """A route for each path: so what it cannot do is answered with what it can."""
    by_path = sorted(operations, key=lambda one: one.path)
    return [_route(path, list(found)) for path, found in groupby(by_path, lambda one: one.path)]


def _route(path: str, operations: list[Operation]) -> Route:
    by_method = {one.method: one for one in operations}
    if "GET" in by_method:
        by_method["HEAD"] = by_method["GET"]

    def endpoint(request: Request) -> Response:
        return by_method[request.method].answer(request)

    # The page itself asks for one of them by its name.
    return Route(PATH + path, endpoint, methods=list(by_method), name=f"api_{operations[0].name}")


def _query(kind: type[Q], request: Request, path: str) -> Q:
    # The application around us may have parameters in its part of the path.
    places = {key: value for key, value in request.path_params.items() if f"{{{key}}}" in path}
    given: dict[str, str] = {}
    for key, value in request.query_params.multi_items():
        if key in given or key in places:
            raise Refusal(f"the parameter {key[:100]!r} was sent twice")
        given[key] = value
    try:
        return msgspec.convert({**given, **places}, kind, strict=False)
    except msgspec.ValidationError as error:
        text = str(error)
        if any(text.endswith(f"`$.{name}`") for name in places):
            raise NotFound(f"{text}") from None
        raise Refusal(text) from None


def _body(kind: type[B], request: Request) -> B:
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent != _JSON:
        raise WrongType(f"the body must be {_JSON}")
    try:
        return msgspec.json.decode(body_of(request), type=kind)
    except UNREADABLE as error:
        raise Refusal(f"the body cannot be read: {error}") from None
