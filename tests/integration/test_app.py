"""A daemon that runs an application of several in one module."""

from __future__ import annotations

import pytest
import redis as redis_py

import jobd
from tests.conftest import StartDaemon

SHOP = """
import jobd

app, other = jobd.App(default_options={"retry": 0}), jobd.App()

def note(text): app.client.redis.rpush("notes", text)

@app.on("startup")
def begin(): note("app started")

@other.on("startup")
def begin(): note("other started")

def around(current, payload, queue, call_next):
    note(f"around {current.name}")
    return call_next()

app.server_middleware.add(around)
other.server_middleware.add(lambda *_: None)
app.death_handlers.append(lambda payload, error: note(f"{error}, dead"))

@app.job(name="work")
def work(n):
    after.perform_async(n + 1)

@other.job(name="work")
def work_of_the_other(n):
    note("wrong")

class After(jobd.Job, name="after", app=app):
    def perform(self, n):
        raise ValueError(f"{n} failed")

after = After
"""


@pytest.mark.parametrize("preload", [False, True])
def test_the_named_application_runs(
    daemon: StartDaemon, redis: redis_py.Redis, preload: bool
) -> None:
    flags = ["--preload"] if preload else []
    running = daemon(SHOP, *flags, require="app:app")
    jobd.Client(running.url).push({"class": "work", "args": [1]})
    running.wait(lambda: redis.llen("notes") == 4, 20, "both jobs have run")
    notes = redis.lrange("notes", 0, -1)
    assert notes == [b"app started", b"around work", b"around after", b"2 failed, dead"]
