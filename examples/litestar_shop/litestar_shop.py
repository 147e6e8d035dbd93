"""A shop in Litestar: an order is a row, and its confirmation is a job that is pushed after the
commit.

    litestar --app litestar_shop:app run
    litestar --app litestar_shop:app jobd run -r litestar_shop -q mail
"""

import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from litestar import Litestar, get, post
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ClientException
from litestar.params import JSONBody
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from jobd import job, server_middleware
from jobd.contrib.litestar import JobdPlugin
from jobd.contrib.sqlalchemy import JobSessions, after_commit
from jobd.web import Role, User

log = logging.getLogger("shop")
REDIS = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
DATABASE = os.environ.get("DATABASE_URL", "sqlite+aiosqlite:///shop.sqlite")

engine = create_async_engine(DATABASE, pool_pre_ping=True)
sessions = async_sessionmaker(engine, expire_on_commit=False)
db = JobSessions(sessions)
server_middleware.add(db)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    confirmed: Mapped[bool] = mapped_column(default=False)


@job(queue="mail", retry=5)
async def confirm(order_id: int) -> None:
    order = await db.session.get(Order, order_id)
    if order is None or order.confirmed:  # a second run does no harm
        return
    log.info("a mail to %s", order.email)
    order.confirmed = True
    await db.session.commit()


async def transaction() -> AsyncIterator[AsyncSession]:
    """A session whose transaction is committed when the handler has returned: in Litestar that is
    before the response."""
    async with sessions.begin() as session:
        yield session


@dataclass
class NewOrder:
    email: str


@post("/orders")
async def create(
    data: JSONBody[NewOrder], database: NamedDependency[AsyncSession]
) -> dict[str, int | str | None]:
    order = Order(email=data.email)
    database.add(order)
    await database.flush()  # it has an id now
    jid = await after_commit(database, confirm).aperform_async(order.id)
    if "@" not in order.email:
        raise ClientException("not an address")  # nothing is committed, and nothing is pushed
    return {"id": order.id, "job": jid}


@get("/orders")
async def orders(database: NamedDependency[AsyncSession]) -> list[dict[str, int | str | bool]]:
    return [
        {"id": order.id, "email": order.email, "confirmed": order.confirmed}
        for order in await database.scalars(select(Order).order_by(Order.id))
    ]


async def who(connection: ASGIConnection[Any, Any, Any, Any]) -> User | None:
    """Who may see the dashboard. Replace it by your own login."""
    name = connection.cookies.get("name")
    return None if name is None else User(name, Role.ADMIN)


async def create_tables() -> None:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)


app = Litestar(
    [create, orders],
    dependencies={"database": Provide(transaction)},
    on_startup=[create_tables],
    on_shutdown=[engine.dispose],
    plugins=[JobdPlugin(REDIS, dashboard="/jobs", login=who)],
)
