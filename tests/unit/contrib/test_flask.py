"""The extension for Flask."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py
from flask import Flask, current_app, redirect, request, session
from flask.typing import ResponseReturnValue

from jobd import App, ArgumentError
from jobd.contrib.flask import Jobd
from jobd.errors import ConfigError
from jobd.testing import EmbeddedServer
from jobd.web import Role, User
from jobd.web.access.users import hash_password
from tests.support.daemon import environment
from tests.unit.contrib.forms import pause


@pytest.fixture
def jobs() -> Iterator[App]:
    app = App()
    yield app
    if app.configured:
        app.client.close()


def application(jobs: App, login: Any = None, **config: Any) -> Flask:
    app = Flask("shop")
    app.secret_key = "of the shop"
    app.config.update(config)
    Jobd(app, login=login, jobs=jobs)
    return app


def test_the_configuration_is_that_of_the_application(jobs: App) -> None:
    application(jobs, JOBD_REDIS="redis://127.0.0.1:1/3", JOBD_PREFIX="shop:")
    assert (jobs.client.url, jobs.client.prefix) == ("redis://127.0.0.1:1/3", "shop:")


def test_without_a_configuration_it_configures_nothing(jobs: App) -> None:
    """In a worker, its jobs push to the daemon's server."""
    application(jobs)
    assert not jobs.configured


def test_an_extension_may_be_made_before_its_application(jobs: App) -> None:
    extension = Jobd(jobs=jobs)
    app = Flask("shop")
    extension.init_app(app)
    assert app.extensions["jobd"] is extension


@pytest.mark.parametrize(
    "config",
    [
        {"JOBD_REDIS": 5},
        {"JOBD_PREFIX": b"x"},
        {"JOBD_DASHBOARD": "/jobs"},
        {"JOBD_DASHBOARD": "jobs"},
        {"JOBD_DASHBOARD": "/"},
    ],
)
def test_a_wrong_configuration_is_refused(jobs: App, config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"JOBD_|login"):
        application(jobs, **config)


def test_what_is_no_application_or_no_login_is_refused(jobs: App) -> None:
    wrong: Any = "shop"
    with pytest.raises(ArgumentError):
        Jobd(wrong)
    with pytest.raises(ArgumentError):
        Jobd(login=wrong)


def test_jobs_run_in_the_context_of_the_last_application(jobs: App) -> None:
    closed = []
    for name in ("one", "two"):
        app = application(jobs, NAME=name)

        @app.teardown_appcontext
        def close(_: object, name: str = name) -> None:
            closed.append(name)

    @jobs.job(name="Plain")
    def plain() -> str:
        return str(current_app.config["NAME"])

    @jobs.job(name="Async")
    async def on_loop() -> str:
        await asyncio.sleep(0)
        return str(current_app.config["NAME"])

    assert (plain.perform_inline(), closed) == ("two", ["two"])
    assert (on_loop.perform_inline(), closed) == ("two", ["two", "two"])
    assert len(jobs.server_middleware) == 1
    assert not jobs.server_middleware.needs_thread
    assert not current_app


def test_a_job_that_fails_closes_its_context(jobs: App) -> None:
    application(jobs)

    @jobs.job(name="Fails")
    def fails() -> None:
        raise ValueError

    with pytest.raises(ValueError):
        fails.perform_inline()
    assert not current_app


class Site:
    """An application with the dashboard below /jobs, for whom its own session knows."""

    def __init__(self, jobs: App, url: str) -> None:
        jobs.configure(url)
        self.app = application(jobs, self.who, JOBD_DASHBOARD="/jobs", JOBD_TITLE="Shop & Co")
        self.app.add_url_rule("/enter/<name>", view_func=self.enter)
        self.app.before_request(self.read)
        self.client = self.app.test_client()

    def enter(self, name: str) -> str:
        session["name"] = name
        return "welcome"

    def read(self) -> None:
        """As protections against CSRF do."""
        request.form.get("token")

    def who(self) -> User | ResponseReturnValue | None:
        if "name" not in session:
            return redirect("/enter")
        return User(session["name"], Role.ADMIN) if session["name"] == "ada" else None


@pytest.fixture
def site(jobs: App, server: EmbeddedServer, redis: redis_py.Redis) -> Site:
    return Site(jobs, server.url)


def test_the_dashboard_is_behind_the_login_of_the_application(site: Site) -> None:
    refused = site.client.get("/jobs/")
    assert (refused.status_code, refused.location) == (302, "/enter")
    site.client.get("/enter/eve")
    assert site.client.get("/jobs/queues").status_code in (401, 403)
    site.client.get("/enter/ada")
    page = site.client.get("/jobs/queues")
    assert page.status_code == 200
    assert "Shop &amp; Co" in page.text
    assert "/jobs/static/" in page.text
    assert site.client.get("/jobs").location == "/jobs/"
    assert (
        site.client.get("/jobs/api/v1/queues").json
        == site.client.get("/jobs/api/v1/queues", environ_overrides={"SCRIPT_NAME": "/shop"}).json
    )
    below = site.client.get("/jobs/", environ_overrides={"SCRIPT_NAME": "/shop"})
    assert "/shop/jobs/static/" in below.text
    assert site.client.get("/elsewhere").status_code == 404


def test_a_form_arrives_although_the_application_has_read_it(
    site: Site, jobs: App, redis: redis_py.Redis
) -> None:
    jobs.client.push({"class": "Mail", "args": [1], "queue": "mail"})
    site.client.get("/enter/ada")
    fields = pause(site.client.get("/jobs/queues").text, "mail")
    paused = site.client.post("/jobs/queues/act", data=fields)
    assert paused.status_code in (200, 303), paused.text
    assert json.loads(site.client.get("/jobs/api/v1/queues").text)["queues"][0]["paused"]


def test_a_blueprint_with_users_of_its_own_has_their_login_page(
    jobs: App, server: EmbeddedServer
) -> None:
    app = application(jobs, JOBD_REDIS=server.url)
    extension = Jobd(app, jobs=jobs)
    with pytest.raises(ConfigError, match="login"):
        extension.dashboard()
    blueprint = extension.dashboard(users=[f"ada:admin:{hash_password('secret')}"], back="/shop")
    app.register_blueprint(blueprint, url_prefix="/staff/jobs")
    client = app.test_client()
    assert client.get("/staff/jobs/").location == "/staff/jobs/login"
    page = client.get("/staff/jobs/login")
    fields = {**pause(page.text, ""), "name": "ada", "password": "secret"}
    assert client.post("/staff/jobs/login", data=fields).status_code == 303
    assert "ada · admin" in client.get("/staff/jobs/queues").text


def test_forked_servers_make_an_adapter_of_their_own(site: Site) -> None:
    site.client.get("/enter/ada")
    assert site.client.get("/jobs/queues").status_code == 200
    pid = os.fork()
    if not pid:
        os._exit(site.client.get("/jobs/queues").status_code != 200)
    assert os.waitpid(pid, 0)[1] == 0


COMMAND = """
from flask import Flask
from jobd.contrib.flask import Jobd
from jobd.errors import ConfigError
app = Flask(__name__)
app.config["JOBD_REDIS"] = "redis://127.0.0.1:1/7"
Jobd(app)
"""


def test_the_command_becomes_jobd_with_the_servers_of_the_application(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(COMMAND)

    def flask(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flask", "--app", "shop", *arguments],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    assert "jobd" in flask("--help")
    assert "Usage: jobd run" in flask("jobd", "run", "--help").replace("python -m ", "")
    checked = flask("jobd", "check", "-r", "shop")
    assert "127.0.0.1:1/7" in checked, checked
