"""What every answer has and what none has: headers, errors, files."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
import redis as redis_py
from starlette.testclient import TestClient

from jobd.api import Api
from jobd.errors import RefusedError, UnavailableError
from jobd.testing import EmbeddedServer
from jobd.web.access.headers import POLICY
from jobd.web.app import Dashboard, dashboard
from jobd.web.shared.state import State
from tests.web.frame import bearer, browser, guarded, log_in


@pytest.fixture
def app(redis: redis_py.Redis) -> Dashboard:
    return guarded(redis)


@pytest.fixture
def alice(app: Dashboard) -> TestClient:
    client = browser(app)
    log_in(client)
    return client


@pytest.mark.parametrize(
    "path",
    ["/", "/nowhere", "/login", "/static/app.css", "/static/none", "/api/v1/stats", "/healthz"],
)
def test_every_answer_is_guarded(alice: TestClient, path: str) -> None:
    headers = alice.get(path).headers
    assert headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cache-control"] == ("no-cache" if path == "/static/app.css" else "no-store")
    assert "server" not in headers


def test_a_file_is_kept_for_ever_where_it_cannot_change(alice: TestClient) -> None:
    page = alice.get("/").text
    (address,) = {part for part in page.split('"') if "/static/app.css" in part}
    kept = alice.get(address)
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert alice.get("/static/app.css?v=000000000000").headers["cache-control"] == "no-cache"
    again = alice.get("/static/app.css", headers={"If-None-Match": kept.headers["etag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("digits", ["9" * 400, "9" * 5000, str(2**63), str(2**63 - 1)])
def test_numbers_beyond_all_bounds(alice: TestClient, redis: redis_py.Redis, digits: str) -> None:
    """Whoever can write to Redis, or change an address, makes no page unusable by them."""
    api = Api(redis)
    keys, now, beat = api.keys, time.time(), "host:7:0123456789ab"
    redis.mset({keys.processed: digits, keys.failed: digits})
    redis.sadd(keys.processes, beat)
    info = f'{{"hostname":"host","pid":{digits[:4000]},"concurrency":{digits[:4000]}}}'
    redis.hset(keys.process(beat), mapping={"info": info, "beat": now})
    redis.hset(
        keys.process(beat), mapping=dict.fromkeys(("busy", "rss", "rtt_us", "quiet"), digits)
    )
    for key in (keys.metrics_minute(now), keys.metrics_ten_minutes(now)):
        redis.hset(key, mapping=dict.fromkeys(("A|p", "A|f", "A|ms"), digits))
    redis.xadd(keys.audit, {"id": "x", "who": "bob", "action": "delete", "jobs": digits})
    redis.zadd(keys.trash, {"x": now + 900})
    redis.hset(keys.trashed("x"), mapping={"who": "bob", "origin": "dead", "jobs": digits})
    pages = ["/", "/busy", "/classes", "/classes?hours=72", "/classes/one?name=A", "/audit"]
    pages += ["/trash", "/metrics"]
    of_api = ["stats", "processes", "classes", "class?name=A", "history", "audit", "trash"]
    for path in [*pages, *(f"/api/v1/{name}" for name in of_api)]:
        assert alice.get(path).status_code == 200, path
    shown = 2**63 - 1 if digits == str(2**63 - 1) else 0
    assert alice.get("/api/v1/stats").json()["failed"] == shown
    cursor = digits if len(digits) > 20 else "9" * 20
    for path in (
        *(f"/dead?q=a&cursor={cursor}", f"/queue?name=q&q=a&cursor={cursor}"),
        *(f"/find?jid=a&cursor={cursor}@dead", f"/audit?before={cursor[:30]}-1"),
    ):
        assert alice.get(path).status_code == 400, path


def test_a_fault_of_ours_shows_nothing_of_it(
    alice: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(state: State) -> None:
        raise ZeroDivisionError("redis://:hunter2@db")

    monkeypatch.setattr(State, "counters", broken)
    page = alice.get("/")
    assert page.status_code == 500
    assert page.headers["content-security-policy"] == POLICY
    for word in ("Traceback", "ZeroDivision", "hunter2", ".py"):
        assert word not in page.text
    (ref,) = re.findall(r"error (\w+) in GET", caplog.text)
    assert ref in page.text
    told = alice.get("/api/v1/stats", headers=bearer())
    assert told.status_code == 500
    assert told.json()["title"] == "Internal error"
    assert "ZeroDivisionError" in caplog.text


def test_what_is_asked_for_is_shown_as_text(alice: TestClient) -> None:
    stranger = browser(alice.app)
    page = browser(dashboard(alice.app.shared.api, local=True)).get(  # type: ignore[attr-defined]
        "/", headers={"Host": "<script>alert(1)</script>"}
    )
    assert page.status_code == 403
    assert "<script>alert" not in page.text
    form = stranger.get("/login?next=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in form.text


# -- without Redis -------------------------------------------------------------------------------


@pytest.fixture
def leaving() -> Iterator[EmbeddedServer]:
    server = EmbeddedServer(tcp=True).start()
    yield server
    server.stop()


def test_when_redis_goes_away_pages_say_so_and_come_back_by_themselves(
    leaving: EmbeddedServer,
) -> None:
    app = guarded(Api(f"{leaving.url}"))
    client = browser(app)
    log_in(client)
    assert client.get("/readyz").status_code == 200
    leaving.stop()
    app.shared.snapshots.changed()
    page = client.get("/")
    assert page.status_code == 503
    assert "Redis does not answer" in page.text
    assert page.headers["refresh"] == "5"
    assert page.headers["retry-after"] == "5"
    told = client.get("/api/v1/queues", headers=bearer())
    assert (told.status_code, told.json()["status"]) == (503, 503)
    assert "This page retries by itself." in page.text
    assert "by itself" not in told.text
    assert client.get("/metrics", headers=bearer()).status_code == 503
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["detail"]) == (503, "Redis does not answer.")
    # The process itself is well, and files are served.
    assert client.get("/healthz").text == "ok\n"
    assert client.get("/static/app.css").status_code == 200


def test_a_wrong_password_of_redis_is_a_refusal(redis: redis_py.Redis) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    client = browser(
        guarded(Api(redis_py.Redis(unix_socket_path=path, username="nobody", password="x")))
    )
    told = client.get("/api/v1/queues", headers=bearer())
    assert (told.status_code, told.json()["title"]) == (503, "Redis refuses")
    assert ".." not in told.json()["detail"]


def test_what_redis_refuses_is_said_too(redis: redis_py.Redis) -> None:
    redis.set("stat:processed", 1)
    redis.lpush("jobd:audit", "x")
    client = browser(guarded(redis))
    told = client.get("/api/v1/audit", headers=bearer())
    assert told.status_code == 503
    assert told.json()["title"] == "Redis refuses"
    assert "WRONGTYPE" in told.json()["detail"]


@pytest.mark.parametrize("url", ["redis://app:hunter2@127.0.0.1:1/0", "redis://:hunter2@[::1]:1"])
def test_no_password_of_redis_is_shown(url: str, caplog: pytest.LogCaptureFixture) -> None:
    client = browser(guarded(url))
    for path in ("/", "/api/v1/redis", "/readyz", "/metrics"):
        answer = client.get(path, headers=bearer())
        assert answer.status_code == 503
        assert "hunter2" not in answer.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("kind", [UnavailableError, RefusedError])
def test_no_password_in_an_error_of_redis_is_shown(
    alice: TestClient, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    def broken(state: State) -> None:
        raise kind("cannot reach redis://app:hunter2@db:6379/0")

    monkeypatch.setattr(State, "counters", broken)
    for path in ("/", "/api/v1/stats"):
        answer = alice.get(path, headers=bearer())
        assert answer.status_code == 503
        assert "redis://app:***@db:6379/0" in answer.text


@pytest.mark.parametrize("text", ["a\r\nX-Evil: 1", "a%0d%0aX-Evil:%201", "\n\nbody", "é\u2028"])
def test_nothing_is_added_to_a_header(alice: TestClient, text: str) -> None:
    stranger = browser(alice.app)
    for answer in (
        stranger.get("/x", params={"a": text}),
        stranger.get("/" + quote(text)),
        stranger.get("/login", params={"next": "/" + text}),
        log_in(stranger, next="/" + text),
    ):
        assert "x-evil" not in answer.headers
        assert answer.headers.get("location", "").isascii()
