"""FastAPI and Starlette: the lifespan, dependencies that push after the commit, the dashboard.

Where a commit happens decides what a client is told. A dependency with ``yield`` ends after the
response by default: a commit that fails there has been answered with 200, and background tasks run
before it. :func:`transaction` commits before the response.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from fastapi import APIRouter, Depends
from fastapi.params import Depends as Dependency
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from jobd.errors import ArgumentError
from jobd.jobs.app import App, default
from jobd.jobs.client import Client
from jobd.jobs.pushable import Performs, Pushable

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession
    from sqlalchemy.orm import Session

    from jobd.contrib.sqlalchemy import AnySession
    from jobd.web.access.users import User
    from jobd.web.app import DashboardOptions

P = ParamSpec("P")
R = TypeVar("R")

_USER = "jobd.user"


def lifespan(
    redis: str | None = None, prefix: str | None = None, *, jobs: App = default
) -> Callable[[object], AbstractAsyncContextManager[None]]:
    """A lifespan of FastAPI or Starlette that configures jobd and closes its connections.

    Args:
        redis: URL of Redis; default as for :class:`jobd.Client`.
        prefix: prefix of all keys.
        jobs: the :class:`jobd.App` that is configured.

    Example:
        >>> from fastapi import FastAPI
        >>> app = FastAPI(lifespan=lifespan())
    """

    @asynccontextmanager
    async def around(_app: object) -> AsyncIterator[None]:
        client = jobs.client
        if redis is not None or prefix is not None:
            client = jobs.configure(redis, prefix)
        try:
            yield
        finally:
            await client.aclose()

    return around


class Pusher:
    """What :func:`pusher` gives an endpoint: a job called with it waits for the commit."""

    def __init__(self, session: AnySession) -> None:
        self._session = session

    @overload
    def __call__(self, job: Pushable[P, R]) -> Pushable[P, R]: ...
    @overload
    def __call__(self, job: type[Performs[P, R]]) -> Pushable[P, R]: ...
    @overload
    def __call__(self, job: Client) -> Client: ...
    def __call__(self, job: Any) -> object:
        from jobd.contrib.sqlalchemy import after_commit

        return after_commit(self._session, job)


def pusher(session: Callable[..., object] | Dependency) -> Any:
    """A dependency that pushes when a session of your own has been committed.

    Args:
        session: the dependency of the session, or ``Depends(...)`` of it with the same scope as
            the endpoint uses, so that both get the same session.

    Example:
        >>> def get_session(): ...
        >>> Push = Annotated[Pusher, pusher(get_session)]  # doctest: +SKIP
        >>> def endpoint(session: ..., push: Push):  # doctest: +SKIP
        ...     push(welcome).perform_async(7)
    """
    depends = session if isinstance(session, Dependency) else Depends(session)

    async def make(session: Any = depends) -> Pusher:
        return Pusher(session)

    return Depends(make, scope=getattr(depends, "scope", None))


class _Begins(Protocol):
    """A ``sessionmaker`` or an ``async_sessionmaker``."""

    def begin(self) -> Any: ...


def transaction(factory: _Begins) -> Any:
    """A dependency: a session in a transaction that is committed when the endpoint has returned,
    before the response, and rolled back if it raises. All pushes of the endpoint wait for it.

    Args:
        factory: a ``sessionmaker``, or an ``async_sessionmaker`` for ``async`` endpoints.

    Example:
        >>> factory = async_sessionmaker(engine)  # doctest: +SKIP
        >>> Database = Annotated[AsyncSession, transaction(factory)]  # doctest: +SKIP
    """
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from jobd.contrib.sqlalchemy import after_commit

    # Both hold pushes in a coroutine: a dependency that is not one runs in a context of its own.
    async def in_coroutine() -> AsyncIterator[AsyncSession]:
        async with factory.begin() as session:
            with after_commit(session):
                yield session

    def opened() -> Iterator[Session]:
        with factory.begin() as session:
            yield session

    inner = Depends(opened, scope="function")

    async def in_thread(session: Any = inner) -> AsyncIterator[Session]:
        with after_commit(session):
            yield session

    is_async = isinstance(factory, async_sessionmaker)
    return Depends(in_coroutine if is_async else in_thread, scope="function")


def dashboard_router(
    user: Callable[..., object] | Dependency,
    *,
    jobs: App = default,
    **options: Unpack[DashboardOptions],
) -> APIRouter:
    """The dashboard behind a dependency, for ``include_router`` with a ``prefix``.

    Args:
        user: the dependency whose value is the :class:`jobd.web.User` of a request, or None. An
            ``HTTPException`` in it is answered as everywhere in the application.
        jobs: the application whose Redis is shown.
        options: further arguments of :func:`jobd.web.dashboard`.

    Example:
        >>> def staff(): ...
        >>> router = dashboard_router(staff)

    Raises:
        ArgumentError: *user* is no dependency.
    """
    from jobd.web import dashboard

    if not (callable(user) or isinstance(user, Dependency)):
        raise ArgumentError(f"dashboard_router takes the dependency of a user, not {user!r}")
    depends = user if isinstance(user, Dependency) else Depends(user, scope="function")
    app: list[ASGIApp] = []
    router = APIRouter(include_in_schema=False)

    async def known(asked: Request) -> User | None:
        found: User | None = asked.scope[_USER]
        return found

    async def serve(request: Request, found: Any = depends) -> Response:
        if not app:  # at the first request: jobd may be configured by then
            app.append(dashboard(jobs.client, login=known, **options))
        below = str(request.path_params.get("below", ""))
        return _Passed(app[0], request.scope, below, found)

    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    for rule in ("", "/{below:path}"):
        router.add_api_route(rule, serve, methods=methods, response_model=None)
    return router


class _Passed(Response):
    """A response that the dashboard makes."""

    def __init__(self, app: ASGIApp, scope: Scope, below: str, user: User | None) -> None:
        super().__init__()
        self._app = app
        path, tail = str(scope["path"]), f"/{below}"
        above = path.removesuffix(tail)
        tail = path[len(above) :]  # empty without a slash at the end
        root = str(scope.get("root_path", "")).rstrip("/")
        if not above.startswith(root + "/"):  # a proxy that takes the root away from the path
            above = root + above
        self._scope = {**scope, "root_path": above, "path": above + tail, _USER: user}

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(self._scope, receive, send)


def in_workers(
    resources: Callable[[], AbstractAsyncContextManager[object]], *, jobs: App = default
) -> None:
    """Enter *resources* on the event loop of each worker before its first job, and exit it after
    the last: what the lifespan of the application opens for its endpoints, for its async jobs.

    Args:
        resources: an async context manager function, such as ``partial(lifespan, app)``.
        jobs: whose workers.

    Raises:
        ArgumentError: it is no function.
    """
    if not callable(resources) or hasattr(resources, "__aenter__"):
        raise ArgumentError(f"in_workers takes a function, not {resources!r}: without ()")
    holder = _Holder(resources)
    jobs.on("startup")(holder.open)
    jobs.on("exit")(holder.close)


class _Holder:
    """Holds a context manager open in a task of its own: one with a task group must be exited by
    the task that has entered it."""

    def __init__(self, resources: Callable[[], AbstractAsyncContextManager[object]]) -> None:
        self._resources = resources
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        entered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._leave = asyncio.Event()
        self._task = asyncio.create_task(self._hold(entered), name="jobd resources")
        await entered

    async def _hold(self, entered: asyncio.Future[None]) -> None:
        try:
            async with self._resources():
                entered.set_result(None)
                await self._leave.wait()
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    async def close(self) -> None:
        if self._task is not None:
            self._leave.set()
            await self._task
