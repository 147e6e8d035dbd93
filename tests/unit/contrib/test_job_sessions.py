"""A session for each job, closed however the job ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

from jobd import App
from jobd.contrib.sqlalchemy import JobSessions
from jobd.errors import JobdError
from tests.support.daemon import Daemon
from tests.support.postgres import Postgres


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}")
    Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


def checked_out(engine: Engine) -> int:
    pool: Any = engine.pool
    return int(pool.checkedout())


def stored(engine: Engine) -> list[int]:
    with Session(engine) as session:
        return list(session.scalars(select(Order.id)))


def test_each_job_has_a_session_that_is_closed(engine: Engine) -> None:
    app = App()
    db = JobSessions(sessionmaker(engine))
    app.server_middleware.add(db)
    seen = []

    @app.job(name="Store")
    def store(number: int, commit: bool = True) -> None:
        seen.append(db.session)
        assert db.session is db.session
        db.session.add(Order(id=number))
        db.session.flush()
        assert checked_out(engine) == 1
        if commit:
            db.session.commit()

    store.perform_inline(1)
    store.perform_inline(2, commit=False)
    assert checked_out(engine) == 0
    with pytest.raises(IntegrityError):
        store.perform_inline(1)
    assert checked_out(engine) == 0
    assert len(set(seen)) == 3
    assert stored(engine) == [1]
    with pytest.raises(JobdError, match="server_middleware"):
        _ = db.session


def test_a_job_that_forgets_to_commit_is_named(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    app = App()
    db = JobSessions(sessionmaker(engine))
    app.server_middleware.add(db)

    @app.job(name="Forgets")
    def forgets() -> None:
        db.session.add(Order(id=1))

    @app.job(name="Reads")
    def reads() -> None:
        db.session.scalars(select(Order.id)).all()

    reads.perform_inline()
    assert caplog.text == ""
    forgets.perform_inline()
    assert "Forgets (" in caplog.text
    assert "call session.commit()" in caplog.text


def test_a_job_without_queries_makes_no_session() -> None:
    made = []

    def factory() -> Session:
        made.append(1)
        return Session()

    app = App()
    app.server_middleware.add(JobSessions(factory))
    app.job(name="Idle")(lambda: None).perform_inline()
    assert made == []


def test_async_jobs_have_async_sessions(engine: Engine, tmp_path: Path) -> None:
    aengine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'shop.sqlite'}")
    app = App()
    db: JobSessions[AsyncSession] = JobSessions(async_sessionmaker(aengine))
    app.server_middleware.add(db)
    assert not app.server_middleware.needs_thread
    began = []

    @app.job(name="Store")
    async def store(number: int) -> None:
        db.session.add(Order(id=number))
        await db.session.commit()
        await db.session.execute(select(Order.id))
        assert checked_out(aengine.sync_engine) == 1
        if number == 2:
            began.append(number)
            await asyncio.Event().wait()

    @app.job(name="NotAsync")
    def not_async() -> None:
        db.session  # noqa: B018

    async def main() -> None:
        job: Any = type("Job", (), {"name": "Store", "jid": "1"})()
        await db.acall(job, {}, "default", lambda: store(1))
        assert checked_out(aengine.sync_engine) == 0
        task = asyncio.create_task(db.acall(job, {}, "default", lambda: store(2)))
        while not began:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert checked_out(aengine.sync_engine) == 0
        await aengine.dispose()

    asyncio.run(main())
    assert stored(engine) == [1, 2]
    with pytest.raises(JobdError, match="write the job as async def"):
        not_async.perform_inline()


APP = """
import os
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker
from jobd import job, server_middleware
from jobd.contrib.sqlalchemy import JobSessions, after_commit

engine = create_engine(os.environ["SYNC"], pool_pre_ping=True)
aengine = create_async_engine(os.environ["ASYNC"], pool_pre_ping=True)
db, adb = JobSessions(sessionmaker(engine)), JobSessions(async_sessionmaker(aengine))
server_middleware.add(db)
server_middleware.add(adb)

@job
def first(number):
    db.session.execute(text(f"INSERT INTO log VALUES ({number})"))
    after_commit(db.session, second).perform_async(number + 1)
    db.session.commit()

@job
async def second(number):
    await adb.session.execute(text(f"INSERT INTO log VALUES ({number})"))
    await after_commit(adb.session, third).aperform_async(number + 1)
    await adb.session.commit()

@job
def third(number):
    db.session.execute(text(f"INSERT INTO log VALUES ({number})"))
    after_commit(db.session, first).perform_async(99)  # never
"""


def test_both_kinds_of_jobs_in_a_worker_whose_database_restarts(
    idle_daemon: Daemon, postgres: Postgres
) -> None:
    name = postgres.database()
    engine = create_engine(postgres.url("psycopg", name), pool_pre_ping=True)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE log (number int)")
    idle_daemon.write_app(APP)
    sides = {"SYNC": postgres.url("psycopg", name), "ASYNC": postgres.url("asyncpg", name)}
    idle_daemon.run("-c", "2", env=sides)
    idle_daemon.wait_ready()
    assert "async_jobs_need_threads" not in idle_daemon.log()

    app = App()
    client = app.configure(idle_daemon.url)

    def processed(count: bytes) -> bool:
        return client.redis.get("stat:processed") == count

    for round_ in (1, 11):
        client.push({"class": "app.first", "args": [round_]})
        count = b"3" if round_ == 1 else b"6"
        idle_daemon.wait(partial(processed, count), 20, f"{count!r} jobs have run")
        with engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT number FROM log ORDER BY number")
            expected = [1, 2] if round_ == 1 else [1, 2, 11, 12]
            assert [number for (number,) in rows] == expected
        postgres.restart()
    assert client.redis.get("stat:failed") is None
    assert client.redis.llen("queue:default") == 0, "what was not committed was pushed"
    client.close()
    engine.dispose()
