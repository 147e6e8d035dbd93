"""``pytest``, in this directory. No Redis is needed."""

import asyncio
import os
import tempfile
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from jobd.testing import Jobs

# Of the tests alone: they delete what is there.
os.environ["DATABASE_URL"] = f"sqlite+aiosqlite:///{tempfile.mkdtemp()}/shop.sqlite"

from fastapi_shop import Base, app, confirm, engine


@pytest.fixture
def client() -> Iterator[TestClient]:
    async def empty() -> None:
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.drop_all)
        await engine.dispose()

    with TestClient(app) as client:
        yield client
    asyncio.run(empty())


def test_an_order_is_confirmed(client: TestClient, jobs: Jobs) -> None:
    created = client.post("/orders", json={"email": "ada@example.org"})
    assert created.status_code == 201
    jobs.assert_pushed(confirm, created.json()["id"], queue="mail", times=1)
    assert client.portal is not None
    client.portal.call(jobs.adrain)
    assert [order["confirmed"] for order in client.get("/orders").json()] == [True]


def test_what_is_not_committed_is_not_pushed(client: TestClient, jobs: Jobs) -> None:
    assert client.post("/orders", json={"email": "nonsense"}).status_code == 400
    jobs.assert_not_pushed(confirm)
    assert client.get("/orders").json() == []
