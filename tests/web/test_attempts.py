"""Guessing passwords: it is slow, it is noticed, and it does not hurt others."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import anyio
import pytest
import redis as redis_py
from starlette.requests import Request

from jobd.api import Api
from jobd.api.roles import Role
from jobd.testing import EmbeddedServer
from jobd.web.access import attempts as limits
from jobd.web.access import password_cache
from jobd.web.access import users as hashing
from jobd.web.app import Dashboard
from jobd.web.http_errors import TooMany, Unauthorized
from tests.web.frame import PASSWORDS, browser, guarded, log_in, users


def test_ten_wrong_passwords_and_the_address_must_wait(
    redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    client = browser(guarded(redis))
    for _ in range(limits.MOST_OF_ADDRESS):
        answer = log_in(client, "alice", "wrong password")
        assert answer.status_code == 401
        assert "name or password is wrong" in answer.text
    for password in ("wrong password", PASSWORDS["alice"]):
        answer = log_in(client, "alice", password)
        assert answer.status_code == 429
        assert 800 < int(answer.headers["retry-after"]) <= limits.WITHIN
        assert "Try again in 15 minutes." in answer.text
    # Another address is not hurt, and neither is another user's session.
    assert log_in(browser(guarded(redis), address="192.0.2.9")).status_code == 303
    assert "wrong password for alice from 127.0.0.1" in caplog.text


def test_what_was_typed_is_not_logged(
    redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    log_in(browser(guarded(redis)), "my own password", "wrong password")
    log_in(browser(guarded(redis)))
    assert "my own password" not in caplog.text
    assert "wrong password for an unknown user" in caplog.text
    assert PASSWORDS["alice"] not in caplog.text


def test_the_limit_of_a_name_holds_for_all_addresses(redis: redis_py.Redis) -> None:
    app = guarded(redis)
    for number in range(limits.MOST_OF_NAME):
        client = browser(app, address=f"192.0.2.{number}")
        assert log_in(client, "vera", "wrong password").status_code == 401
    assert log_in(browser(app, address="198.51.100.1"), "vera").status_code == 429
    assert log_in(browser(app, address="198.51.100.1"), "alice").status_code == 303


def test_an_address_of_ipv6_is_its_network(redis: redis_py.Redis) -> None:
    app = guarded(redis)
    answers = [
        log_in(browser(app, address=f"2001:db8::{number:x}"), "alice", "wrong password")
        for number in range(1, limits.MOST_OF_ADDRESS + 2)
    ]
    assert [answer.status_code for answer in answers[-2:]] == [401, 429]


def test_nobody_fills_redis_with_names(redis: redis_py.Redis) -> None:
    client = browser(guarded(redis))
    for number in range(40):
        log_in(client, f"nobody{number}" + "x" * 5000, "wrong password")
    keys = list(redis.scan_iter("*"))
    assert len(keys) == limits.MOST_OF_ADDRESS + 1
    assert all(len(key) < 60 for key in keys)
    assert all(0 < redis.ttl(key) <= limits.WITHIN for key in keys)


def test_logging_in_costs_no_attempt(redis: redis_py.Redis) -> None:
    app = guarded(redis)
    for _ in range(3 * limits.MOST_OF_ADDRESS):
        assert log_in(browser(app)).status_code == 303
    counts = {key: redis.get(key) for key in redis.scan_iter("jobd:web:attempts:*")}
    assert set(counts.values()) <= {b"0"}
    assert all(redis.ttl(key) > 0 for key in counts)


def test_a_count_that_expired_meanwhile_is_not_left_for_ever(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = hashing.Users.with_password

    def slow(self: hashing.Users, name: str, password: str) -> hashing.User | None:
        redis.flushall()  # all that expires, expires now
        return right(self, name, password)

    monkeypatch.setattr(hashing.Users, "with_password", slow)
    assert log_in(browser(guarded(redis))).status_code == 303
    for key in redis.scan_iter("jobd:web:attempts:*"):
        assert redis.ttl(key) > 0


def test_many_guesses_at_once_are_counted_as_many(redis: redis_py.Redis) -> None:
    app = guarded(redis)
    header = {"Authorization": "Basic " + base64.b64encode(b"alice:wrong one").decode()}

    def guess(_: int) -> int:
        return browser(app).get("/api/v1/stats", headers=header).status_code

    with ThreadPoolExecutor(20) as pool:
        found = list(pool.map(guess, range(30)))
    assert found.count(401) == limits.MOST_OF_ADDRESS
    assert found.count(429) == 30 - limits.MOST_OF_ADDRESS


def basic(name: str, password: str = "") -> dict[str, str]:
    text = base64.b64encode(f"{name}:{password or PASSWORDS[name]}".encode()).decode()
    return {"Authorization": f"Basic {text}"}


def asks(app: Dashboard, header: dict[str, str], address: str = "127.0.0.1") -> int:
    """How a script at *address* is answered."""
    return browser(app, address=address).get("/api/v1/stats", headers=header).status_code


def test_who_must_wait_learns_nothing_of_those_who_are_logged_in(redis: redis_py.Redis) -> None:
    """Neither elsewhere nor at the address from which the right password came just now."""
    app = guarded(redis)
    assert log_in(browser(app)).status_code == 303
    for address in ("203.0.113.66", "127.0.0.1"):
        guesses = [basic("alice", f"wrong {n}") for n in range(limits.MOST_OF_ADDRESS)]
        assert [asks(app, guess, address) for guess in guesses] == [401] * limits.MOST_OF_ADDRESS
        assert asks(app, basic("alice"), address) == asks(app, guesses[0], address) == 429
        form = browser(app, address=address)
        right, wrong = log_in(form), log_in(form, "alice", "wrong password")
        assert right.status_code == wrong.status_code == 429
        assert right.text.count("Too many wrong passwords.") == 1
    assert asks(app, basic("vera"), "192.0.2.7") == 200


def test_a_script_with_a_password_is_known_after_the_first_time(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = guarded(redis)
    assert asks(app, basic("vera")) == 200
    for number in range(limits.MOST_OF_NAME):
        guessing = browser(app, address=f"192.0.2.{number}")
        assert log_in(guessing, "vera", "wrong password").status_code == 401
    monkeypatch.setattr(hashing, "_scrypt", lambda *_: pytest.fail("it was hashed again"))
    # Even while somebody guesses elsewhere; he does not learn which password is right.
    assert asks(app, basic("vera")) == 200
    assert asks(app, basic("vera"), "198.51.100.1") == 429


def test_what_is_known_of_a_script_costs_redis_one_round_trip(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = guarded(redis)
    assert asks(app, basic("vera")) == 200
    counted: list[str] = []
    real = limits.Attempts._look

    def counting(self: limits.Attempts, source: str) -> int:
        counted.append(source)
        return real(self, source)

    monkeypatch.setattr(limits.Attempts, "_look", counting)
    monkeypatch.setattr(limits.Attempts, "_count", lambda *_: pytest.fail("it was counted"))
    assert [asks(app, basic("vera")) for _ in range(20)] == [200] * 20
    assert counted == ["127.0.0.1"] * 20


def test_a_password_is_known_for_some_time_only(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = hashing._scrypt

    def counted(password: str, salt: bytes) -> bytes:
        hashed.append(password)
        return real(password, salt)

    app = guarded(redis)
    monkeypatch.setattr(hashing, "_scrypt", counted)
    now = time.monotonic()
    monkeypatch.setattr(password_cache, "time", SimpleNamespace(monotonic=lambda: now))
    for after in (0, password_cache.LASTS - 1, password_cache.LASTS - 1, password_cache.LASTS + 1):
        now += after
        assert asks(app, basic("vera")) == 200
    assert len(hashed) == 2


def test_only_so_many_are_known() -> None:
    known, user = password_cache.Proven(), hashing.User("vera", Role.VIEWER)
    for number in range(password_cache.MOST + 10):
        known.add(f"192.0.2.{number}", "vera", "password", user)
        assert known.get("192.0.2.0", "vera", "password") == user  # used, therefore kept
    found = [known.get(f"192.0.2.{n}", "vera", "password") for n in range(password_cache.MOST + 10)]
    assert found.count(None) == 10
    assert found[0] == found[-1] == user


def test_many_guesses_at_once_are_not_compared_with_what_is_known(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = limits.Attempts(Api(redis), hashing.Users(users()))
    request = Request({"type": "http", "client": ("192.0.2.1", 5000), "headers": []})
    many = limits.MOST_OF_ADDRESS + limits.AT_ONCE
    answers: list[str] = []
    begun = threading.Event()
    real = hashing.Users.with_password

    def slow(self: hashing.Users, name: str, password: str) -> hashing.User | None:
        assert begun.wait(20)
        return real(self, name, password)

    async def guess(password: str) -> None:
        try:
            answers.append((await attempts.check(request, "alice", password)).name)
        except (Unauthorized, TooMany) as refusal:
            answers.append(type(refusal).__name__)

    async def attack() -> None:
        await guess(PASSWORDS["alice"])
        monkeypatch.setattr(hashing.Users, "with_password", slow)
        async with anyio.create_task_group() as tasks:
            for number in range(many):
                tasks.start_soon(guess, f"wrong {number}")
            while attempts._waiting["192.0.2.1"] < many:
                await anyio.sleep(0.01)
            # Most of those are not counted yet.
            tasks.start_soon(guess, PASSWORDS["alice"])
            while attempts._waiting["192.0.2.1"] == many:
                await anyio.sleep(0.01)
            begun.set()

    anyio.run(attack)
    assert answers[0] == "alice"
    assert Counter(answers[1:]) == {
        "Unauthorized": limits.MOST_OF_ADDRESS,
        "TooMany": limits.AT_ONCE + 1,
    }
    assert not attempts._waiting


def seconds(app: Dashboard, name: str, address: str) -> float:
    client = browser(app, address=address)
    began = time.perf_counter()
    assert log_in(client, name, "wrong password").status_code == 401
    return time.perf_counter() - began


def test_a_name_that_does_not_exist_costs_as_much(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = hashing._scrypt

    def counted(password: str, salt: bytes) -> bytes:
        hashed.append(password)
        return real(password, salt)

    monkeypatch.setattr(hashing, "_scrypt", counted)
    app = guarded(redis)
    known, unknown = seconds(app, "alice", "192.0.2.1"), seconds(app, "nobody", "192.0.2.2")
    assert hashed == ["wrong password"] * 2
    assert 0.2 < unknown / known < 5


@pytest.fixture
def gone() -> redis_py.Redis:
    """A server that has gone away."""
    with EmbeddedServer() as server:
        url = server.url
    return redis_py.Redis.from_url(url, protocol=2)


def test_without_redis_nobody_is_let_in(gone: redis_py.Redis) -> None:
    client = browser(guarded(Api(gone)))
    answer = log_in(client)
    assert answer.status_code == 503
    assert "Redis does not answer" in answer.text
    text = base64.b64encode(f"vera:{PASSWORDS['vera']}".encode()).decode()
    header = {"Authorization": f"Basic {text}"}
    assert client.get("/api/v1/stats", headers=header).status_code == 503
