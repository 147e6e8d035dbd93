"""The example shops: started by the commands that they name, driven over HTTP, a real daemon."""

from __future__ import annotations

import ast
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from tests.support.daemon import Daemon, environment, wait
from tests.support.postgres import Postgres

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Shop:
    """An example.

    Attributes:
        driver: of its database; "" for SQLite.
        form: whether an order is a form, not JSON.
    """

    name: str
    driver: str = ""
    form: bool = False

    def lines(self) -> tuple[list[str], list[str]]:
        """The two lines with which its file says that it runs: the web server and the daemon."""
        source = (EXAMPLES / self.name / f"{self.name}.py").read_text()
        text = ast.get_docstring(ast.parse(source)) or ""
        web, daemon = (shlex.split(line) for line in text.splitlines()[-2:])
        return web, daemon


SHOPS = [
    Shop("flask_shop", driver="psycopg", form=True),
    Shop("fastapi_shop", driver="asyncpg"),
    Shop("litestar_shop"),
]


@contextmanager
def serving(directory: Path, command: tuple[str, ...], env: Mapping[str, str]) -> Iterator[str]:
    """A web server; its address."""
    output = directory / "web.txt"
    with output.open("wb") as file:
        process = spawn(
            [sys.executable, "-m", *command],
            output=file,
            directory=directory,
            environment=environment({**env, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}),
        )
    try:
        found = wait(
            lambda: (
                re.search(r"http://127\.0\.0\.1:([1-9]\d*)", output.read_text())
                or process.poll() is not None
            ),
            60,
            "it serves",
        )
        assert isinstance(found, re.Match), output.read_text()
        yield found[0]
    except BaseException:
        print(output.read_text())
        raise
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(params=SHOPS, ids=[shop.name for shop in SHOPS])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    found: Shop = request.param
    shutil.copytree(EXAMPLES / found.name, tmp_path, dirs_exist_ok=True)
    return found


def order(client: httpx2.Client, shop: Shop, email: str) -> Any:
    fields: dict[str, Any] = {"email": email}
    given: Any = {"data": fields} if shop.form else {"json": fields}
    return client.post("/orders", **given)


def test_orders_are_confirmed_by_jobs(
    shop: Shop,
    request: pytest.FixtureRequest,
    idle_daemon: Daemon,
    server: EmbeddedServer,
    redis: redis_py.Redis,
) -> None:
    env = {"REDIS_URL": server.url}
    web, daemon = shop.lines()
    options = daemon[daemon.index("run") + 1 :]
    assert options[:2] == ["-r", shop.name]
    postgres: Postgres | None = None
    if shop.driver:
        postgres = request.getfixturevalue("postgres")
        env["DATABASE_URL"] = postgres.url(shop.driver)
    with (
        serving(idle_daemon.directory, (*web, "--port", "0"), env) as url,
        httpx2.Client(base_url=url, timeout=30) as client,
    ):
        created = order(client, shop, "ada@example.org")
        assert created.status_code == 201, created.text
        assert order(client, shop, "nonsense").status_code == 400
        assert redis.llen("queue:mail") == 1, "what is not committed is not pushed"
        [waiting] = client.get("/orders").json()
        assert (waiting["id"], waiting["confirmed"]) == (created.json()["id"], False)

        idle_daemon.run(*options[2:], "-c", "2", require=shop.name, env=env)
        idle_daemon.wait_ready()

        def confirmed() -> list[str]:
            return [each["email"] for each in client.get("/orders").json() if each["confirmed"]]

        idle_daemon.wait(lambda: confirmed() == ["ada@example.org"], 20, "the order is confirmed")
        if postgres is not None:
            postgres.restart()
        assert order(client, shop, "grace@example.org").status_code == 201
        idle_daemon.wait(lambda: len(confirmed()) == 2, 20, "the second order is confirmed")
        assert redis.get("stat:failed") is None

        refused = client.get("/jobs/queues")
        assert refused.status_code in (302, 401), refused.text
        if shop.form:
            client.get("/login")
        else:
            client.cookies.set("name", "ada")
        page = client.get("/jobs/queues")
        assert page.status_code == 200
        assert "ada · " in page.text
    assert idle_daemon.stop() == 0


def test_the_tests_of_the_example_pass(shop: Shop, tmp_path: Path) -> None:
    """In a database of their own, whatever the variables and the directory have."""
    before = set(tmp_path.iterdir())
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=tmp_path,
        env=environment({"DATABASE_URL": "postgresql+psycopg://127.0.0.1:1/production"}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    assert {one for one in tmp_path.iterdir() if one.name != "__pycache__"} == before
