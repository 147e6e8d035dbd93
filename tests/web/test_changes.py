"""Requests that change something: were they wished for, and are they of a bearable size?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
import redis as redis_py
from httpx2 import Response as Answer
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from jobd.web import Role, User
from jobd.web.access import bodies
from jobd.web.app import Dashboard, dashboard
from jobd.web.request import body_of, form_of
from tests.web.frame import bearer, browser, guarded, log_in, token_of, with_form


def with_echo(app: Dashboard) -> Dashboard:
    """The same with a page that says what was sent to it."""

    def echo(request: Request) -> Response:
        return PlainTextResponse(f"{form_of(request).multi_items()} {len(body_of(request))}")

    async def body(request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    app.router.routes += [
        Route("/echo", echo, methods=["POST"]),
        Route("/body", body, methods=["POST"]),
    ]
    return with_form(app)


@pytest.fixture
def alice(redis: redis_py.Redis) -> TestClient:
    client = browser(with_echo(guarded(redis)), url="http://jobs.example:7420")
    log_in(client)
    return client


def post(client: TestClient, **headers: str) -> Answer:
    """A form that has the right token."""
    token = token_of(client.get("/form"))
    answer: Answer = client.post("/echo", data={"csrf": token}, headers=headers)
    return answer


HOST = "jobs.example:7420"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://behind.a.proxy"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Origin": f"http://{HOST}"}, True),
        ({"Origin": f"https://{HOST}"}, True),
        ({"Origin": f"http://{HOST.upper()}"}, True),
        ({"Origin": "http://jobs.example"}, False),
        ({"Origin": "http://jobs.example:7421"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://jobs.example:7420.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "http://["}, False),
        ({"Origin": "http://jobs.example:x"}, False),
        ({"Origin": ""}, False),
        # A proxy that asks us by another name: no page of another site can send this header.
        ({"Origin": "https://jobs.public", "X-Forwarded-Host": "jobs.public"}, True),
        ({"Origin": "https://jobs.public", "X-Forwarded-Host": "jobs.public:443"}, True),
        ({"Origin": "https://evil.example", "X-Forwarded-Host": "jobs.public"}, False),
    ],
)
def test_where_a_change_may_come_from(
    alice: TestClient, headers: dict[str, str], allowed: bool
) -> None:
    answer = post(alice, **headers)
    assert answer.status_code == (200 if allowed else 403), answer.text
    # A script has no browser that could be misled, but what a browser sends is believed.
    client = browser(alice.app, url=f"http://{HOST}")
    sent = client.post("/echo", headers={**bearer(), **headers})
    assert sent.status_code == (200 if allowed else 403)


@pytest.mark.parametrize("token", ["", "x", "é", "AAAA", "%00", "A" * 43 + "=", "A" * 100_000])
def test_a_change_needs_the_token_of_a_form(alice: TestClient, token: str) -> None:
    answer = alice.post("/echo", data={"csrf": token})
    assert answer.status_code == 403
    assert "this form is too old" in answer.text
    assert alice.post("/echo").status_code == 403


def test_the_token_of_somebody_else_is_none(alice: TestClient) -> None:
    other = browser(alice.app, url=f"http://{HOST}")
    log_in(other, "vera")
    token = token_of(other.get("/form"))
    assert alice.post("/echo", data={"csrf": token}).status_code == 403
    assert alice.post("/echo", headers={"X-CSRF-Token": token_of(alice.get("/form"))}).is_success


def test_a_password_with_the_request_needs_the_token_too(redis: redis_py.Redis) -> None:
    """A browser sends it by itself, once it was asked for."""
    from tests.web.test_gate import basic

    client = browser(with_echo(guarded(redis)))
    headers = basic("alice", "correct horse battery")
    assert client.post("/echo", headers=headers).status_code == 403
    token = token_of(client.get("/form", headers=headers))
    assert client.post("/echo", headers={**headers, "X-CSRF-Token": token}).status_code == 200


def test_users_of_the_application_need_the_token_too(redis: redis_py.Redis) -> None:
    def who(request: Request) -> User | None:
        return User("ada", Role.ADMIN) if request.cookies.get("staff") else None

    client = browser(with_echo(dashboard(redis, login=who)))
    client.cookies.set("staff", "1")
    assert client.post("/echo").status_code == 403
    token = token_of(client.get("/form"))
    assert client.post("/echo", data={"csrf": token}).status_code == 200
    # With a token of the application's own in the header, which no browser sends by itself.
    assert client.post("/echo", headers=bearer("of the application")).status_code == 200


def test_nobody_is_logged_in_from_another_site(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    given = {"name": "alice", "password": "correct horse battery"}
    assert client.post("/login", data=given).status_code == 403
    given["csrf"] = token_of(client.get("/login"))
    evil = client.post("/login", data=given, headers={"Sec-Fetch-Site": "cross-site"})
    assert evil.status_code == 403
    assert client.get("/").status_code == 303
    assert redis.dbsize() == 0


def test_other_methods_change_something_too(alice: TestClient) -> None:
    for method in ("PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"):
        assert alice.request(method, "/echo").status_code == 403
    assert browser(alice.app).request("DELETE", "/api/v1/queues?queue=q").status_code == 401


def test_what_an_address_cannot_do_is_said(alice: TestClient) -> None:
    wrong = alice.get("/echo")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    api = alice.delete("/api/v1/stats", headers=bearer())
    assert (api.status_code, api.headers["content-type"]) == (405, "application/problem+json")
    assert set(api.headers["allow"].split(", ")) == {"GET", "HEAD"}
    assert alice.options("/").status_code == 405
    assert alice.head("/").status_code == 200
    assert alice.head("/").text == ""


# -- bodies --------------------------------------------------------------------------------------


def test_forms_are_read_as_they_are(alice: TestClient) -> None:
    token = token_of(alice.get("/form"))
    sent = f"a=1&a=2&empty=&name=%C3%A9%FF&csrf={token}&%00=%0d%0a"
    headers = {"Content-Type": "Application/X-WWW-Form-URLencoded; charset=utf-8"}
    answer = alice.post("/echo", content=sent, headers=headers)
    assert answer.text.startswith(
        "[('a', '1'), ('a', '2'), ('empty', ''), ('name', 'é\ufffd'), ('csrf', "
    )
    assert answer.text.endswith(f"('\\x00', '\\r\\n')] {len(sent)}")
    assert alice.post("/body", content=sent, headers=headers).text == str(len(sent))


def test_too_much_is_refused_before_it_is_read(alice: TestClient) -> None:
    many = 4 * 1024 * 1024
    assert alice.post("/body", content=b"x" * many, headers=bearer()).text == str(many)
    assert alice.post("/body", content=b"x" * (many + 1), headers=bearer()).status_code == 413
    # Strangers may send less: only what a login takes.
    answer = alice.post("/login", content=b"x" * 20_000)
    assert answer.status_code == 413
    stranger = browser(alice.app)
    assert stranger.post("/body", content=b"x" * many).status_code == 401


def test_a_body_without_a_length_is_counted(alice: TestClient) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for _ in range(1000):
            taken += 65536
            yield b"x" * 65536

    assert alice.post("/body", content=endless(), headers=bearer()).status_code == 413


def test_a_million_fields_are_refused(alice: TestClient) -> None:
    headers = {**bearer(), "Content-Type": "application/x-www-form-urlencoded"}
    began = time.perf_counter()
    answer = alice.post("/echo", content=b"a&" * 1_000_000, headers=headers)
    assert answer.status_code == 413
    assert time.perf_counter() - began < 2


def test_a_body_that_does_not_come_ends_the_request(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "WITHIN", 0.1)
    found: list[Any] = []

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        found.append(message)

    headers = [(b"host", b"localhost"), (b"authorization", bearer()["Authorization"].encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": "/body",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        "client": ("127.0.0.1", 1),
    }
    anyio.run(with_echo(guarded(redis)), scope, receive, send)
    assert found[0]["status"] == 408


def test_a_huge_query_is_only_a_query(alice: TestClient) -> None:
    assert alice.get("/?" + "a=b&" * 10_000).status_code == 200
    assert alice.get("/api/v1/jobs?" + "queue=b&" * 5_000).status_code == 400
    stranger = browser(alice.app).get("/?" + "x" * 50_000)
    assert stranger.status_code == 303
