"""The dashboard in other people's applications: the examples of the manual, as they stand there."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
import redis as redis_py
from a2wsgi import ASGIMiddleware
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client

from jobd.testing import EmbeddedServer
from jobd.testing.tether import spawn
from tests.support.daemon import environment, wait
from tests.web.frame import bearer, browser, guarded, log_in, token_of

MANUAL = Path(__file__).parents[2] / "docs/dashboard.md"

SERVE_ASGI = """
import sys, uvicorn
from {module} import {name} as app
config = uvicorn.Config(app, port=0, log_level="warning")
server = uvicorn.Server(config)
startup = server.startup
async def said(sockets=None):
    await startup(sockets)
    print("port", server.servers[0].sockets[0].getsockname()[1], flush=True)
server.startup = said
server.run()
"""

SERVE_WSGI = """
from werkzeug.serving import make_server
from {module} import {name} as app
server = make_server("127.0.0.1", 0, app, threaded=True)
print("port", server.server_port, flush=True)
server.serve_forever()
"""

DJANGO = {
    "shop/__init__.py": "",
    "shop/settings.py": """
from pathlib import Path
SECRET_KEY = "of your application"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "shop.urls"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
""",
    "shop/urls.py": """
from django.contrib.auth import get_user_model, login
from django.http import HttpResponse
from django.urls import path

def enter(request):
    login(request, get_user_model().objects.get(username="ada"))
    return HttpResponse("welcome")

urlpatterns = [path("enter", enter)]
""",
}

PREPARE = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from django.contrib.auth import get_user_model
get_user_model().objects.create_superuser("ada", "ada@example.org", "x")
"""


def example(name: str) -> str:
    """A block of the manual."""
    found = re.search(
        rf"<!-- example: {name} -->\n```python\n(.*?)^```$", MANUAL.read_text(), re.DOTALL | re.M
    )
    assert found, f"the manual has no example {name!r}"
    return found[1]


@contextmanager
def running(directory: Path, code: str, url: str) -> Iterator[str]:
    """A server that runs *code*, which prints its port; its address."""
    output = directory / "output.txt"
    with output.open("wb") as file:
        process = spawn(
            [sys.executable, "-W", "ignore", "-c", code],
            output=file,
            directory=directory,
            environment=environment({"JOBD_REDIS": url, "PYTHONUNBUFFERED": "1"}),
        )
    try:
        said = wait(
            lambda: re.search(r"^port (\d+)$", output.read_text(), re.M) or process.poll(),
            60,
            "it serves",
        )
        assert isinstance(said, re.Match), output.read_text()
        yield f"http://127.0.0.1:{said[1]}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


EXAMPLES = {
    "starlette": ("app.py", SERVE_ASGI, "app", "app"),
    "fastapi": ("app.py", SERVE_ASGI, "app", "app"),
    "flask": ("app.py", SERVE_WSGI, "app", "app"),
    "django-asgi": ("shop/asgi.py", SERVE_ASGI, "shop.asgi", "application"),
    "django-wsgi": ("shop/wsgi.py", SERVE_WSGI, "shop.wsgi", "application"),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_manuals_example_works(
    name: str, tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    file, serve, module, attribute = EXAMPLES[name]
    if name.startswith("django"):
        for path, source in {**DJANGO, "shop/staff.py": example("django-staff")}.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(source)
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PREPARE],
            cwd=tmp_path,
            env=environment(),
            check=True,
            timeout=60,
        )
    (tmp_path / file).write_text(example(name))
    with (
        running(tmp_path, serve.format(module=module, name=attribute), server.url) as url,
        httpx2.Client(base_url=url, timeout=30) as client,
    ):
        refused = client.get("/jobs/")
        assert refused.status_code in (303, 401)
        assert client.get("/jobs/api/v1/stats").status_code in (303, 401)
        assert client.get("/jobs/healthz").text == "ok\n"
        assert "welcome" in client.get("/enter").text
        moved = client.get("/jobs")
        assert moved.status_code == 307
        assert httpx2.URL(moved.headers["location"]).path == "/jobs/"
        page = client.get("/jobs/?days=7")
        assert page.status_code == 200
        assert "ada · " in page.text
        assert_all_below(page.text, "/jobs/", client)
        stats = client.get("/jobs/api/v1/stats")
        assert stats.json()["processed"] == 0
        assert client.get("/jobs/nowhere").status_code == 404
        # What changes something needs the token of a form.
        body = {"queue": "mail"}
        assert client.post("/jobs/api/v1/queues/pause", json=body).status_code == 403
        with client.stream("GET", "/jobs/live") as stream:
            if serve is SERVE_WSGI:
                assert stream.status_code == 204
            else:
                assert next(stream.iter_lines()) == "retry: 3000"
        # The session of the application is still its own.
        assert client.get("/jobs/").status_code == 200


def assert_all_below(text: str, root: str, client: Any) -> None:
    """Every address on a page is below *root*, and its files are there."""
    found = re.findall(r'(?:href|src|action|data-live|data-stats)="([^"]*)"', text)
    ours = [address for address in found if not address.startswith("#")]
    assert len(ours) > 8
    for address in ours:
        assert address == "/" or address.startswith(root), address
        if "/static/" in address:
            assert client.get(address).status_code == 200


# -- all of it, under any prefix -------------------------------------------------------------------


def whole_visit(client: Any, root: str) -> None:
    """Log in, look, do something, log out."""
    asked = client.get(f"{root}/?days=7")
    assert asked.headers["location"] == f"{root}/login?next=%2F%3Fdays%3D7"
    answer = log_in(client, under=root, next="/?days=7")
    assert (answer.status_code, answer.headers["location"]) == (303, f"{root}/?days=7")
    page = client.get(answer.headers["location"])
    assert "alice · admin" in page.text
    assert_all_below(page.text, f"{root}/", client)
    token = token_of(page)
    paused = client.post(
        f"{root}/api/v1/queues/pause", json={"queue": "mail"}, headers={"X-CSRF-Token": token}
    )
    assert paused.json()["changed"] == 1
    described = client.get(f"{root}/api/v1/openapi.json").json()
    assert described["servers"] == [{"url": f"{root}/api/v1"}]
    gone = client.post(f"{root}/logout", data={"csrf": token})
    assert gone.headers["location"] == f"{root}/login"
    assert client.get(f"{root}/").status_code == 303


@pytest.mark.parametrize(
    "root", ["", "/jobs", "/a/b/c", "/my%20jobs", "/d%C3%A9j%C3%A0", "/a%3Bb=c"]
)
def test_a_visit_under_any_prefix(redis: redis_py.Redis, root: str) -> None:
    app: Any = guarded(redis)
    if root:
        app = Starlette(routes=[Mount(unquote(root), app)])
    whole_visit(browser(app), root)


def test_a_visit_in_fastapi_with_a_prefix_of_its_own(redis: redis_py.Redis) -> None:
    app = FastAPI()
    app.mount("/jobs", guarded(redis))
    whole_visit(browser(app), "/jobs")
    # Behind a proxy that serves it under "/shop": with servers that put that before the path, as
    # the standard says, and without.
    behind = TestClient(app, "http://localhost", root_path="/shop", follow_redirects=False)
    for path in ("/shop/jobs/", "/jobs/"):
        assert behind.get(path).headers["location"] == "/shop/jobs/login"
        page = behind.get(path, headers=bearer())
        assert 'href="/shop/jobs/static/app.css' in page.text
    assert behind.get("/jobs/api/v1/stats", headers=bearer()).status_code == 200


def test_a_prefix_with_a_part_that_varies(redis: redis_py.Redis) -> None:
    app = Starlette(routes=[Mount("/{tenant}/jobs", guarded(redis))])
    whole_visit(browser(app), "/acme/jobs")


class Wsgi:
    """A client of a WSGI application that looks like ours."""

    def __init__(self, app: Any) -> None:
        self._client = Client(app)

    def _send(self, method: str, path: str, **given: Any) -> Any:
        answer = self._client.open(path, method=method, **given)
        return httpx2.Response(
            answer.status_code, headers=list(answer.headers), content=answer.get_data()
        )

    def get(self, path: str, **given: Any) -> Any:
        return self._send("GET", path, **given)

    def post(self, path: str, **given: Any) -> Any:
        return self._send("POST", path, **given)


def test_a_visit_by_wsgi(redis: redis_py.Redis) -> None:
    def other(environ: Any, start: Any) -> list[bytes]:
        start("200 OK", [("Content-Type", "text/plain")])
        return [b"the application"]

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    bridge: Any = ASGIMiddleware(guarded(redis), loop=loop)  # type: ignore[arg-type]  # its own
    try:
        client = Wsgi(DispatcherMiddleware(other, {"/jobs": bridge}))
        whole_visit(client, "/jobs")
        assert client.get("/elsewhere").text == "the application"
        # Addresses are counted one by one, though a2wsgi does not tell them all.
        given = {"name": "vera", "password": "wrong password"}
        for number in range(12):
            one = Wsgi(DispatcherMiddleware(other, {"/jobs": bridge}))
            page = one.get("/jobs/login")
            answer = one.post(
                "/jobs/login",
                data={**given, "csrf": token_of(page)},
                environ_overrides={"REMOTE_ADDR": f"192.0.2.{number}"},
            )
            assert answer.status_code == 401
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_the_applications_own_errors_stay_its_own(redis: redis_py.Redis) -> None:
    """What the dashboard puts into the scope is not seen outside."""
    seen: list[set[str]] = []

    class Outside:
        def __init__(self, app: Any) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            await self.app(scope, receive, send)
            seen.append({key for key in scope if key.startswith("jobd")})

    def look(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(request.session))

    app = Starlette(
        routes=[Route("/look", look), Mount("/jobs", guarded(redis))],
        middleware=[Middleware(Outside), Middleware(SessionMiddleware, secret_key="x")],
    )
    client: TestClient = browser(app)
    assert client.get("/jobs/", headers=bearer()).status_code == 200
    assert client.get("/jobs/login").status_code == 200
    assert client.get("/look").text == "{}"
    assert seen == [set(), set(), set()]
    assert {cookie.path for cookie in client.cookies.jar} == {"/jobs"}
