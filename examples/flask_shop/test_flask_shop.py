"""``pytest``, in this directory. No Redis is needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from jobd.testing import Jobs

# Of the tests alone: they delete what is there.
os.environ["DATABASE_URL"] = f"sqlite:///{tempfile.mkdtemp()}/shop.sqlite"

from flask_shop import Order, app, confirm, database, engine


@pytest.fixture
def client() -> Iterator[FlaskClient]:
    yield app.test_client()
    database.query(Order).delete()
    database.commit()
    database.remove()
    engine.dispose()


def test_an_order_is_confirmed(client: FlaskClient, jobs: Jobs) -> None:
    created = client.post("/orders", data={"email": "ada@example.org"})
    assert created.status_code == 201
    jobs.assert_pushed(confirm, created.get_json()["id"], queue="mail", times=1)
    assert jobs.drain() == 1
    assert [order["confirmed"] for order in client.get("/orders").json or ()] == [True]


def test_what_is_not_committed_is_not_pushed(client: FlaskClient, jobs: Jobs) -> None:
    assert client.post("/orders", data={"email": "nonsense"}).status_code == 400
    jobs.assert_not_pushed(confirm)
    assert client.get("/orders").json == []
