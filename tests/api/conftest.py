"""What the tests of the data API share: an API with and without a prefix, and ready payloads."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api

NOW = 1795416100.0

PLAIN = (
    b'{"retry":true,"queue":"default","args":[1,"two"],"class":"Ok",'
    b'"jid":"1befef82961e0772dce5ae4d","created_at":1795416072.920344,'
    b'"enqueued_at":1795416090.5}'
)

HOSTILE = [
    b"",
    b"not json",
    b"\xff\xfe\x00",
    b'{"class":"A","args":["\xff"]}',
    b"[]",
    b"1",
    b"null",
    b"[" * 5000,
    b'{"class":' + b'{"a":' * 900 + b"1" + b"}" * 901,
    b'{"class":"A","args":[NaN]}',
    b'{"class":"A","args":[1e999]}',
    b'{"class":"A","args":[' + b"9" * 6000 + b"]}",
    b'{"class":"A","args":[' + b"9" * 4000 + b'],"created_at":' + b"9" * 4000 + b"}",
    b'{"class":"A","args":[],"error_class":"PoisonPill","error_message":"m","failed_at":1.5,"retry":%s,'
    b'"retry_count":%s,"retry_for":%s,"crashes":%s}' % ((b"9" * 4000,) * 4),
    b'{"class":1,"args":{},"jid":null,"queue":[],"tags":{},"retry_count":"x"}',
    b'{"class":"A","args":[],"jid":"\\u0000<script>","queue":"","created_at":-1e308}',
    b'{"class":"A","args":[],"error_backtrace":"!","error_message":[],"failed_at":1e308}',
    b'{"class":"A","args":[],"error_backtrace":[{"a":1},null,"x"]}',
    b'{"class":"Sidekiq::ActiveJob::Wrapper","args":[]}',
    b'{"class":"Sidekiq::ActiveJob::Wrapper","args":[{"arguments":7}],"wrapped":{}}',
    b'{"class":"A","args":["' + b"x" * 1_500_000 + b'"]}',
    json.dumps({"class": "A", "args": [], **{f"k{n}": n for n in range(200_000)}}).encode(),
]
"""Whatever somebody may put where jobs are expected."""


@pytest.fixture(params=["", "{app}:"])
def api(request: pytest.FixtureRequest, redis: redis_py.Redis) -> Api:
    return Api(redis, request.param)


def job(number: int, name: str = "Ok", queue: str = "default", **fields: Any) -> bytes:
    """The payload of a job, as a client writes it."""
    made = {
        "retry": True,
        "queue": queue,
        "args": [number],
        "class": name,
        "jid": f"{number:024x}",
        "created_at": NOW,
        **fields,
    }
    return json.dumps(made, separators=(",", ":")).encode()


def push(api: Api, queue: str, *raws: bytes) -> None:
    """Put jobs into a queue, the first one to run first."""
    api.redis.sadd(api.keys.queues, queue)
    for first in range(0, len(raws), 1000):
        api.redis.lpush(api.keys.queue(queue), *raws[first : first + 1000])


def waiting(api: Api, queue: str = "default") -> list[bytes]:
    """The payloads of a queue, the next to run first."""
    found: Any = api.redis.lrange(api.keys.queue(queue), 0, -1)
    return list(reversed(found))


def everything_in(api: Api, key: str) -> dict[bytes, float]:
    """A sorted set."""
    found: Any = api.redis.zrange(key, 0, -1, withscores=True)
    return {raw: float(score) for raw, score in found}
