"""Several applications in one process: each has its own of everything."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

import jobd
from jobd import App, ArgumentError, Client, Job
from jobd.api import Api
from jobd.errors import ApplicationError
from jobd.jobs import loading
from jobd.jobs.app import default
from jobd.settings.daemon import Config
from jobd.testing import EmbeddedServer


def work(number: int) -> int:
    """The function of a job of each."""
    return number


def test_two_push_the_same_function_to_two_places(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    shop, blog = App(), App(default_options={"queue": "low", "retry": 3})
    shop.configure(server.url, prefix="shop:")
    blog.configure(server.url, prefix="blog:")
    sell, write = shop.job(work), blog.job(work)
    assert sell.name == write.name, "they may be called alike"
    sell.perform_async(1)
    sell.perform_in(60, 2)
    write.perform_bulk([[3], [4]])
    assert redis.llen("shop:queue:default") == redis.zcard("shop:schedule") == 1
    assert redis.llen("blog:queue:low") == 2
    (left,) = Api(app=shop).queue("default")
    right = Api(app=blog).queue("low").page(0, 1).entries[0]
    assert (left.args, left["retry"]) == ([1], True)
    assert (right.args, right["retry"]) == ([3], 3)


def test_default_options_are_those_of_a_push_by_name_too(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    app = App(default_options={"queue": "low", "tags": ("a",)})
    client = app.configure(server.url)
    client.push({"class": "A", "args": []})
    client.push_bulk({"class": "A", "args": [[]], "queue": "high"})
    assert [job["tags"] for name in ("low", "high") for job in Api(app=app).queue(name)] == [
        ["a"],
        ["a"],
    ]
    Client(server.url).push({"class": "A", "args": []})
    assert redis.llen("queue:default") == 1, "a client made by hand has those of the default one"


@pytest.mark.parametrize("options", [{"queue": "a b"}, {"retry": "yes"}, {"timeout": 5}, {"q": 1}])
def test_default_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ArgumentError):
        App(default_options=options)


def test_a_class_belongs_to_the_application_that_it_names(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    app = App(default_options={"queue": "images", "retry": 2})
    app.configure(server.url, prefix="shop:")

    class Images(Job, app=app, retry=4):
        """Options only."""

    class Resize(Images, name="Resize", tags=["slow"]):
        def perform(self, path: str) -> str:
            return path

    assert [one.name for one in app.registry.all()] == ["Resize"]
    assert "Resize" not in [one.name for one in default.registry.all()]
    assert app.registry.lookup("Resize").options == {
        "retry": 4,
        "queue": "images",
        "tags": ["slow"],
    }
    Resize.perform_async("cat.png")
    assert redis.llen("shop:queue:images") == 1
    with pytest.raises(ArgumentError, match=r"Wrong: app must be a jobd\.App, not 5"):
        type("Wrong", (Job,), {}, app=5)


def test_hooks_handlers_and_middleware_are_of_one_application() -> None:
    order: list[str] = []
    apps = {"shop": App(), "blog": App()}
    for name, app in apps.items():

        def note(*about: Any, name: str = name) -> Any:
            order.append(f"{name} {len(about)}")
            return about[-1]() if len(about) == 4 else None

        app.on("startup")(note)
        app.client_middleware.add(note)
        app.server_middleware.add(note)
        app.death_handlers.append(note)
        app.error_handlers.append(note)
    shop = apps["shop"]
    shop.hooks.fire("startup", lambda error, about: None)
    assert shop.job(work).perform_inline(5) == 5
    assert order == ["shop 0", "shop 4", "shop 4"]
    assert not default.client_middleware
    assert not default.error_handlers


def test_the_data_api_tells_the_handlers_of_its_application(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    shop, blog = App(), App()
    died: list[str] = []
    shop.death_handlers.append(lambda job, error: died.append(f"shop {job['jid']}"))
    blog.death_handlers.append(lambda job, error: died.append(f"blog {job['jid']}"))
    jid = shop.configure(server.url).push({"class": "A", "args": [], "at": 4_102_444_800})
    (entry,) = Api(app=shop).scheduled
    assert entry.kill()
    assert died == [f"shop {jid}"]


def test_the_names_of_the_module_are_those_of_the_default_one() -> None:
    names = ["client_middleware", "server_middleware", "error_handlers", "death_handlers"]
    for name in [*names, "job", "on", "configure"]:
        assert getattr(jobd, name) == getattr(default, name)
    assert Client().middleware is default.client_middleware


def test_without_a_configuration_the_environment_says_where_jobs_go(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBD_REDIS", server.url)
    monkeypatch.setenv("JOBD_PREFIX", "env:")
    app = App()
    assert not app.configured
    app.job(work).perform_async(1)
    assert redis.llen("env:queue:default") == 1
    monkeypatch.setenv("JOBD_REDIS", "redis://127.0.0.1:1")
    with pytest.raises(jobd.UnavailableError, match=r"127\.0\.0\.1:1"):
        App().job(work).perform_async(1)


# --- loading -------------------------------------------------------------------------------------

SOURCE = """
import jobd
first, second = jobd.App(), jobd.App()
again = first
jobd.configure("redis://127.0.0.1:1/5")
second.configure("redis://127.0.0.1:1/6")
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(default, "_client", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"{tmp_path.name}.py").write_text(SOURCE)
    (tmp_path / f"{tmp_path.name}_too.py").write_text("import jobd\nother = jobd.App()\n")
    return tmp_path


def test_the_application_that_is_named_is_loaded(directory: Path) -> None:
    name = directory.name
    loaded = loading.load([f"{name}_too", f"{name}:first", f"./{name}.py:again"])
    assert loaded is sys.modules[name].first
    assert loading.load([name]) is default
    for pair in ([f"{name}:first", f"{name}:second"], [f"{name}:first", f"{name}_too:other"]):
        with pytest.raises(ApplicationError, match="are different applications, but a daemon runs"):
            loading.load(pair)


def test_a_daemon_says_where_jobs_go_unless_the_application_does(directory: Path) -> None:
    def where(app: str) -> str:
        config = Config(require=(f"{directory.name}{app}",), redis="redis://127.0.0.1:1/7")
        return loading.load_for(config).client.destination

    assert where("") == "127.0.0.1:1/5"
    assert where(":first") == "127.0.0.1:1/7"
    assert where(":second") == "127.0.0.1:1/6"
