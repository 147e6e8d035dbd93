"""A shop in FastAPI: an order is a row, and its confirmation is a job that is pushed after the
commit and before the response.

    uvicorn fastapi_shop:app
    jobd run -r fastapi_shop -q mail
"""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Cookie, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from jobd import job, server_middleware
from jobd.contrib import fastapi as jobd_fastapi
from jobd.contrib.sqlalchemy import JobSessions
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


@asynccontextmanager
async def resources() -> AsyncIterator[None]:
    """Opened by the web server, and by each worker."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    try:
        yield
    finally:
        await engine.dispose()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with resources(), jobd_fastapi.lifespan(REDIS)(app):
        yield


jobd_fastapi.in_workers(resources)
Database = Annotated[AsyncSession, jobd_fastapi.transaction(sessions)]
app = FastAPI(lifespan=lifespan)


@job(queue="mail", retry=5)
async def confirm(order_id: int) -> None:
    order = await db.session.get(Order, order_id)
    if order is None or order.confirmed:  # a second run does no harm
        return
    log.info("a mail to %s", order.email)
    order.confirmed = True
    await db.session.commit()


class NewOrder(BaseModel):
    email: str


@app.post("/orders", status_code=201)
async def create(new: NewOrder, database: Database) -> dict[str, int | str | None]:
    order = Order(email=new.email)
    database.add(order)
    await database.flush()  # it has an id now
    jid = await confirm.aperform_async(order.id)  # waits for the commit
    if "@" not in order.email:
        raise HTTPException(400, "not an address")  # nothing is committed, and nothing is pushed
    return {"id": order.id, "job": jid}


@app.get("/orders")
async def orders(database: Database) -> list[dict[str, int | str | bool]]:
    return [
        {"id": order.id, "email": order.email, "confirmed": order.confirmed}
        for order in await database.scalars(select(Order).order_by(Order.id))
    ]


async def staff(name: Annotated[str | None, Cookie()] = None) -> User:
    """Replace it by your own: any dependency."""
    if name is None:
        raise HTTPException(401, "log in first")
    return User(name, Role.ADMIN)


app.include_router(jobd_fastapi.dashboard_router(staff), prefix="/jobs")
