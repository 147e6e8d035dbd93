"""The plugin for Litestar."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from litestar import Litestar, post
from litestar.config.csrf import CSRFConfig
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.testing import TestClient

from jobd import App, ArgumentError
from jobd.contrib.litestar import JobdPlugin
from jobd.errors import ConfigError
from jobd.testing import EmbeddedServer
from jobd.web import Role, User
from tests.support.daemon import environment
from tests.unit.contrib.forms import pause


async def who(connection: ASGIConnection[Any, Any, Any, Any]) -> User | None:
    name = connection.cookies.get("name")
    return User(name, Role.ADMIN) if name == "ada" else None


def in_thread(connection: ASGIConnection[Any, Any, Any, Any]) -> User | None:
    name = connection.cookies.get("name")
    return User(name, Role.ADMIN) if name == "ada" else None


def guard(connection: ASGIConnection[Any, Any, Any, Any], _: object) -> None:
    if "name" not in connection.cookies:
        raise NotAuthorizedException


def test_it_configures_and_closes(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    jobs = App()
    greet = jobs.job(name="Greet")(lambda number: number)
    before = len(redis.client_list())

    @post("/")
    async def push() -> str | None:
        return await greet.aperform_async(1)

    app = Litestar([push], plugins=[JobdPlugin(server.url, "shop:", jobs=jobs)])
    with TestClient(app) as client:
        assert client.post("/").status_code == 201
        assert redis.llen("shop:queue:default") == 1
        assert len(redis.client_list()) == before + 1
    assert len(redis.client_list()) == before


@pytest.mark.parametrize("login", [who, in_thread])
@pytest.mark.parametrize("root", ["", "/shop"])
def test_the_dashboard_is_behind_a_login_and_guards(
    server: EmbeddedServer, redis: redis_py.Redis, login: Any, root: str
) -> None:
    jobs = App()
    plugin = JobdPlugin(
        server.url, dashboard="/jobs", login=login, guards=[guard], jobs=jobs, title="Shop & Co"
    )
    app = Litestar([], plugins=[plugin], csrf_config=CSRFConfig(secret="of the shop"))
    with TestClient(app, root_path=root) as client:
        client.follow_redirects = False
        jobs.client.push({"class": "Mail", "args": [1], "queue": "mail"})
        assert client.get("/jobs/").status_code == 401
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
        if root:
            return  # cookies are for the path that a browser sees
        fields = pause(client.get("/jobs/queues").text, "mail")
        paused = client.post("/jobs/queues/act", data=fields)
        assert paused.status_code in (200, 303), paused.text
        assert client.get("/jobs/api/v1/queues").json()["queues"][0]["paused"]


@pytest.mark.parametrize("wrong", [{"dashboard": "/jobs"}, {"dashboard": "jobs", "login": who}])
def test_a_dashboard_for_nobody_or_nowhere_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        JobdPlugin(**wrong)
    with pytest.raises(ArgumentError):
        JobdPlugin(login="ada")  # type: ignore[arg-type]


COMMAND = """
from litestar import Litestar
from jobd.contrib.litestar import JobdPlugin
from jobd.errors import ConfigError
app = Litestar([], plugins=[JobdPlugin("redis://127.0.0.1:1/7")])
"""


def test_the_command_becomes_jobd_with_the_server_of_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(COMMAND)
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "litestar", "--app", "shop:app"),
            *("jobd", "check", "-r", "shop"),
        ],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "127.0.0.1:1/7" in done.stdout + done.stderr
