"""The lifespan, the dependencies and the dashboard for FastAPI and Starlette."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import redis as redis_py
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.testclient import TestClient
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import NullPool
from starlette.applications import Starlette

from jobd import App, ArgumentError
from jobd.contrib.fastapi import (
    Pusher,
    dashboard_router,
    in_workers,
    lifespan,
    pusher,
    transaction,
)
from jobd.jobs.transports import Source, replaced
from jobd.testing import EmbeddedServer
from jobd.web import Role, User
from tests.unit.contrib.forms import pause

jobs = App()
jobs.configure("redis://127.0.0.1:1/0")  # nothing listens there
events: list[str] = []


@jobs.job(name="Welcome")
def welcome(number: int) -> None: ...


class Recorder:
    """In the place of Redis."""

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        for payloads in queues.values():
            for raw in payloads:
                events.append(f"push {msgspec.json.decode(raw)['args'][0]}")

    def schedule(self, due: object) -> None: ...
    def push(self, jobs: Any, now: float) -> Any: ...
    def start(self, plan: object) -> None: ...
    def holder(self, key: str) -> str | None: ...

    def transport(self, _client: Source) -> Any:
        return self

    def atransport(self, _client: Source) -> Any:
        return ARecorder()

    def redis(self, _client: Source) -> None:
        return None


class ARecorder:
    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        Recorder().enqueue(queues)


@pytest.fixture(autouse=True)
def recorded() -> Iterator[None]:
    events.clear()
    with replaced(Recorder()):
        yield


class Told:
    """Records when a response begins, and what comes after it."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def said(message: Any) -> None:
            if message["type"] == "http.response.start":
                events.append(f"response {message['status']}")
            await send(message)

        await self.app(scope, receive, said)


def shop(tmp_path: Path, *, is_async: bool) -> FastAPI:
    """An application whose endpoints write orders."""
    place = tmp_path / "shop.sqlite"
    engine = create_engine(f"sqlite:///{place}", poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE orders (id INTEGER PRIMARY KEY)"))
    app = FastAPI()
    app.add_middleware(Told)

    def after(number: int) -> None:
        events.append(f"background {number}")
        welcome.perform_async(number + 100)

    if is_async:
        factory = async_sessionmaker(
            create_async_engine(f"sqlite+aiosqlite:///{place}", poolclass=NullPool)
        )

        @app.post("/orders/{number}")
        async def order(
            number: int,
            database: Annotated[AsyncSession, transaction(factory)],
            background: BackgroundTasks,
        ) -> int:
            background.add_task(after, number)
            await database.execute(text(f"INSERT INTO orders VALUES ({number})"))
            await welcome.aperform_async(number)
            events.append("returned")
            if number == 13:
                raise HTTPException(409)
            return number
    else:

        @app.post("/orders/{number}")
        def order_in_thread(
            number: int,
            database: Annotated[Session, transaction(sessionmaker(engine))],
            background: BackgroundTasks,
        ) -> int:
            background.add_task(after, number)
            database.execute(text(f"INSERT INTO orders VALUES ({number})"))
            welcome.perform_async(number)
            events.append("returned")
            if number == 13:
                raise HTTPException(409)
            return number

    return app


@pytest.mark.parametrize("is_async", [False, True])
def test_the_commit_and_the_push_precede_the_response(tmp_path: Path, is_async: bool) -> None:
    with TestClient(shop(tmp_path, is_async=is_async)) as client:
        assert client.post("/orders/1").json() == 1
        assert events == ["returned", "push 1", "response 200", "background 1", "push 101"]
        events.clear()
        assert client.post("/orders/13").status_code == 409
        assert events == ["returned", "response 409"], "what is rolled back is not pushed"
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}", poolclass=NullPool)
    with engine.connect() as connection:
        assert list(connection.scalars(text("SELECT id FROM orders"))) == [1]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_commit_that_fails_is_told(tmp_path: Path, is_async: bool) -> None:
    with TestClient(shop(tmp_path, is_async=is_async), raise_server_exceptions=False) as client:
        client.post("/orders/1")
        events.clear()
        assert client.post("/orders/1").status_code == 500
        assert "push 1" not in events


def test_a_pusher_waits_for_the_session_of_the_application(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}", poolclass=NullPool)
    app = FastAPI()

    def get_session() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    scoped = Depends(get_session, scope="function")
    for path, own in (("/default", Depends(get_session)), ("/function", scoped)):

        @app.post(path)
        def order(
            session: Annotated[Session, own],
            push: Annotated[Pusher, pusher(own)],
        ) -> bool:
            session.execute(text("SELECT 1"))
            push(welcome).perform_async(1)
            events.append("waits")
            session.commit()
            events.append("committed")
            session.execute(text("SELECT 1"))
            push(jobs.client).push({"class": "Ruby", "args": [2]})
            return True

    @app.post("/plain")
    def plain(
        session: Annotated[Session, Depends(get_session)],
        push: Annotated[Pusher, pusher(get_session)],
    ) -> None:
        session.begin()
        push(welcome).perform_async(3)
        session.commit()

    with TestClient(app) as client:
        for path in ("/default", "/function"):
            events.clear()
            assert client.post(path).status_code == 200
            assert events == ["waits", "push 1", "committed"], path
        events.clear()
        assert client.post("/plain").status_code == 200
        assert events == ["push 3"]


def test_the_lifespan_configures_and_closes(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    own = App()
    greet = own.job(name="Greet")(lambda number: number)
    before = len(redis.client_list())

    @asynccontextmanager
    async def both(app: object) -> AsyncIterator[None]:
        async with lifespan(server.url, "shop:", jobs=own)(app):
            events.append("opened")
            yield

    app = FastAPI(lifespan=both)

    @app.post("/")
    async def push() -> str | None:
        return await greet.aperform_async(1)

    with replaced(Off()), TestClient(app) as client:
        assert events == ["opened"]
        assert own.client.url == server.url
        assert client.post("/").status_code == 200
        assert len(redis.client_list()) == before + 1
        assert redis.llen("shop:queue:default") == 1
    assert len(redis.client_list()) == before


class Off:
    """The real Redis."""

    def transport(self, _client: Source) -> Any:
        return None

    def atransport(self, _client: Source) -> Any:
        return None

    def redis(self, _client: Source) -> None:
        return None


def test_the_lifespan_is_one_of_starlette_and_of_a_router() -> None:
    own = App()
    with TestClient(Starlette(lifespan=lifespan("redis://127.0.0.1:1/5", jobs=own))):
        assert own.client.url.endswith("/5")
    with TestClient(Starlette(lifespan=lifespan(jobs=own))):
        assert own.client.url.endswith("/5"), "what was configured stays"


def staff(request: Request) -> User | None:
    name = request.cookies.get("name")
    if name is None:
        raise HTTPException(303, headers={"Location": "/enter"})
    return User(name, Role.ADMIN) if name == "ada" else None


@pytest.mark.parametrize("root", ["", "/shop"])
def test_the_dashboard_is_behind_a_dependency(server: EmbeddedServer, root: str) -> None:
    own = App()
    own.configure(server.url)
    app = FastAPI()
    app.include_router(dashboard_router(staff, jobs=own, title="Shop & Co"), prefix="/jobs")
    with replaced(Off()), TestClient(app, root_path=root, follow_redirects=False) as client:
        own.client.push({"class": "Mail", "args": [1], "queue": "mail"})
        refused = client.get("/jobs/")
        assert (refused.status_code, refused.headers["location"]) == (303, "/enter")
        client.cookies.set("name", "eve")
        assert client.get("/jobs/queues").status_code in (401, 403)
        client.cookies.set("name", "ada")
        page = client.get("/jobs/queues")
        assert page.status_code == 200
        assert "Shop &amp; Co" in page.text
        assert f"{root}/jobs/static/" in page.text
        assert client.get("/jobs").headers["location"] == f"{root}/jobs/"
        assert client.get("/jobs/").status_code == 200
        assert client.get("/jobs/no/such/page").status_code == 404
        assert "/jobs" not in client.get("/openapi.json").text.replace("/jobs/", "")
        if root:
            return  # cookies are for the path that a browser sees
        fields = pause(client.get("/jobs/queues").text, "mail")
        paused = client.post("/jobs/queues/act", data=fields)
        assert paused.status_code in (200, 303), paused.text
        assert client.get("/jobs/api/v1/queues").json()["queues"][0]["paused"]
    own.client.close()


def test_resources_of_workers_are_held_by_one_task() -> None:
    own = App()

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        async with asyncio.TaskGroup():  # which only its own task may leave
            events.append("opened")
            yield
            events.append("closed")

    in_workers(resources, jobs=own)

    async def worker() -> None:
        for event in ("startup", "exit"):
            for hook in own.hooks._functions[event]:
                awaitable: Any = hook()
                await asyncio.create_task(awaitable)

    asyncio.run(worker())
    assert events == ["opened", "closed"]


def test_resources_that_cannot_be_opened_keep_the_worker_from_starting() -> None:
    own = App()

    @asynccontextmanager
    async def resources() -> AsyncIterator[None]:
        if events == []:
            raise OSError("no database")
        yield

    in_workers(resources, jobs=own)

    async def worker() -> None:
        [hook] = own.hooks._functions["startup"]
        awaitable: Any = hook()
        await awaitable

    with pytest.raises(OSError, match="no database"):
        asyncio.run(worker())
    wrong: Any = resources()
    with pytest.raises(ArgumentError, match="without"):
        in_workers(wrong, jobs=own)


def test_a_dashboard_for_nobody_is_refused() -> None:
    wrong: Any = None
    with pytest.raises(ArgumentError):
        dashboard_router(wrong)
