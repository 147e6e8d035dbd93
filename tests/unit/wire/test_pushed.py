"""A push inside an event loop may be awaited, and is an id like any other."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
import warnings
from typing import Any

import pytest
import redis as redis_py

from jobd import App, Client
from jobd.testing import EmbeddedServer
from jobd.wire import pushed


@pytest.fixture(autouse=True)
def app(server: EmbeddedServer, redis: redis_py.Redis) -> App:
    app = App()
    app.configure(server.url)
    pushed._warned = False
    return app


def queued(redis: redis_py.Redis) -> list[dict[str, Any]]:
    raws: Any = redis.lrange("queue:default", 0, -1)
    return [json.loads(raw) for raw in reversed(raws)]


@pytest.fixture
def f(app: App) -> Any:
    @app.job(name="pushed.f")
    def f(value: Any = None) -> Any:
        return value

    return f


def test_it_can_be_awaited_and_pushes_once(app: App, f: Any, redis: redis_py.Redis) -> None:
    client: Any = app.client

    async def main() -> list[Any]:
        found = [await f.perform_async(1), await f.perform_at(0, 2), await f.perform_in(60, 3)]
        found.append(await client.push({"class": "pushed.f", "args": [4]}))
        return [*found, *await f.perform_bulk([[5], [6]])]

    with pytest.warns(RuntimeWarning, match="blocked the event loop") as told:
        jids = asyncio.run(main())
    awaited = [each for each in told if "not a coroutine" in str(each.message)]
    assert [each.filename for each in awaited] == [__file__]
    assert [type(jid) for jid in jids] == [str] * 6
    assert [each["args"] for each in queued(redis)] == [[1], [2], [4], [5], [6]]
    assert {each["jid"] for each in queued(redis)} < set(jids)


def test_warnings_that_are_errors_do_not_hide_the_push(
    f: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> Any:
        return await f.perform_async()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert type(asyncio.run(main())) is str
    assert "blocked the event loop" in caplog.text


def test_it_is_text_to_everybody(app: App, f: Any, redis: redis_py.Redis) -> None:
    async def main() -> None:
        jid = f.perform_async()
        jids = f.perform_bulk([[], []])
        assert isinstance(jid, str)
        assert isinstance(jids, list)
        for given, kind in ((jid, str), (jids, list)):
            for made in (pickle.loads(pickle.dumps(given)), copy.deepcopy(given), copy.copy(given)):
                assert (made, type(made)) == (given, kind)
        assert json.loads(json.dumps([jid, jids])) == [jid, jids]
        assert (f"{jid}", {jid: 1}[str(jid)], hash(jid)) == (str(jid), 1, hash(str(jid)))
        redis.set(jid, jid)
        assert redis.get(str(jid)) == jid.encode()
        redis.flushall()
        value: Any = {"jid": jid, "jids": jids, jid: [jid]}
        f.perform_async(value)
        f.set(extra={"parent": jid}, tags=[jid]).perform_async(value=jid)
        Client(app.client.url).push({"class": "A", "args": jids, "jid": jid})
        f.perform_bulk([[jid], [jids]])
        first, second, third, fourth, fifth = queued(redis)
        assert first["args"] == [value]
        assert (second["kwargs"], second["parent"], second["tags"]) == ({"value": jid}, jid, [jid])
        assert (third["args"], third["jid"]) == (jids, jid)
        assert (fourth["args"], fifth["args"]) == ([jid], [jids])
        found = f.perform_inline(value)
        assert found == value
        assert {type(found["jid"]), type(found["jids"])} == {str, list}

    asyncio.run(main())


def test_elsewhere_it_is_plain(f: Any) -> None:
    assert type(f.perform_async()) is str
    assert type(f.perform_bulk([[]])) is list

    async def main() -> Any:
        return await asyncio.to_thread(f.perform_async)

    assert type(asyncio.run(main())) is str


def test_what_was_not_pushed_is_none(app: App, f: Any, redis: redis_py.Redis) -> None:
    app.client_middleware.add(lambda *_: None)

    async def main() -> None:
        assert f.perform_async() is None
        assert await f.perform_bulk([[]]) == [None]

    with pytest.warns(RuntimeWarning):
        asyncio.run(main())
    assert not redis.keys()


def test_a_job_that_returns_what_it_pushed_is_done(app: App, f: Any) -> None:
    @app.job(name="pushed.g")
    async def g() -> Any:
        return f.perform_async()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert isinstance(g.perform_inline(), str)


def test_nobody_pays_for_asyncio_who_does_not_use_it() -> None:
    code = "import sys, jobd; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
