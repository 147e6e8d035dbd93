"""Sessions: what ends them, and what a cookie is worth to somebody else."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis as redis_py
import time_machine
from itsdangerous import Signer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from jobd.api import Api
from jobd.api.shared.snapshots import Snapshots
from jobd.web.access import revoked as ended_sessions
from jobd.web.access import session
from jobd.web.access.revoked import SEEN_WITHIN, Ended
from jobd.web.access.session import LASTS, cookie_name
from jobd.web.access.users import hash_password
from jobd.web.app import Dashboard, dashboard
from tests.web.frame import PASSWORDS, bearer, browser, guarded, log_in, token_of, users, with_form

SECRET = "of the tests, long enough"


def cookies(client: TestClient) -> dict[str, str]:
    return dict(client.cookies.items())


def with_cookies(app: Any, given: dict[str, str]) -> TestClient:
    client = browser(app)
    for name, value in given.items():
        client.cookies.set(name, value)
    return client


def knows(client: TestClient) -> bool:
    """Whether the dashboard knows who it is."""
    return client.get("/api/v1/stats").status_code == 200


def test_the_cookie_is_for_this_dashboard_only(redis: redis_py.Redis) -> None:
    answer = log_in(browser(guarded(redis)))
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == "jobd_session"
    assert rest.partition(";")[2] == f" Path=/; Max-Age={LASTS}; HttpOnly; SameSite=Lax"


def test_with_tls_the_cookie_goes_nowhere_else(redis: redis_py.Redis) -> None:
    answer = log_in(browser(guarded(redis), url="https://jobs.example"))
    assert answer.headers["set-cookie"].startswith("__Host-jobd_session=")
    assert answer.headers["set-cookie"].endswith("; Secure")
    app = Starlette(routes=[Mount("/jobs", guarded(redis))])
    answer = log_in(browser(app, url="https://jobs.example"), under="/jobs")
    assert answer.headers["set-cookie"].startswith("__Host-jobd_")
    assert "; Path=/;" in answer.headers["set-cookie"]
    assert answer.headers["set-cookie"].endswith("; Secure")


def test_two_dashboards_on_one_host_have_a_session_each(redis: redis_py.Redis) -> None:
    names = {
        cookie_name({"type": "http", "scheme": "http", "root_path": root, "headers": headers})
        for root in ("", "/a", "/b")
        for headers in ([(b"host", b"h")], [(b"host", b"h:7420")], [(b"host", b"[::1]:7421")])
    }
    assert len(names) == 9
    app = Starlette(routes=[Mount("/a", guarded(redis)), Mount("/b", guarded(redis))])
    client = browser(app)
    log_in(client, "alice", under="/a")
    log_in(client, "vera", under="/b")
    assert "alice · admin" in client.get("/a/").text
    assert "vera · viewer" in client.get("/b/").text


def test_logging_in_begins_anew(redis: redis_py.Redis) -> None:
    """What an attacker has put into the browser before is worth nothing afterwards."""
    client = browser(with_form(guarded(redis, secret=SECRET)))
    before = token_of(client.get("/login"))
    planted = cookies(client)
    log_in(client)
    assert cookies(client) != planted
    assert not knows(with_cookies(guarded(redis, secret=SECRET), planted))
    assert client.post("/logout", data={"csrf": before}).status_code == 403


@pytest.mark.parametrize("change", ["", "x", "cut", "other secret", "unsigned"])
def test_a_cookie_cannot_be_made(redis: redis_py.Redis, change: str) -> None:
    app = guarded(redis, secret=SECRET)
    client = browser(app)
    log_in(client, "vera")
    ((name, value),) = cookies(client).items()
    raw, _, signature = value.rpartition(".")
    content = json.loads(base64.urlsafe_b64decode(raw))
    forged = base64.urlsafe_b64encode(json.dumps({**content, "user": "alice"}).encode()).decode()
    made = {
        "": f"{forged}.{signature}",
        "x": value + "x",
        "cut": value[:-3],
        "other secret": Signer("something else", salt="jobd.web.session").sign(forged).decode(),
        "unsigned": forged,
    }
    assert not knows(with_cookies(app, {name: made[change]}))
    assert knows(with_cookies(app, {name: value}))


def test_a_session_ends_after_twelve_hours_however_busy_it_is(redis: redis_py.Redis) -> None:
    app = guarded(redis)
    start = time.time()
    with time_machine.travel(start, tick=False) as clock:
        client = browser(app)
        log_in(client)
        for hour in range(1, 12):
            clock.move_to(start + hour * 3600)
            assert client.get("/").status_code == 200
        clock.move_to(start + LASTS - 1)
        kept = cookies(client)
        assert knows(client)
        clock.move_to(start + LASTS + 1)
        assert not knows(with_cookies(app, kept))


def test_a_session_ends_with_its_user_his_password_or_his_role(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis, secret=SECRET))
    log_in(client)
    kept = cookies(client)
    others = [line for line in users() if not line.startswith("alice:")]
    same = next(line for line in users() if line.startswith("alice:"))

    def after(*entries: str) -> TestClient:
        return with_cookies(dashboard(redis, users=[*others, *entries], secret=SECRET), kept)

    assert knows(after(same))
    assert not knows(after())
    assert not knows(after(f"alice:admin:{hash_password(PASSWORDS['alice'])}"))
    assert "alice · viewer" in after(same.replace(":admin:", ":viewer:")).get("/").text
    assert not knows(with_cookies(guarded(redis, secret="another secret, long enough"), kept))


def test_after_logging_out_a_copied_cookie_is_worth_nothing(redis: redis_py.Redis) -> None:
    here, elsewhere = guarded(redis, secret=SECRET), guarded(redis, secret=SECRET)
    client = browser(here)
    log_in(client)
    copied = cookies(client)
    assert knows(with_cookies(here, copied))
    client.post("/logout", data={"csrf": token_of(client.get("/"))})
    assert not knows(with_cookies(here, copied))
    # Another process hears of it within seconds, and one that has just been started at once.
    assert not knows(with_cookies(elsewhere, copied))
    key = Api(redis).keys.web_ended
    assert redis.zcard(key) == 1
    assert LASTS < redis.ttl(key) <= LASTS + 60
    # Others are not hurt.
    assert log_in(browser(here), "vera").status_code == 303
    assert SEEN_WITHIN <= 10


def test_nobody_brings_a_session_back_by_logging_out_often(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else's is remembered; of his own the older ones end together."""
    most = 100
    monkeypatch.setattr(ended_sessions, "MOST_OF_USER", most)
    api, start = Api(redis), time.time()
    ended = Ended(api, Snapshots())
    with time_machine.travel(start, tick=False) as clock:
        stolen = browser(app := guarded(redis, secret=SECRET))
        log_in(stolen)
        kept = cookies(stolen)
        stolen.post("/logout", data={"csrf": token_of(stolen.get("/"))})
        others = browser(app)
        log_in(others, "alice")
        sessions = []
        for number in range(most + 1):
            clock.move_to(start + number)
            if number in (most // 4, most - 10):
                sessions.append(browser(app))
                log_in(sessions[-1], "vera")
            assert api.redis.zcard(api.keys.web_ended) == 1 + number
            ended.add("vera", f"{number:016x}", time.time() + LASTS)
        # One for alice's, a mark, and the later half of vera's.
        assert api.redis.zcard(api.keys.web_ended) == 2 + most // 2
        for number in range(2_000):
            ended.add("vera", f"{number:016x}0", start + 1 + LASTS)
            ended.add("oscar", f"{number:016x}", time.time() + LASTS)
        assert api.redis.zcard(api.keys.web_ended) <= 2 + 2 * (most + 1)
        for now in (guarded(redis, secret=SECRET), guarded(redis, secret=SECRET)):
            assert not knows(with_cookies(now, kept))
            assert knows(with_cookies(now, cookies(others)))
            known = [knows(with_cookies(now, cookies(session))) for session in sessions]
            assert known == [False, True]
        clock.move_to(start + LASTS + most + 120)
        ended.add("vera", "later", time.time() + LASTS)
        assert api.redis.zcard(api.keys.web_ended) == 1


def app_with_flash(redis: redis_py.Redis, text: str) -> Dashboard:
    def act(request: Request) -> Response:
        session.flash(request, text, undo="18f-0123abcd")
        return PlainTextResponse("done")

    def look(request: Request) -> Response:
        return PlainTextResponse(repr(session.take_flash(request)))

    app = guarded(redis)
    app.router.routes += [Route("/act", act), Route("/look", look)]
    return app


@pytest.mark.parametrize(
    "text",
    ["3 jobs", "", "€" * 100_000, "\r\nSet-Cookie: a=b", "💥" * 300, "\x00<b>", "\x01" * 400],
)
def test_a_message_is_shown_once_and_fits_into_the_cookie(redis: redis_py.Redis, text: str) -> None:
    client = browser(app_with_flash(redis, text))
    log_in(client)
    answer = client.get("/act")
    (cookie,) = answer.headers.get_list("set-cookie")
    assert len(cookie) < 4096
    assert "\r" not in cookie
    shown = text if len(text) <= 300 else text[:299] + "…"
    assert client.get("/look").text == repr((shown, "18f-0123abcd"))
    assert client.get("/look").text == "None"
    assert knows(client)


def test_the_token_of_the_forms_never_looks_the_same(redis: redis_py.Redis) -> None:
    client = browser(with_form(guarded(redis)))
    log_in(client)
    tokens = {token_of(client.get("/form")) for _ in range(5)}
    assert len(tokens) == 5
    for token in sorted(tokens)[:4]:
        assert client.post("/api/v1/none", headers={"X-CSRF-Token": token}).status_code == 404


# -- where Redis refuses, what decides about security is not known ---------------------------------


@pytest.fixture
def rules(redis: redis_py.Redis) -> Iterator[Callable[..., Any]]:
    """Sets what a user of Redis may do, and gives a client that is that user."""
    acl: Any = redis.execute_command
    path = redis.connection_pool.connection_kwargs["path"]

    def may(*rules: str) -> redis_py.Redis:
        acl("ACL", "SETUSER", "web", "reset", "on", ">x", "~*", "+@all", *rules)
        return redis_py.Redis(unix_socket_path=path, username="web", password="x")

    yield may
    acl("ACL", "DELUSER", "web")


def stale(app: Dashboard) -> None:
    """What was read a moment ago is forgotten."""
    app.shared.snapshots.changed()


@pytest.mark.parametrize("trouble", ["NOPERM", "WRONGTYPE", "away"])
def test_a_session_is_not_believed_where_nobody_knows_whether_it_has_ended(
    redis: redis_py.Redis, rules: Callable[..., redis_py.Redis], trouble: str
) -> None:
    away = "/nowhere/redis.sock"
    app = guarded(Api(rules()), secret=SECRET)
    client = browser(app)
    log_in(client)
    copied = cookies(client)
    client.post("/logout", data={"csrf": token_of(client.get("/"))})
    key = Api(redis).keys.web_ended
    if trouble == "WRONGTYPE":
        redis.delete(key)
        redis.set(key, "x")
    elif trouble == "NOPERM":
        rules("-zrange")
    else:
        app = guarded(Api(redis_py.Redis(unix_socket_path=away)), secret=SECRET)
    stale(app)
    stolen = with_cookies(app, copied)
    for path in ("/", "/api/v1/openapi.json", "/live", "/queues"):
        answer = stolen.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), path
    refused = stolen.post("/queues/act", data={"action": "pause", "name": "mail"})
    assert refused.status_code == 503
    # Where no session decides, nothing has changed.
    assert stolen.get("/api/v1/openapi.json", headers=bearer()).status_code == 200


@pytest.mark.parametrize("rule", ["-zadd", "-zcard", "-zremrangebyscore"])
def test_who_could_not_be_logged_out_can_try_again(
    redis: redis_py.Redis, rules: Callable[..., redis_py.Redis], rule: str
) -> None:
    app = guarded(Api(rules(rule)), secret=SECRET)
    client = browser(app)
    log_in(client)
    copied, token = cookies(client), token_of(client.get("/"))
    assert client.post("/logout", data={"csrf": token}).status_code == 503
    rules()
    assert client.post("/logout", data={"csrf": token}).status_code == 303
    stale(app)
    assert not knows(with_cookies(app, copied))


@pytest.mark.parametrize(
    ("key", "value"), [("set", "x"), ("set", "9" * 30), ("lpush", "x"), ("set", "-")]
)
@pytest.mark.parametrize("proven", [True, False])
def test_nobody_is_let_in_while_the_wrong_passwords_cannot_be_counted(
    redis: redis_py.Redis, key: str, value: str, proven: bool
) -> None:
    client = browser(guarded(redis))
    text = base64.b64encode(f"vera:{PASSWORDS['vera']}".encode()).decode()
    sent = {"Authorization": f"Basic {text}"}
    if proven:
        assert client.get("/api/v1/stats", headers=sent).status_code == 200
    count = Api(redis).keys.web_attempts("address:127.0.0.1")
    redis.delete(count)
    getattr(redis, key)(count, value)
    refused = client.get("/api/v1/stats", headers=sent)
    assert refused.status_code in (429, 503)
    assert log_in(client, "vera").status_code in (429, 503)
    assert not knows(client)


@pytest.mark.parametrize("rule", ["-expire", "-incrby", "-ttl", "-get", "-evalsha"])
def test_nor_where_redis_refuses_a_part_of_it(
    rules: Callable[..., redis_py.Redis], rule: str
) -> None:
    client = browser(guarded(Api(rules(rule))))
    assert log_in(client, "vera").status_code == 503
    assert not knows(client)


@pytest.mark.parametrize("rule", ["-xadd", "-xdel", "-xrevrange"])
def test_without_its_entry_in_the_audit_log_nothing_is_changed(
    redis: redis_py.Redis, rules: Callable[..., redis_py.Redis], rule: str
) -> None:
    redis.lpush("queue:mail", '{"class":"A","args":[],"jid":"a"}')
    client = browser(guarded(Api(rules(rule))))
    for method, path in (("POST", "/api/v1/queues/pause"), ("DELETE", "/api/v1/queues?queue=mail")):
        body = {"queue": "mail"} if method == "POST" else None
        refused = client.request(method, path, headers=bearer(), json=body)
        assert refused.status_code == 503
        assert "audit log" in refused.json()["detail"]
    assert (redis.llen("queue:mail"), redis.scard("paused")) == (1, 0)
    rules()
    assert client.delete("/api/v1/queues?queue=mail", headers=bearer()).json()["changed"] == 1
