"""Fifty open pages: what they cost, how they end, and what does not hurt them."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anyio
import httpx2
import psutil
import pytest
import redis as redis_py
import uvicorn

from jobd.testing import EmbeddedServer
from jobd.web import live
from jobd.web.app import Dashboard, dashboard
from jobd.web.shared.state import State
from tests.support.daemon import wait
from tests.support.processes import freeze
from tests.web.frame import bearer, guarded
from tests.web.serving import get, serving

PAGES = 50


@contextmanager
def threaded(app: Dashboard) -> Iterator[str]:
    """*app* behind a real server in a thread; its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait(lambda: server.started, 10, "the server listens")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        app.close()
        server.should_exit = True
        thread.join()


def populate(redis: redis_py.Redis, processes: int = 200, queues: int = 20) -> None:
    """A large installation."""
    with redis.pipeline(transaction=False) as pipe:
        for number in range(processes):
            identity = f"host{number}:7:0123456789ab"
            pipe.sadd("processes", identity)
            pipe.hset(identity, mapping={"info": '{"pid":7}', "busy": "3", "beat": "1"})
            pipe.zadd("jobd:owners", {identity: time.time() + 1000})
        for number in range(queues):
            pipe.sadd("queues", f"q{number}")
            pipe.lpush(f"queue:q{number}", '{"class":"A","args":[]}')
        pipe.execute()


def commands(redis: redis_py.Redis) -> Counter[str]:
    """What the server has done so far, for others than us."""
    found: dict[str, Any] = redis.info("commandstats")
    return Counter({name: stats["calls"] for name, stats in found.items()})


@pytest.mark.skipif(
    tuple(map(int, version("anyio").split(".")[:2])) < (4, 5),
    reason="the asynchronous client of httpx2 needs anyio 4.5 or newer",
)
def test_fifty_open_pages_cost_redis_next_to_nothing(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    populate(redis)
    seen = [0] * PAGES

    async def page(url: str, number: int, client: httpx2.AsyncClient) -> None:
        """As a browser: events all the time, and a region that is refreshed every five seconds."""
        async with client.stream("GET", url + "live") as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: "):
                    assert json.loads(line[6:])["busy"] == 600
                    seen[number] += 1
                    if seen[number] % 2:
                        await client.get(url)

    async def open_pages(url: str, seconds: float) -> None:
        limits = httpx2.Limits(max_connections=None)
        async with (
            httpx2.AsyncClient(timeout=30, limits=limits) as client,
            anyio.create_task_group() as pages,
        ):
            for number in range(PAGES):
                pages.start_soon(page, url, number, client)
            with anyio.move_on_after(30):
                while min(seen) < 1:
                    await anyio.sleep(0.05)
            before, began = commands(redis), time.monotonic()
            await anyio.sleep(seconds)
            spent = commands(redis) - before
            took = time.monotonic() - began
            pages.cancel_scope.cancel()
        rate = sum(spent.values()) / took
        assert min(seen) >= 3
        assert rate < 100, f"{rate:.0f} commands a second: {spent.most_common(8)}"

    with serving(tmp_path, settings={"JOBD_REDIS": server.url}) as served:
        url = served.url
        anyio.run(open_pages, url, 15.0)  # all that is read seldom, too
        assert psutil.Process(served.process.pid).num_threads() < 60


def test_a_page_that_is_closed_ends_its_stream(redis: redis_py.Redis) -> None:
    app = guarded(redis)
    with threaded(app) as url:
        with httpx2.Client(timeout=20) as client:
            streams = [
                client.send(
                    client.build_request("GET", f"{url}/live", headers=bearer()), stream=True
                )
                for _ in range(5)
            ]
            wait(lambda: len(app.shared.streams) == 5, 5, "five streams")
            for stream in streams[:3]:
                stream.close()
            wait(lambda: len(app.shared.streams) == 2, 5, "two streams")
        wait(lambda: len(app.shared.streams) == 0, 5, "no stream")


def test_a_stream_ends_by_itself_and_says_so(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "EVERY", 0.02)
    monkeypatch.setattr(live, "LASTS", 0.2)
    app = guarded(redis)
    with threaded(app) as url:
        answer = get(f"{url}/live", headers=bearer())
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-store"
    events = [line for line in answer.text.splitlines() if line.startswith("event: ")]
    assert events[0] == "event: stats"
    assert events[-1] == "event: again"
    assert len(app.shared.streams) == 0


def test_a_page_that_takes_nothing_piles_nothing_up(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = 0

    def large(state: State) -> bytes:
        nonlocal made
        made += 1
        return b"data: " + b"x" * 65536 + b"\n\n"

    monkeypatch.setattr(live, "EVERY", 0.0)
    monkeypatch.setattr(live, "_event", large)
    with threaded(guarded(redis)) as url, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", int(url.rpartition(":")[2])))
        token = bearer()["Authorization"]
        slow.sendall(f"GET /live HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        last, since = -1, time.monotonic()

        def stands() -> bool:
            nonlocal last, since
            if made != last:
                last, since = made, time.monotonic()
            return made > 0 and time.monotonic() - since > 0.5

        wait(stands, 20, "no more events are made")
        assert made < 200
        # Others are served meanwhile.
        with httpx2.stream("GET", f"{url}/live", headers=bearer(), timeout=20) as stream:
            assert next(stream.iter_lines()) == "retry: 3000"


def test_too_many_pages_poll(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from jobd.web.shared import streams

    monkeypatch.setattr(streams, "MOST", 1)
    app = guarded(redis)
    with threaded(app) as url, httpx2.stream("GET", f"{url}/live", headers=bearer(), timeout=20):
        wait(lambda: len(app.shared.streams) == 1, 5, "one stream")
        refused = get(f"{url}/live", headers=bearer())
        assert refused.status_code == 503
        assert "Not now" in refused.text
        assert get(f"{url}/api/v1/stats", headers=bearer()).status_code == 200
    assert "redis_unavailable" not in caplog.text


def test_a_redis_that_hangs_does_not_stop_the_process(tmp_path: Path) -> None:
    """Each read waits for five seconds; they must not wait one after the other."""
    limits = httpx2.Limits(max_connections=None)
    with (
        EmbeddedServer(tcp=True) as server,
        serving(tmp_path, settings={"JOBD_REDIS": server.url}) as served,
        httpx2.Client(timeout=60, limits=limits, base_url=served.url) as client,
        httpx2.Client(timeout=60, base_url=served.url) as probe,
    ):
        assert client.get("").status_code == 200
        assert server.pid
        freeze(server.pid)
        try:
            with ThreadPoolExecutor(80) as pool:
                began = time.monotonic()
                # Something that has not been read yet.
                pages = [pool.submit(client.get, "?days=180") for _ in range(80)]
                slowest = 0.0
                while not all(page.done() for page in pages):
                    asked = time.monotonic()
                    assert probe.get("healthz").status_code == 200
                    slowest = max(slowest, time.monotonic() - asked)
                took = time.monotonic() - began
            assert {page.result().status_code for page in pages} == {503}
            assert slowest < 3
            assert took < 20
            assert psutil.Process(served.process.pid).num_threads() < 60
        finally:
            os.kill(server.pid, signal.SIGCONT)
        wait(lambda: client.get("").status_code == 200, 10, "it has recovered")


def test_numbers_of_a_large_installation_are_read_less_often(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    populate(redis, processes=400, queues=100)
    state = dashboard(redis, local=True).shared
    now = time.monotonic()
    monkeypatch.setattr("jobd.api.shared.snapshots.time.monotonic", lambda: now)

    def spent() -> int:
        before = commands(redis)
        state.counters()
        return sum((commands(redis) - before).values())

    assert spent() > 600
    now += 3
    assert spent() < 20, "only what is known at once"
    now += 30
    assert spent() > 600
    redis.incr("stat:processed")
    state.snapshots.changed()
    assert state.counters().processed == 1
