"""Who gets in, as whom, and what he may do there."""

from __future__ import annotations

import base64
import functools
from typing import Any
from urllib.parse import unquote

import pytest
import redis as redis_py
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from jobd.api import Api
from jobd.errors import ArgumentError, ConfigError, JobTimeout, Shutdown
from jobd.web import Role, User, dashboard
from tests.web.frame import (
    PASSWORDS,
    TOKEN,
    VIEWING,
    bearer,
    browser,
    guarded,
    log_in,
    raw_status,
    token_of,
    with_form,
)


def basic(name: str, password: str) -> dict[str, str]:
    text = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def test_nobody_is_let_in_by_accident(redis: redis_py.Redis) -> None:
    with pytest.raises(ConfigError, match="users, tokens or login"):
        dashboard(redis)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/nowhere", 303),
        ("/loginx", 303),
        ("/login/", 303),
        ("/healthz/../", 303),
        ("/static", 303),
        ("/staticx/app.css", 303),
        ("//static/app.css", 303),
        ("/api/v1/stats", 401),
        ("/api/v1/nothing", 401),
        ("/api/v1/openapi.json", 401),
        ("/metrics", 401),
        ("/live", 401),
        ("/login", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/static/app.css", 200),
        ("/static/../app.py", 404),
        ("/static/%2e%2e/app.py", 404),
        ("/static/..%2fapp.py", 404),
        ("/static//etc/passwd", 404),
        ("/static/%2fetc/passwd", 404),
        ("/static/vendor", 404),
        ("/static/%00", 404),
    ],
)
def test_strangers_get_the_login_page_and_nothing_else(
    redis: redis_py.Redis, path: str, status: int
) -> None:
    found, headers = raw_status(guarded(redis), unquote(path))
    assert found == status
    if status == 303:
        assert headers["location"].startswith("/login?next=")
    elif status == 401:
        assert headers["content-type"] == "application/problem+json"
        # At a challenge of Basic every browser would open a window.
        assert headers["www-authenticate"].startswith("Bearer")


def test_a_person_logs_in_works_and_logs_out(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    answer = log_in(client)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    page = client.get("/")
    assert page.status_code == 200
    assert "alice · admin" in page.text
    gone = client.post("/logout", data={"csrf": token_of(page)})
    assert gone.headers["location"] == "/login"
    assert client.get("/").status_code == 303


def test_after_logging_in_the_page_that_was_wanted_is_shown(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    asked = client.get("/?days=7&x=a%26b")
    login = client.get(asked.headers["location"])
    assert 'name="next" value="/?days=7&amp;x=a%26b"' in login.text
    assert log_in(client, next="/?days=7&x=a%26b").headers["location"] == "/?days=7&x=a%26b"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/a\\b",
        "/\tevil",
        "/x\r\nSet-Cookie: a=b",
        "evil.example",
        "",
    ],
)
def test_logging_in_leads_to_no_other_site(redis: redis_py.Redis, wanted: str) -> None:
    assert log_in(browser(guarded(redis)), next=wanted).headers["location"] == "/"


def test_scripts_send_a_token_or_a_password(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    assert client.get("/api/v1/stats", headers=bearer()).status_code == 200
    refused = client.get("/api/v1/stats", headers=bearer("wrong"))
    assert (refused.status_code, refused.json()["detail"]) == (401, "the token is not known")
    vera = basic("vera", PASSWORDS["vera"])
    assert client.get("/api/v1/stats", headers=vera).status_code == 200
    wrong = client.get("/api/v1/stats", headers=basic("vera", "wrong"))
    assert wrong.status_code == 401
    assert wrong.headers["www-authenticate"].startswith("Basic")
    for header in ("Basic !!!", "Basic " + base64.b64encode(b"\xff\xfe").decode(), "Basic é"):
        sent = {b"Authorization": header.encode("latin-1")}
        broken = client.get("/api/v1/stats", headers=sent)
        assert broken.status_code == 401
    assert client.get("/", headers={"Authorization": "Digest x"}).status_code == 401
    assert "set-cookie" not in client.get("/api/v1/stats", headers=bearer()).headers


def test_roles_are_checked_where_things_are_done(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    pause = ("POST", "/api/v1/queues/pause", {"queue": "mail"})
    refused = client.request(*pause[:2], json=pause[2], headers=bearer(VIEWING))
    assert refused.status_code == 403
    assert (
        refused.json()["detail"] == "this needs the role operator; prometheus has the role viewer"
    )
    assert not Api(redis).queue("mail").paused
    done = client.request(*pause[:2], json=pause[2], headers=bearer(TOKEN))
    assert (done.status_code, done.json()["changed"]) == (200, 1)
    (entry,) = Api(redis).audit.page()
    assert (entry.who, entry.action, entry.target) == ("deploy", "pause", "queue:mail")


# -- without users -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "address", "header", "status"),
    [
        ("localhost", "127.0.0.1", {}, 200),
        ("localhost:7420", "127.0.0.1", {}, 200),
        ("127.0.0.1:7420", "127.0.0.1", {}, 200),
        ("127.8.8.8", "127.0.0.1", {}, 200),
        ("[::1]:7420", "::1", {}, 200),
        ("LOCALHOST", "127.0.0.1", {}, 200),
        ("evil.example", "127.0.0.1", {}, 403),
        ("localhost.evil.example", "127.0.0.1", {}, 403),
        ("127.0.0.1.evil.example", "127.0.0.1", {}, 403),
        ("localhost@evil.example", "127.0.0.1", {}, 403),
        ("[", "127.0.0.1", {}, 403),
        ("", "127.0.0.1", {}, 403),
        ("localhost", "192.0.2.7", {}, 403),
        ("localhost", "", {}, 403),
        ("localhost", "127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}, 403),
        ("localhost", "127.0.0.1", {"Forwarded": "for=127.0.0.1"}, 403),
        ("localhost", "127.0.0.1", {"X-Real-IP": "192.0.2.7"}, 403),
        ("localhost", "127.0.0.1", {"Via": "1.1 proxy"}, 403),
        *(
            ("localhost", "127.0.0.1", {name: "127.0.0.1"}, 403)
            for name in (
                *(
                    "X-Forwarded-Proto",
                    "X-Forwarded-Server",
                    "X-Forwarded-Host",
                    "X-Forwarded-Port",
                ),
                *("X-Forwarded", "Forwarded-For", "X-Forwarded-By", "X-Original-Forwarded-For"),
                *("CF-Connecting-IP", "CF-Ray", "CF-IPCountry", "CDN-Loop", "True-Client-IP"),
                *("X-Client-IP", "X-Cluster-Client-IP", "Client-IP", "Remote-Addr", "Remote-User"),
                *("Fly-Client-IP", "Fastly-Client-IP", "X-Envoy-External-Address", "X-Azure-Ref"),
                *(
                    "X-Appengine-User-Ip",
                    "X-Amzn-Trace-Id",
                    "X-Scheme",
                    "X-Original-URL",
                    "X-ARR-SSL",
                ),
                *("Front-End-Https", "WL-Proxy-Client-IP", "Proxy-Connection", "Max-Forwards"),
                *("Client-Cert", "X-SSL-Client-Cert", "X-Request-ID", "X-A-New-One-Of-Next-Year"),
            )
        ),
        (
            "localhost",
            "127.0.0.1",
            {
                "Accept-Language": "de",
                "DNT": "1",
                "Priority": "u=0, i",
                "Sec-Fetch-Site": "none",
                "Sec-CH-UA": '"x"',
                "Upgrade-Insecure-Requests": "1",
                "X-Requested-With": "fetch",
                "Last-Event-ID": "1",
            },
            200,
        ),
    ],
)
def test_without_users_only_this_machine_is_trusted(
    redis: redis_py.Redis, host: str, address: str, header: dict[str, str], status: int
) -> None:
    client = browser(dashboard(redis, local=True), address=address)
    answer = client.get("/api/v1/stats", headers={"Host": host, **header})
    assert answer.status_code == status


def test_an_old_http_is_that_of_a_proxy(redis: redis_py.Redis) -> None:
    app = dashboard(redis, local=True)

    def older(version: str) -> Any:
        async def asked(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "http_version": version}, receive, send)

        return browser(asked)

    refused = older("1.0").get("/api/v1/stats")
    assert refused.status_code == 403
    assert "HTTP/1.0 looks like one" in refused.json()["detail"]
    assert older("1.0").get("/healthz").status_code == 200
    assert older("2").get("/api/v1/stats").status_code == 200


# -- the login of the application around us --------------------------------------------------------


def by_header(request: Request) -> User | None:
    name = request.headers.get("x-user")
    return User(name, Role.OPERATOR) if name else None


async def by_header_async(request: Request) -> User | None:
    return by_header(request)


class Callable:
    """A login that is an object."""

    async def __call__(self, request: Request) -> User | None:
        return by_header(request)


@pytest.mark.parametrize("login", [by_header, by_header_async, Callable()])
def test_the_application_says_who_it_is(redis: redis_py.Redis, login: Any) -> None:
    client = browser(dashboard(redis, login=login))
    assert client.get("/api/v1/stats").status_code == 401
    page = client.get("/", headers={"X-User": "ada"})
    assert "ada · operator" in page.text
    # There is nobody who could log in here, so nobody is sent to the login page.
    assert client.get("/").status_code == 401
    assert client.get("/login").status_code == 404


def test_the_login_of_the_application_goes_beside_users(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis, login=by_header))
    assert client.get("/api/v1/stats", headers={"X-User": "ada"}).status_code == 200
    assert client.get("/api/v1/stats", headers=bearer()).status_code == 200
    assert log_in(client).status_code == 303
    assert "alice" in client.get("/").text


def test_what_the_login_raises_refuses(
    redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(request: Request) -> User | None:
        raise LookupError("the secret of the database")

    client = browser(dashboard(redis, login=broken))
    answer = client.get("/")
    assert answer.status_code == 500
    assert "secret of the database" not in answer.text
    assert "login function failed." in answer.text
    assert "the secret of the database" in caplog.text
    assert client.get("/healthz").status_code == 200

    def elsewhere(request: Request) -> User | None:
        raise HTTPException(303, headers={"Location": "https://app.example/login"})

    sent = browser(dashboard(redis, login=elsewhere)).get("/")
    assert (sent.status_code, sent.headers["location"]) == (303, "https://app.example/login")


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), Shutdown(), JobTimeout()])
def test_nothing_that_the_login_raises_ends_the_server(
    redis: redis_py.Redis, error: BaseException
) -> None:
    def broken(request: Request) -> User | None:
        raise error

    client = browser(dashboard(redis, login=broken))
    assert client.get("/").status_code == 500
    assert client.get("/healthz").status_code == 200


def test_a_login_that_would_never_run_is_refused(redis: redis_py.Redis) -> None:
    def by_yield(request: Request) -> Any:
        yield None

    for login in (by_yield, functools.partial(by_yield), "ada"):
        with pytest.raises(ArgumentError, match="login"):
            dashboard(redis, login=login)  # type: ignore[arg-type]


def test_a_change_by_name_and_password_is_told_what_it_takes(redis: redis_py.Redis) -> None:
    """It was told of a form that is too old."""
    client = browser(guarded(redis))
    headers = basic("alice", PASSWORDS["alice"])
    told = client.post("/api/v1/queues/pause", json={"queue": "mail"}, headers=headers)
    assert told.status_code == 403
    assert "Authorization: Bearer" in told.json()["detail"]


@pytest.mark.parametrize("wrong", [True, "ada", ("ada", Role.ADMIN), User("", Role.ADMIN), 1])
def test_what_is_no_user_is_nobody(
    redis: redis_py.Redis, wrong: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = browser(dashboard(redis, login=lambda request: wrong))
    assert client.get("/api/v1/stats").status_code == 500
    assert "must be a jobd.web.User" in caplog.text


@pytest.fixture
def shop(redis: redis_py.Redis) -> TestClient:
    """An application with sessions of its own."""

    def enter(request: Request) -> PlainTextResponse:
        request.session["staff"] = "ada"
        return PlainTextResponse("in")

    def look(request: Request) -> PlainTextResponse:
        return PlainTextResponse(str(dict(request.session)))

    def who(request: Request) -> User | None:
        name = request.session.get("staff")
        return User(name, Role.ADMIN) if name else None

    routes = [Route("/enter", enter), Route("/look", look)]
    app = Starlette(
        routes=[*routes, Mount("/jobs", with_form(dashboard(redis, login=who)))],
        middleware=[Middleware(SessionMiddleware, secret_key="of the shop")],
    )
    return browser(app)


def test_the_session_of_the_application_stays_its_own(shop: TestClient) -> None:
    assert shop.get("/jobs/").status_code == 401
    shop.get("/enter")
    page = shop.get("/jobs/")
    assert "ada · admin" in page.text
    body = {"queue": "mail"}
    headers = {"X-CSRF-Token": token_of(shop.get("/jobs/form"))}
    assert shop.post("/jobs/api/v1/queues/pause", json=body, headers=headers).status_code == 200
    assert shop.get("/look").text == "{'staff': 'ada'}"


def test_websockets_are_closed(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/live"):
        raise AssertionError("it was accepted")
