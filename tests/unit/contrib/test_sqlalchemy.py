"""Pushes that wait for a commit: whatever happens to a transaction, on two kinds of databases."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine, create_engine, event, select, text
from sqlalchemy.exc import IntegrityError, InvalidRequestError
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    scoped_session,
    sessionmaker,
)

from jobd import App, ArgumentError, Job, UnavailableError
from jobd.contrib.sqlalchemy import after_commit
from jobd.graphs.plan import Plan
from jobd.jobs.transports import Source, replaced
from jobd.store.conflict import Conflict
from jobd.testing import EmbeddedServer
from jobd.wire.attachments import AttachedPush
from tests.support.postgres import Postgres


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)


class Redis:
    """In the place of Redis: what arrives, and which orders are visible to others by then."""

    def __init__(self, look: Callable[[], list[int]]) -> None:
        self.look = look
        self.arrived: list[Any] = []
        self.seen: list[list[int]] = []
        self.threads: set[int] = set()

    def _take(self, raws: Sequence[bytes]) -> None:
        self.threads.add(threading.get_ident())
        self.arrived += [msgspec.json.decode(raw)["args"][0] for raw in raws]
        self.seen.append(self.look())

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._take([raw for payloads in queues.values() for raw in payloads])

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._take([raw for _, raw in due])

    def push(self, jobs: Sequence[AttachedPush], _now: float) -> list[Conflict | None]:
        self._take([each.raw for each in jobs])
        return [None for _ in jobs]

    def start(self, plan: Plan) -> None:
        self._take([one.job.raw for one in plan.steps if one.job is not None])

    def holder(self, _key: str) -> str | None:
        return "other"

    # As a replacement.
    def redis(self, _client: Source) -> None:
        """Nothing here asks for it."""

    def transport(self, _client: Source) -> Any:
        return self

    def atransport(self, _client: Source) -> Any:
        return AsyncRedis(self)


class AsyncRedis:
    def __init__(self, inner: Redis) -> None:
        self.inner = inner

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        await asyncio.sleep(0)
        self.inner.enqueue(queues)

    async def schedule(self, due: list[tuple[float, bytes]]) -> None:
        await asyncio.sleep(0)
        self.inner.schedule(due)

    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        await asyncio.sleep(0)
        return self.inner.push(jobs, now)

    async def start(self, plan: Plan) -> None:
        await asyncio.sleep(0)
        self.inner.start(plan)


app = App()
app.configure("redis://127.0.0.1:1/0")  # nothing listens there


@app.job(name="Welcome")
def welcome(number: int) -> None: ...


class Resize(Job, app=app, name="Resize"):
    def perform(self, number: int, *, width: int = 1) -> None: ...


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A URL of SQLAlchemy; psycopg serves both kinds of engines."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'shop.sqlite'}"
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.url("psycopg")


def with_savepoints(engine: Engine) -> Engine:
    """The recipe of SQLAlchemy's manual: by itself the driver begins no transaction."""
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def connected(connection: Any, _: object) -> None:
            connection.isolation_level = None

        @event.listens_for(engine, "begin")
        def begun(connection: Any) -> None:
            connection.exec_driver_sql("BEGIN")

    return engine


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    engine = with_savepoints(create_engine(database))
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def redis(engine: Engine) -> Iterator[Redis]:
    other = create_engine(engine.url)

    def look() -> list[int]:
        with other.connect() as connection:
            return list(connection.scalars(select(Order.id).order_by(Order.id)))

    found = Redis(look)
    with replaced(found):
        yield found
    other.dispose()


@pytest.fixture
def session(engine: Engine) -> Iterator[Session]:
    with Session(engine) as session:
        yield session


def put(session: Session, number: int) -> None:
    """An order, and its job after the commit."""
    session.add(Order(id=number))
    session.flush()
    assert after_commit(session, welcome).perform_async(number)


def test_the_push_arrives_once_after_the_commit(session: Session, redis: Redis) -> None:
    put(session, 1)
    put(session, 2)
    assert redis.arrived == []
    session.commit()
    assert (redis.arrived, redis.seen) == ([1, 2], [[1, 2]])
    session.commit()
    session.execute(select(Order.id))
    session.commit()
    session.close()
    assert redis.arrived == [1, 2]


def test_the_whole_interface_of_a_job_waits_in_its_order(session: Session, redis: Redis) -> None:
    session.begin()
    job = after_commit(session, Resize)
    assert job.set(queue="low").perform_async(1, width=3)
    assert job.perform_in(60, 2)
    assert job.set(unique=True, unique_for=60).perform_async(3)
    assert len(job.perform_bulk([[4], [5]])) == 2
    assert after_commit(session, app.client).push({"class": "Ruby", "args": [6]})
    with after_commit(session):
        welcome.perform_async(7)
    assert redis.arrived == []
    session.commit()
    assert sorted(redis.arrived) == [1, 2, 3, 4, 5, 6, 7]
    welcome.perform_async(8)
    assert redis.arrived[-1] == 8


def test_a_rollback_drops_it(session: Session, redis: Redis) -> None:
    put(session, 1)
    session.rollback()
    put(session, 2)
    session.commit()
    assert (redis.arrived, redis.look()) == ([2], [2])


def test_a_close_without_a_commit_drops_it(engine: Engine, redis: Redis) -> None:
    with Session(engine) as session:
        put(session, 1)
    session.commit()  # of the next transaction, which is empty
    with suppress(ZeroDivisionError), Session(engine) as session, session.begin():
        put(session, 2)
        raise ZeroDivisionError
    assert (redis.arrived, redis.look()) == ([], [])


def test_outside_of_a_transaction_it_is_pushed_at_once(session: Session, redis: Redis) -> None:
    after_commit(session, welcome).perform_async(1)
    with after_commit(session):
        welcome.perform_async(2)
        assert redis.arrived == [1, 2]
        session.begin()
        welcome.perform_async(3)
        assert redis.arrived == [1, 2]
        session.commit()
    assert redis.arrived == [1, 2, 3]


def test_savepoints_hand_over_or_drop_what_they_hold(session: Session, redis: Redis) -> None:
    put(session, 1)
    with session.begin_nested():
        put(session, 2)
        with session.begin_nested():
            put(session, 3)
        inner = session.begin_nested()
        put(session, 4)
        inner.rollback()
        put(session, 5)
    assert redis.arrived == []
    outer = session.begin_nested()
    with session.begin_nested():
        put(session, 6)
    outer.rollback()
    put(session, 7)
    session.commit()
    assert (redis.arrived, redis.seen) == ([1, 2, 3, 5, 7], [[1, 2, 3, 5, 7]])


def test_a_commit_with_an_open_savepoint_commits_both(session: Session, redis: Redis) -> None:
    put(session, 1)
    session.begin_nested()
    put(session, 2)
    session.begin_nested()
    put(session, 3)
    session.commit()
    assert (redis.arrived, redis.seen) == ([1, 2, 3], [[1, 2, 3]])


def test_a_rollback_of_all_with_open_savepoints_drops_all(session: Session, redis: Redis) -> None:
    put(session, 1)
    session.begin_nested()
    put(session, 2)
    session.rollback()
    session.commit()
    assert (redis.arrived, redis.look()) == ([], [])


def test_a_failed_flush_drops_it_and_its_savepoint_alone_can_fail(
    session: Session, redis: Redis
) -> None:
    put(session, 1)
    with suppress(IntegrityError), session.begin_nested():
        after_commit(session, welcome).perform_async(2)
        session.execute(text("INSERT INTO orders VALUES (1)"))
        raise AssertionError
    put(session, 3)
    session.commit()
    assert redis.arrived == [1, 3]
    put(session, 4)
    session.add(Order(id=1))
    with pytest.raises(IntegrityError):
        session.commit()
    after_commit(session, welcome).perform_async(
        5
    )  # into a transaction that can only be rolled back
    session.rollback()
    assert (redis.arrived, redis.look()) == ([1, 3], [1, 3])


def test_what_is_pushed_during_a_flush_belongs_to_the_transaction(
    session: Session, redis: Redis
) -> None:
    def inserted(_mapper: object, _connection: object, order: Order) -> None:
        after_commit(session, welcome).perform_async(order.id)

    event.listen(Order, "after_insert", inserted)
    try:
        session.add(Order(id=1))
        with session.begin_nested():
            session.add(Order(id=2))
        session.add(Order(id=3))
        assert redis.arrived == []
        session.commit()
    finally:
        event.remove(Order, "after_insert", inserted)
    assert (redis.arrived, redis.seen) == ([1, 2, 3], [[1, 2, 3]])


def test_a_commit_that_fails_drops_it(session: Session, redis: Redis) -> None:
    def refuse(_: object) -> None:
        raise OSError("the disk is full")

    put(session, 1)
    event.listen(session, "before_commit", refuse)
    with pytest.raises(OSError, match="full"):
        session.commit()
    session.close()
    assert (redis.arrived, redis.look()) == ([], [])


def test_what_another_listener_raises_after_the_commit_loses_no_push(
    session: Session, redis: Redis
) -> None:
    def refuse(_: object) -> None:
        raise OSError("a bug")

    put(session, 1)
    event.listen(session, "after_commit", refuse)
    with pytest.raises(OSError, match="bug"):
        session.commit()
    session.close()
    assert (redis.arrived, redis.look()) == ([1], [1])


@pytest.mark.parametrize("before", [False, True])
def test_what_a_listener_of_the_application_pushes_after_the_commit(
    session: Session, redis: Redis, before: bool
) -> None:
    @event.listens_for(session, "after_commit")
    def committed(session: Session) -> None:
        after_commit(session, welcome).perform_async(2)

    session.add(Order(id=1))
    if before:
        after_commit(session, welcome).perform_async(1)
    session.commit()
    assert redis.arrived == ([1, 2] if before else [2])
    session.add(Order(id=3))
    session.flush()
    session.rollback()
    assert redis.arrived == ([1, 2] if before else [2])


def test_two_binds_of_which_one_cannot_commit(engine: Engine, tmp_path: Path, redis: Redis) -> None:
    second = with_savepoints(create_engine(f"sqlite:///{tmp_path / 'second.sqlite'}"))
    Base.metadata.create_all(second)

    def broken(connection: Any) -> None:
        raise OSError("gone")

    with Session(binds={Order: engine, Note: second}) as session:
        put(session, 1)
        session.add(Note(id=1))
        session.commit()
        assert redis.arrived == [1]
        put(session, 2)
        session.add(Note(id=2))
        event.listen(second, "commit", broken)
        with pytest.raises(OSError, match="gone"):
            session.commit()
    second.dispose()
    assert redis.arrived == [1], "nobody knows whether all of it was committed"


def test_two_phases_of_which_only_the_second_pushes(postgres: Postgres) -> None:
    engine = create_engine(postgres.url("psycopg"))
    Base.metadata.create_all(engine)

    def look() -> list[int]:
        with Session(engine) as other:
            return list(other.scalars(select(Order.id)))

    redis = Redis(look)
    with replaced(redis), Session(engine, twophase=True) as session:
        put(session, 1)
        session.prepare()
        assert redis.arrived == []
        session.commit()
        assert (redis.arrived, redis.seen) == ([1], [[1]])
        put(session, 2)
        session.prepare()
        session.rollback()
    assert (redis.arrived, look()) == ([1], [1])
    engine.dispose()


def test_the_push_of_one_session_waits_for_no_other(engine: Engine, redis: Redis) -> None:
    with Session(engine) as first, Session(engine) as second:
        first.begin()
        second.begin()
        after_commit(first, welcome).perform_async(1)
        after_commit(second, welcome).perform_async(2)
        second.commit()
        assert redis.arrived == [2]
        with after_commit(second):  # it waits for both
            second.begin()
            after_commit(first, welcome).perform_async(3)
        first.commit()
        assert redis.arrived == [2, 1]
        second.commit()
        assert redis.arrived == [2, 1, 3]


def test_sessions_in_many_threads_do_not_mix(tmp_path: Path) -> None:
    engine = create_engine("sqlite://")
    found = Redis(list)

    def work(number: int) -> None:
        for turn in range(50):
            with Session(engine) as session, session.begin():
                after_commit(session, welcome).perform_async(number * 1000 + turn)
                if turn % 2:
                    session.rollback()

    with replaced(found):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    engine.dispose()
    expected = [number * 1000 + turn for number in range(8) for turn in range(0, 50, 2)]
    assert sorted(found.arrived) == expected


def test_scoped_sessions_and_sessionmakers(engine: Engine, redis: Redis) -> None:
    scoped = scoped_session(sessionmaker(engine))
    scoped.begin()
    after_commit(scoped, welcome).perform_async(1)
    assert redis.arrived == []
    scoped.commit()
    assert redis.arrived == [1]
    scoped.remove()


def test_nested_begin_is_refused_by_sqlalchemy_and_nothing_is_lost(
    session: Session, redis: Redis
) -> None:
    put(session, 1)
    with pytest.raises(InvalidRequestError):
        session.begin()
    session.commit()
    assert redis.arrived == [1]


@pytest.mark.parametrize("wrong", [welcome.__wrapped__, "Welcome", 5])
def test_what_is_no_job_is_refused(session: Session, wrong: Any) -> None:
    with pytest.raises(ArgumentError, match="takes a job"):
        after_commit(session, wrong)
    with pytest.raises(ArgumentError, match="takes a session"):
        after_commit(wrong, welcome)


def test_redis_away_at_the_commit(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with Session(engine) as session:
        put(session, 1)
        put(session, 2)
        with pytest.raises(UnavailableError) as raised, caplog.at_level("ERROR", "jobd.client"):
            session.commit()
        assert "not all of its 2 jobs were pushed" in raised.value.__notes__[0]
        assert "not all of its 2 jobs were pushed" in caplog.text
        assert list(session.scalars(select(Order.id))) == [1, 2], "the session is usable"
        session.add(Order(id=3))
        session.commit()
    with pytest.raises(UnavailableError), Session(engine) as session, session.begin():
        put(session, 4)


def test_a_commit_into_a_real_server(engine: Engine, server: EmbeddedServer) -> None:
    other = App()
    client = other.configure(server.url)
    client.redis.flushall()
    greet = other.job(name="Greet")(lambda number: number)
    with Session(engine) as session:
        session.begin()
        before = time.time()
        assert after_commit(session, greet).perform_async(1)
        assert client.redis.llen("queue:default") == 0
        session.commit()
    [raw] = client.redis.lrange("queue:default", 0, -1)
    assert msgspec.json.decode(raw)["enqueued_at"] >= before
    client.close()


# --- async ---------------------------------------------------------------------------------------


@pytest.fixture
def aengine(database: str, engine: Engine) -> AsyncEngine:
    found = create_async_engine(database.replace("sqlite:", "sqlite+aiosqlite:"))
    with_savepoints(found.sync_engine)
    return found


async def aput(session: AsyncSession, number: int) -> None:
    session.add(Order(id=number))
    await session.flush()
    assert after_commit(session, welcome).perform_async(number)
    assert await after_commit(session, welcome).aperform_async(number + 100)


def test_async_sessions(aengine: AsyncEngine, redis: Redis) -> None:
    async def main() -> None:
        async with AsyncSession(aengine) as session:
            await aput(session, 1)
            async with session.begin_nested():
                await aput(session, 2)
            inner = await session.begin_nested()
            await aput(session, 3)
            await inner.rollback()
            with after_commit(session):
                await Resize.aperform_bulk([[4]])
                await Resize.aperform_in(60, 5)
                await Resize.set(unique=True, unique_for=60).aperform_async(6)
            assert redis.arrived == []
            await session.commit()
            assert redis.arrived == [1, 101, 2, 102, 4, 5, 6]
            assert all(seen == [1, 2] for seen in redis.seen)
            await aput(session, 7)
            await session.rollback()
            await aput(session, 8)
        await after_commit(session, welcome).aperform_async(9)  # closed: no transaction
        assert redis.arrived[7:] == [9]
        scoped = async_scoped_session(async_sessionmaker(aengine), asyncio.current_task)
        async with scoped() as session, session.begin():
            await after_commit(scoped, welcome).aperform_async(10)
            assert redis.arrived[7:] == [9]
        assert redis.arrived[7:] == [9, 10]
        await scoped.remove()
        await aengine.dispose()

    asyncio.run(main())


def test_an_async_commit_does_not_block_the_loop(aengine: AsyncEngine, redis: Redis) -> None:
    """A push that is not async goes to a thread, and the loop goes on meanwhile."""
    went_on = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        look = redis.look

        def wait() -> list[int]:
            loop.call_soon_threadsafe(went_on.set)
            assert went_on.wait(30), "the loop is blocked"
            return look()

        redis.look = wait
        async with AsyncSession(aengine) as session, session.begin():
            after_commit(session, welcome).perform_async(1)
        assert redis.threads.isdisjoint({threading.get_ident()})
        await aengine.dispose()

    asyncio.run(main())
    assert redis.arrived == [1]


def test_a_cancellation_after_the_commit_comes_too_late(aengine: AsyncEngine, redis: Redis) -> None:
    async def main() -> None:
        began, go_on = asyncio.Event(), asyncio.Event()

        class Slow(AsyncRedis):
            async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
                began.set()
                await go_on.wait()
                await super().enqueue(queues)

        class Place(Redis):
            def atransport(self, _client: Source) -> Any:
                return Slow(redis)

        async def work() -> None:
            async with AsyncSession(aengine) as session, session.begin():
                await after_commit(session, welcome).aperform_async(1)

        with replaced(Place(list)):
            task = asyncio.create_task(work())
            await began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            go_on.set()
            while redis.arrived != [1]:
                await asyncio.sleep(0)
        await aengine.dispose()

    asyncio.run(main())


def test_redis_away_at_an_async_commit(aengine: AsyncEngine, database: str) -> None:
    async def main() -> None:
        async with AsyncSession(aengine) as session:
            await aput(session, 1)
            with pytest.raises(UnavailableError) as raised:
                await session.commit()
            assert "not all of its 2 jobs" in raised.value.__notes__[0]
            assert list(await session.scalars(select(Order.id))) == [1]
        await aengine.dispose()

    asyncio.run(main())


def test_pushes_of_coroutines_into_a_session_that_is_not_async(
    session: Session, redis: Redis
) -> None:
    async def main() -> None:
        session.begin()
        await after_commit(session, welcome).aperform_async(1)
        after_commit(session, welcome).perform_async(2)
        assert redis.arrived == []
        session.commit()

    asyncio.run(main())
    assert redis.arrived == [1, 2]


def test_async_bulk_is_dropped_without_a_greenlet(redis: Redis) -> None:
    """A session that is closed by its synchronous half, as by the garbage collector."""

    async def main() -> None:
        session = AsyncSession()
        session.sync_session.begin()
        await after_commit(session, welcome).aperform_async(1)
        session.sync_session.close()
        session.sync_session.begin()
        await after_commit(session, welcome).aperform_async(2)
        session.sync_session.commit()

    asyncio.run(main())
    assert redis.arrived == [2]


def test_the_module_is_loaded_by_nothing_of_jobd() -> None:
    code = "import sys, jobd; jobd.job; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
