"""Pushing to a real server: keys, order, bulk, failures, forks and threads."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd import App, ArgumentError, Client, UnavailableError, client_middleware
from jobd.jobs.bulk import BATCH_BYTES
from jobd.store.enqueue import Transport
from jobd.testing import EmbeddedServer

Next = Callable[[], Any]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def client(server: EmbeddedServer, redis: redis_py.Redis) -> Client:
    return App().configure(server.url)


def queued(redis: redis_py.Redis, key: str = "queue:default") -> list[dict[str, Any]]:
    """The payloads in a queue, next one first."""
    found: Any = redis.lrange(key, 0, -1)
    return [json.loads(raw) for raw in found][::-1]


def scheduled(redis: redis_py.Redis) -> list[tuple[dict[str, Any], float]]:
    found: Any = redis.zrange("schedule", 0, -1, withscores=True)
    return [(json.loads(raw), score) for raw, score in found]


# --- one job ------------------------------------------------------------------------------------


def test_push_by_name(client: Client, redis: redis_py.Redis) -> None:
    jid = client.push({"class": "Reports::Monthly", "args": [2026, "ü"]})
    assert redis.smembers("queues") == {b"default"}
    [payload] = queued(redis)
    assert list(payload) == [
        *("retry", "queue", "class", "args", "jid", "created_at", "enqueued_at"),
    ]
    assert payload["jid"] == jid
    assert payload["created_at"] <= payload["enqueued_at"]
    raw: Any = redis.lindex("queue:default", 0)
    assert '"args":[2026,"ü"]'.encode() in raw


def test_push_keeps_what_it_is_given(client: Client, redis: redis_py.Redis) -> None:
    item = {
        "class": "A",
        "args": [],
        "queue": "low",
        "retry": 0,
        "jid": "mine",
        "created_at": 5.5,
        "kwargs": {"x": 1},
        "bid": "b",
    }
    assert client.push(item) == "mine"
    [payload] = queued(redis, "queue:low")
    payload.pop("enqueued_at")
    assert payload == item
    assert "enqueued_at" not in item


def test_push_at(client: Client, redis: redis_py.Redis) -> None:
    client.push({"class": "A", "args": [], "at": 4_102_444_800})
    client.push({"class": "B", "args": [], "at": 60})
    client.push({"class": "C", "args": [], "at": 1_000_000_001.5})
    (soon, first), (late, second) = scheduled(redis)
    assert (soon["class"], late["class"], second) == ("B", "A", 4_102_444_800)
    assert 59.9 < first - soon["created_at"] <= 60
    assert not {"at", "enqueued_at"} & (set(soon) | set(late))
    assert [each["class"] for each in queued(redis)] == ["C"]


def test_prefix(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    client = Client(server.url, prefix="{app}:")
    client.push({"class": "A", "args": []})
    client.push({"class": "A", "args": [], "at": 60})
    keys: Any = redis.keys()
    assert sorted(keys) == [b"{app}:queue:default", b"{app}:queues", b"{app}:schedule"]


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOBD_REDIS", "REDIS_URL", "JOBD_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    assert (Client().url, Client().prefix) == ("redis://127.0.0.1:6379/0", "")
    monkeypatch.setenv("REDIS_URL", "redis://a")
    assert Client().url == "redis://a"
    monkeypatch.setenv("JOBD_REDIS", "redis://b")
    monkeypatch.setenv("JOBD_PREFIX", "p:")
    assert (Client().url, Client().prefix) == ("redis://b", "p:")
    assert Client("redis://c", "").url == "redis://c"


def test_with_a_redis_client(redis: redis_py.Redis) -> None:
    assert Client(redis=redis).push({"class": "A", "args": []})
    assert len(queued(redis)) == 1
    with pytest.raises(ArgumentError, match="not both"):
        Client("redis://a", redis=redis)


def test_refused_items_leave_no_trace(client: Client, redis: redis_py.Redis) -> None:
    for item, message in (
        ({"class": "A", "args": [{1}]}, r"A: argument args\[0\] is of type set"),
        ({"class": "A", "args": [], "queue": "a b"}, "queue 'a b'"),
        ({"class": "A", "args": [], "kwargs": {"x": b""}}, "A: argument x is of type bytes"),
        ({"class": "A", "args": ["x" * 2_000_000]}, "max_payload is 1,048,576"),
    ):
        with pytest.raises(ArgumentError, match=message):
            client.push(item)
    assert redis.keys() == []


# --- middleware -----------------------------------------------------------------------------------


def test_middleware_may_change_everything(client: Client, redis: redis_py.Redis) -> None:
    def route(name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        payload.update(queue=f"{queue}-{name}", cattr={"user": 5})
        return call_next()

    client.middleware.add(route)
    client.push({"class": "A", "args": []})
    [payload] = queued(redis, "queue:default-A")
    assert payload["cattr"] == {"user": 5}
    assert redis.smembers("queues") == {b"default-A"}


def test_middleware_sees_the_time(client: Client, redis: redis_py.Redis) -> None:
    seen: list[Any] = []

    def look(name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        seen.append(payload.get("at"))
        return call_next()

    client.middleware.add(look)
    client.push({"class": "A", "args": [], "at": 4_102_444_800})
    client.push({"class": "A", "args": []})
    assert seen == [4_102_444_800.0, None]
    assert "at" not in scheduled(redis)[0][0]


def test_middleware_may_stop_a_push(client: Client, redis: redis_py.Redis) -> None:
    def odd_only(name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        return call_next() if payload["args"][0] % 2 else None

    client.middleware.add(odd_only)
    assert client.push({"class": "A", "args": [2]}) is None
    jids = client.push_bulk({"class": "A", "args": [[1], [2], [3]]})
    assert [jid is None for jid in jids] == [False, True, False]
    assert [each["args"] for each in queued(redis)] == [[1], [3]]


def test_what_middleware_leaves_is_checked(client: Client, redis: redis_py.Redis) -> None:
    def spoil(name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        payload.update(payload["kwargs"])
        return call_next()

    client.middleware.add(spoil)
    for kwargs, message in (
        ({"queue": "a b"}, "queue 'a b'"),
        ({"args": {}}, "'args' of A must be a list"),
    ):
        with pytest.raises(ArgumentError, match=message):
            client.push({"class": "A", "args": [], "kwargs": kwargs})
    client.middleware.clear()
    client.middleware.add(lambda name, payload, queue, call_next: payload.update(x={1}) or True)
    with pytest.raises(ArgumentError, match="A: option x is of type set"):
        client.push({"class": "A", "args": []})
    assert redis.keys() == []


def test_a_client_may_have_its_own_chain(client: Client, redis: redis_py.Redis) -> None:
    before = client.middleware
    client.middleware = before.copy()
    before.add(lambda *_: None)
    assert client.push({"class": "A", "args": []})


def test_a_client_made_by_hand_has_the_chain_of_the_default_application() -> None:
    assert Client().middleware is client_middleware


# --- bulk -----------------------------------------------------------------------------------------


def test_bulk_in_batches_and_in_order(client: Client, redis: redis_py.Redis) -> None:
    before: Any = redis.info("commandstats")
    jids = client.push_bulk({"class": "A", "args": ([n] for n in range(2_500)), "queue": "low"})
    after: Any = redis.info("commandstats")
    payloads = queued(redis, "queue:low")
    assert [each["args"] for each in payloads] == [[n] for n in range(2_500)]
    assert [each["jid"] for each in payloads] == jids
    assert len(set(jids)) == 2_500
    calls = [each.get("cmdstat_lpush", {"calls": 0})["calls"] for each in (before, after)]
    assert calls[1] - calls[0] == 3


@pytest.mark.parametrize("fields", [{}, {"at": 3600}, {"spread_interval": 60}])
def test_bulk_of_large_jobs_is_bounded_in_bytes(
    client: Client,
    redis: redis_py.Redis,
    monkeypatch: pytest.MonkeyPatch,
    fields: dict[str, Any],
) -> None:
    """In what is sent at once, and in what is taken from a generator before that."""
    size, jobs = 100_000, 60
    sent: list[int] = []
    made: list[int] = []
    send = Transport._send

    def recorded(self: Transport, packed: bytes, replies: int) -> None:
        sent.append(len(packed))
        made.append(len(taken))
        send(self, packed, replies)

    monkeypatch.setattr(Transport, "_send", recorded)
    taken: list[int] = []

    def calls() -> Iterator[list[Any]]:
        for number in range(jobs):
            taken.append(number)
            yield [number, "x" * size]

    jids = client.push_bulk({"class": "A", "args": calls(), **fields})
    assert max(sent) < BATCH_BYTES + size + 10_000
    assert len(sent) == 6
    assert made[0] == len(taken) / 5 - 1 == 11
    found = [one for one, _ in scheduled(redis)] if fields else queued(redis)
    assert sorted(each["jid"] for each in found) == sorted(map(str, jids))
    assert fields or [each["args"][0] for each in found] == list(range(jobs))


def test_scheduled_bulk(client: Client, redis: redis_py.Redis) -> None:
    client.push_bulk({"class": "A", "args": [[n] for n in range(250)], "at": 3600})
    assert len(scheduled(redis)) == 250
    redis.flushall()
    times = [4_102_444_800 + n for n in range(3)]
    client.push_bulk({"class": "A", "args": [[0], [1], [2]], "at": times})
    assert [(each["args"][0], at) for each, at in scheduled(redis)] == list(enumerate(times))
    redis.flushall()
    client.push_bulk({"class": "A", "args": [[0], [1]], "at": [1_500_000_000, 60]})
    assert [each["args"] for each in queued(redis)] == [[0]]
    assert [each["args"] for each, _ in scheduled(redis)] == [[1]]


def test_spread_bulk(client: Client, redis: redis_py.Redis) -> None:
    client.push_bulk({"class": "A", "args": [[n] for n in range(200)], "spread_interval": 100})
    waits = [at - each["created_at"] for each, at in scheduled(redis)]
    assert len(waits) == 200
    assert 0 < min(waits) < 20
    assert 80 < max(waits) <= 101


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"class": "A"}, "'args' to be a list of argument lists"),
        ({"class": "A", "args": {}}, "'args' to be a list of argument lists"),
        ({"class": "A", "args": "ab"}, "'args' to be a list of argument lists"),
        (
            {"class": "A", "args": [1]},
            "every call of a bulk push must be a list of arguments, not 1",
        ),
        ({"class": "A", "args": [[1]], "jid": "x"}, "an id of its own; omit 'jid'"),
        ({"class": "A", "args": [[1]], "at": 5, "spread_interval": 9}, "not both"),
        ({"class": "A", "args": [[1], [2]], "at": [60]}, "'at' has 1 times for 2 jobs"),
        ({"class": "A", "args": [[1]], "at": [60, 70]}, "'at' has 2 times for 1 jobs"),
        ({"class": "A", "args": [[1]], "queue": "a b"}, "queue 'a b'"),
        ({"class": "A", "args": [[1], [{2}]]}, r"argument args\[0\] is of type set"),
    ],
)
def test_bulk_refusals(
    client: Client, redis: redis_py.Redis, item: dict[str, Any], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        client.push_bulk(item)
    assert redis.keys() == []


def test_bulk_that_fails_half_way_says_so(client: Client, redis: redis_py.Redis) -> None:
    calls = [[n] for n in range(1_500)] + [[{1}]]
    with pytest.raises(ArgumentError, match=r"\(1,000 jobs before it have been pushed\)"):
        client.push_bulk({"class": "A", "args": calls})
    assert redis.llen("queue:default") == 1_000


def test_empty_bulk_pushes_nothing(client: Client, redis: redis_py.Redis) -> None:
    assert client.push_bulk({"class": "A", "args": []}) == []
    assert redis.keys() == []


# --- failures -------------------------------------------------------------------------------------

ITEM = {"class": "A", "args": []}


def test_no_server_names_the_place() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"Redis at 127.0.0.1:{port} did not take"):
            Client(f"redis://:secret@127.0.0.1:{port}/0").push(ITEM)


def test_no_server_is_one_short_traceback_with_advice() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UnavailableError) as caught:
            Client(f"redis://{address}/0").push(ITEM)
    shown = "".join(traceback.format_exception(caught.value))
    assert shown.count("Traceback") == 1
    assert "redis.exceptions" not in shown
    assert str(caught.value) == (
        f"Redis at {address} did not take the job: Error 111 connecting to {address}. Connection "
        "refused. Is it running at this address? The address is that of configure() or Client(), "
        "or of $JOBD_REDIS or $REDIS_URL"
    )
    assert caught.value.__context__ is not None
    assert isinstance(caught.value.__context__.__cause__, redis_py.ConnectionError)


def test_no_sentinel_names_the_service_and_no_internals() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(UnavailableError) as caught:
            Client(f"redis+sentinel://:secret@127.0.0.1:{port}/shop").push(ITEM)
    said = str(caught.value)
    wanted = "Redis at Sentinel's shop did not take the job: no Sentinel names a server for 'shop'"
    assert said.startswith(f"{wanted}; 127.0.0.1:{port} says: Error 111 connecting")
    assert "<redis" not in str(caught.value)


def test_a_wrong_password_is_said_to_be_one() -> None:
    with EmbeddedServer() as own, redis_py.Redis.from_url(own.url) as redis:
        redis.config_set("requirepass", "secret")
        path = own.url.removeprefix("unix://")
        with pytest.raises(UnavailableError, match="check the user and the password"):
            Client(f"unix://:wrong@{path}").push(ITEM)


def test_no_socket_names_the_place(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=f"Redis at {tmp_path}/none.sock did not take"):
        Client(f"unix://{tmp_path}/none.sock").push(ITEM)


def test_a_connection_that_the_server_closed_is_replaced(
    client: Client, redis: redis_py.Redis
) -> None:
    client.push(ITEM)
    for _ in range(3):
        redis.client_kill_filter(_type="normal", skipme=True)
        client.push(ITEM)
    assert len(queued(redis)) == 4


def test_server_gone_and_back() -> None:
    with EmbeddedServer() as own:
        client = Client(own.url)
        client.push(ITEM)
        own.stop()
        with pytest.raises(UnavailableError):
            client.push(ITEM)
        own.start()
        client.push(ITEM)
        with redis_py.Redis.from_url(own.url) as redis:
            assert len(queued(redis)) == 2


def test_server_that_refuses_writes() -> None:
    with EmbeddedServer() as own, redis_py.Redis.from_url(own.url) as redis:
        client = Client(own.url)
        client.push(ITEM)
        redis.replicaof("127.0.0.1", "1")
        with pytest.raises(UnavailableError, match=r"did not take the job.*read only"):
            client.push(ITEM)
        redis.replicaof("NO", "ONE")
        client.push(ITEM)
        redis.config_set("maxmemory", 1)
        with pytest.raises(UnavailableError, match=r"refused the push: .*maxmemory"):
            client.push(ITEM)
        redis.config_set("maxmemory", 0)
        assert len(queued(redis)) == 2


def test_an_unanswered_push_is_never_sent_again(tmp_path: Path) -> None:
    """The peer reads the push and hangs up: it may have stored the job."""
    received: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "s"))
        listening.listen()

        def serve() -> None:
            while True:
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    while b"LPUSH" not in (data := peer.recv(65536)):
                        peer.sendall(b"+OK\r\n" * data.count(b"*"))
                    received.append(data)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnavailableError, match="may or may not have been stored"):
            Client(f"unix://{tmp_path}/s").push(ITEM)
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert len(received) == 1
    assert received[0].count(b"LPUSH") == 1
    assert b"SADD" in received[0], "one write carries both commands"


# --- processes and threads ------------------------------------------------------------------------


def test_threads_share_a_client(client: Client, redis: redis_py.Redis) -> None:
    def work(number: int) -> None:
        for n in range(50):
            client.push({"class": "A", "args": [number, n]})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pushed = [tuple(each["args"]) for each in queued(redis)]
    assert sorted(pushed) == [(number, n) for number in range(8) for n in range(50)]


def test_a_fork_gets_its_own_connection(client: Client, redis: redis_py.Redis) -> None:
    client.push(ITEM)
    pids = []
    for _ in range(3):
        if (pid := os.fork()) == 0:
            code = 1
            try:
                for _ in range(20):
                    client.push(ITEM)
                code = 0
            finally:
                os._exit(code)
        pids.append(pid)
    for _ in range(20):
        client.push(ITEM)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0, 0]
    assert len(queued(redis)) == 81


def test_importing_jobd_is_light() -> None:
    heavy = "redis hiredis structlog psutil click daemon asyncio"
    code = f"import sys, jobd; print(*[m for m in {heavy.split()} if m in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.split() == []
