"""The server, and what about it endangers jobs."""

from __future__ import annotations

import redis as redis_py

from jobd.api import Api, RedisInfo
from jobd.testing import EmbeddedServer


def dangers(info: RedisInfo) -> tuple[str, ...]:
    """The warnings, but for that of a machine so busy that Redis was slow to answer."""
    return tuple(text for text in info.warnings if not text.startswith("A round trip"))


def test_a_good_server(redis: redis_py.Redis) -> None:
    api = Api(redis)
    redis.set("a", 1)
    info = api.info()
    assert dangers(info) == ()
    assert (info.keys, info.eviction_policy, info.append_only) == (1, "noeviction", True)
    assert info.snapshots is False
    assert 0 < info.latency < 5
    assert info.used_memory > 0
    assert info.clients >= 1
    assert (info.save_ok, info.append_ok, info.role) == (True, True, "master")
    assert info.version


def test_a_server_that_endangers_jobs() -> None:
    options = {"appendonly": "no", "maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}
    with EmbeddedServer(options=options) as server, redis_py.Redis.from_url(server.url) as client:
        api = Api(client)
        eviction, disk = dangers(api.info())
        assert "allkeys-lru" in eviction
        assert "noeviction" in eviction
        assert "appendonly yes" in disk
        client.config_set("save", "3600 1")
        client.config_set("maxmemory-policy", "noeviction")
        assert dangers(api.info()) == ()
        used = api.info().used_memory
        client.config_set("maxmemory", int(used * 1.1))
        (full,) = dangers(api.info())
        assert "maxmemory" in full
        client.config_set("maxmemory", 0)
        client.replicaof("127.0.0.1", 1)
        assert any("replica" in warning for warning in api.info().warnings)


def test_a_server_that_tells_little() -> None:
    options = {"appendonly": "no"}
    with EmbeddedServer(options=options) as server:
        with redis_py.Redis.from_url(server.url) as client:
            client.execute_command(*["ACL", "SETUSER", "web", "on", ">x", "~*", "+@all", "-config"])
        url = server.url.replace("unix://", "unix://web:x@")
        with redis_py.Redis.from_url(url) as client:
            info = Api(client).info()
            assert info.snapshots is None
            assert dangers(info) == ()
