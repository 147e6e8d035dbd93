"""A shop in Flask: an order is a row, and its confirmation is a job, pushed after the commit.

flask --app flask_shop run
flask --app flask_shop jobd run -r flask_shop -q mail
"""

from __future__ import annotations

import os

from flask import Flask, abort, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, scoped_session, sessionmaker

from jobd import job
from jobd.contrib.flask import Jobd
from jobd.contrib.sqlalchemy import after_commit
from jobd.web import Role, User

engine = create_engine(os.environ.get("DATABASE_URL", "sqlite:///shop.sqlite"), pool_pre_ping=True)
database = scoped_session(sessionmaker(engine))


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    confirmed: Mapped[bool] = mapped_column(default=False)


def who() -> User | ResponseReturnValue | None:
    """Who may see the dashboard: whoever has logged in."""
    if "name" not in session:
        return redirect(url_for("login"))
    return User(session["name"], Role.ADMIN)


app = Flask(__name__)
app.secret_key = os.environ.get("SECRET_KEY", "for development only")
app.config["JOBD_REDIS"] = os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0")
app.config["JOBD_DASHBOARD"] = "/jobs"
Jobd(app, login=who)


@app.teardown_appcontext
def close(_error: BaseException | None) -> None:
    """After each request, and after each job."""
    database.remove()


@job(queue="mail", retry=5)
def confirm(order_id: int) -> None:
    order = database.get(Order, order_id)
    if order is None or order.confirmed:  # a second run does no harm
        return
    app.logger.info("a mail to %s", order.email)
    order.confirmed = True
    database.commit()


@app.post("/orders")
def create() -> ResponseReturnValue:
    order = Order(email=request.form["email"])
    database.add(order)
    database.flush()  # it has an id now
    jid = after_commit(database, confirm).perform_async(order.id)
    if "@" not in order.email:
        abort(400, "not an address")  # nothing is committed, and nothing is pushed
    database.commit()
    return {"id": order.id, "job": jid}, 201


@app.get("/orders")
def orders() -> ResponseReturnValue:
    return [
        {"id": order.id, "email": order.email, "confirmed": order.confirmed}
        for order in database.scalars(select(Order).order_by(Order.id))
    ]


@app.route("/login")
def login() -> ResponseReturnValue:
    """Replace it by a real one."""
    session["name"] = "ada"
    return redirect("/jobs/")


Base.metadata.create_all(engine)
