"""A fake push accepts and refuses exactly what a real one does, in the same words, and stores the
same: each call is made twice, at a real server and in ``fake()``."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import re
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest
import redis as redis_py
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobd import App, ArgumentError, Job
from jobd.testing import EmbeddedServer, fake, off

NOW = dt.datetime.now(dt.UTC)
HEX = re.compile(r"\b[0-9a-f]{24}\b")


class Shop:
    """Jobs of every kind. Those that are called wrongly are Any to the type checker."""

    def __init__(self, url: str) -> None:
        self.app = app = App()
        self.client = app.configure(url, max_payload=10_000)

        @app.job(name="shop.welcome", queue="mail")
        def welcome(user_id: int, *, loud: bool = False) -> None: ...

        @app.job(name="shop.sync", unique=True, unique_by="account", on_conflict="raise")
        def sync(account: int, rows: Any = None) -> None: ...

        @app.job(name="shop.stop")
        def stopped() -> None: ...

        @app.job(name="shop.by", unique=True, unique_by=lambda a: a["id"])
        def by(a: Any) -> None: ...

        @app.job(name="shop.until", unique_until="expiry", unique=True)
        def until(a: Any) -> None: ...

        class Resize(Job, app=app, name="shop.Resize"):
            def perform(self, path: str, width: int = 640) -> None: ...

        def middleware(name: str, payload: Any, queue: str, call_next: Any) -> Any:
            if payload["args"] == ["bad"]:
                payload["queue"] = "no such queue!"
            if payload["args"] == ["breaks"]:
                raise LookupError("the middleware breaks")
            return name != "shop.stop" and call_next()

        app.client_middleware.add(middleware)
        self.welcome = cast("Any", welcome)
        self.sync, self.until, self.by = cast("Any", sync), cast("Any", until), cast("Any", by)
        self.Resize, self.stopped = cast("Any", Resize), cast("Any", stopped)


Push = Callable[[Shop], Any]
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]

PUSHES: dict[str, Push] = {
    # Fine.
    "plain": lambda shop: shop.welcome.perform_async(1, loud=True),
    "class": lambda shop: shop.Resize.perform_async("a.png"),
    "later": lambda shop: shop.welcome.perform_in(3600, 1),
    "at": lambda shop: shop.welcome.perform_at(NOW + dt.timedelta(days=1), 1),
    "in the past": lambda shop: shop.welcome.perform_at(NOW - dt.timedelta(days=1), 1),
    "options": lambda shop: shop.welcome.set(queue="low", retry=0, tags=["a"]).perform_async(1),
    "extra": lambda shop: shop.welcome.set(extra={"tenant": "é"}).perform_async(1),
    "attachments": lambda shop: shop.welcome.set(keep_result=5, expires_in=60).perform_async(1),
    "bulk": lambda shop: shop.welcome.perform_bulk([[1], [2]]),
    "bulk later": lambda shop: shop.welcome.perform_bulk([[1], [2]], at=[60, 120]),
    "empty bulk": lambda shop: shop.welcome.perform_bulk([]),
    "by name": lambda shop: shop.client.push({"class": "Invoice", "args": [1], "queue": "ruby"}),
    "by name, later": lambda shop: shop.client.push({"class": "A", "args": [1], "at": 60}),
    "bulk by name": lambda shop: shop.client.push_bulk({"class": "Invoice", "args": [[1], [2]]}),
    "floats": lambda shop: shop.welcome.perform_async([1.0, 1e22, -0.0, 1e-7]),
    "stopped": lambda shop: shop.stopped.perform_async(),
    "unique": lambda shop: shop.sync.perform_async(1, "rows"),
    "debounced": lambda shop: shop.welcome.set(debounce=30, max_wait=60).perform_async(1),
    "by what a function says": lambda shop: shop.by.perform_async({"id": 3}),
    # The signature.
    "no argument": lambda shop: shop.welcome.perform_async(),
    "too many": lambda shop: shop.welcome.perform_async(1, 2),
    "unknown keyword": lambda shop: shop.welcome.perform_async(1, lound=True),
    "later, too many": lambda shop: shop.welcome.perform_in(60, 1, 2),
    "class, no argument": lambda shop: shop.Resize.perform_async(),
    "bulk, too many": lambda shop: shop.welcome.perform_bulk([[1], [2, 3]]),
    "bulk, no list": lambda shop: shop.welcome.perform_bulk([1]),
    "bulk, times": lambda shop: shop.welcome.perform_bulk([[1], [2]], at=[60]),
    "bulk, at and spread": lambda shop: shop.welcome.perform_bulk([[1]], at=60, spread=5),
    # The arguments.
    "bytes": lambda shop: shop.welcome.perform_async(b"1"),
    "tuple": lambda shop: shop.welcome.perform_async([(1, 2)]),
    "set": lambda shop: shop.welcome.perform_async(1, loud={1}),
    "key": lambda shop: shop.welcome.perform_async({1: 2}),
    "NaN": lambda shop: shop.welcome.perform_async(math.nan),
    "datetime": lambda shop: shop.welcome.perform_async({"at": NOW}),
    "Decimal": lambda shop: shop.welcome.perform_async(Decimal(1)),
    "UUID": lambda shop: shop.welcome.perform_async(uuid.UUID(int=0)),
    "object": lambda shop: shop.welcome.perform_async(shop.app.registry.lookup),
    "surrogate": lambda shop: shop.welcome.perform_async("\ud800"),
    "deep": lambda shop: shop.welcome.perform_async(DEEP),
    "large": lambda shop: shop.welcome.perform_async("x" * 20_000),
    "huge": lambda shop: shop.welcome.perform_async(10**5000),
    "bulk, bytes": lambda shop: shop.welcome.perform_bulk([[1], [b"2"], [3]]),
    # The options.
    "unknown option": lambda shop: shop.welcome.set(priority=3).perform_async(1),
    "queue": lambda shop: shop.welcome.set(queue="a b").perform_async(1),
    "retry": lambda shop: shop.welcome.set(retry=-1).perform_async(1),
    "tags": lambda shop: shop.welcome.set(tags="a").perform_async(1),
    "time": lambda shop: shop.welcome.perform_in("60", 1),
    "naive": lambda shop: shop.welcome.perform_at(dt.datetime(2100, 1, 1), 1),
    "attachment": lambda shop: shop.until.perform_async(1),
    "max_wait": lambda shop: shop.welcome.set(max_wait=5).perform_async(1),
    "again": lambda shop: shop.until.set(on_conflict="again", unique_for=5).perform_async(1),
    "unique_by breaks": lambda shop: shop.by.perform_async({}),
    # By name.
    "no dict": lambda shop: shop.client.push(cast("Any", [1])),
    "no class": lambda shop: shop.client.push({"args": []}),
    "no list": lambda shop: shop.client.push({"class": "A", "args": "a"}),
    "jid": lambda shop: shop.client.push({"class": "A", "args": [], "jid": 3}),
    "at by name": lambda shop: shop.client.push({"class": "A", "args": [], "at": "soon"}),
    "eta": lambda shop: shop.client.push({"class": "A", "args": [], "eta": 5}),
    "jobd": lambda shop: shop.client.push({"class": "A", "args": [], "jobd": {"v": 9}}),
    "bulk jid": lambda shop: shop.client.push_bulk({"class": "A", "args": [[]], "jid": "a"}),
    # Client middleware.
    "spoiled": lambda shop: shop.welcome.perform_async("bad"),
    "broken": lambda shop: shop.welcome.perform_async("breaks"),
    # Twice.
    "duplicate": lambda shop: [shop.sync.perform_async(1), shop.sync.perform_async(1)],
    "skipped": lambda shop: [
        shop.sync.set(on_conflict=how).perform_async(1, how)
        for how in ("skip", "skip", "replace", "holder", "again", "again", "skip")
    ],
    "replaced": lambda shop: [
        shop.sync.set(on_conflict=how).perform_in(60, 1, how)
        for how in ("skip", "replace", "replace", "holder", "skip")
    ],
    "debounced twice": lambda shop: [
        shop.welcome.set(debounce=30, max_wait=40).perform_async(1) for _ in range(3)
    ],
    "bulk of unique": lambda shop: shop.sync.perform_bulk([[1], [2], [1]]),
    "until expiry": lambda shop: [
        shop.until.set(unique_for=60, on_conflict=how).perform_async(1) for how in ("skip", "skip")
    ],
    "holder": lambda shop: [
        *(shop.sync.unique_holder(1), shop.sync.perform_async(1)),
        *(shop.sync.unique_holder(1), shop.sync.unique_holder(2)),
    ],
    "holder of one that is not unique": lambda shop: shop.welcome.unique_holder(1),
    # From coroutines.
    "async": lambda shop: asyncio.run(shop.welcome.aperform_async(1)),
    "async later": lambda shop: asyncio.run(shop.welcome.aperform_in(60, 1)),
    "async bulk": lambda shop: asyncio.run(shop.sync.aperform_bulk([[1], [1]])),
    "async by name": lambda shop: asyncio.run(shop.client.apush({"class": "A", "args": [1]})),
    "async bytes": lambda shop: asyncio.run(shop.welcome.aperform_async(b"1")),
    "async duplicate": lambda shop: asyncio.run(shop.sync.aperform_bulk([[1], [1, 2]])),
}


class Outcome:
    """What a push has returned or raised, and what is stored afterwards, by the order of ids."""

    def __init__(self, shop: Shop, push: Push) -> None:
        self._ids: dict[str, str] = {}
        try:
            self.answer = self._named(repr(push(shop)))
        except Exception as error:  # noqa: BLE001 - this is what is compared
            self.answer = self._named(f"{type(error).__name__}: {error}")
        self.stored: list[Any] = []

    def _named(self, text: str) -> str:
        text = re.sub(
            r"has [\d,]+ bytes", "has N bytes", text
        )  # the times have more or fewer digits
        return HEX.sub(lambda jid: self._ids.setdefault(jid[0], f"#{len(self._ids)}"), text)

    def add(self, raw: bytes, queue: str | None, at: float | None) -> None:
        fields = msgspec.json.decode(self._named(raw.decode()))
        self.stored.append((list(fields), _rounded(fields), queue, _rounded(at)))


def _rounded(value: Any) -> Any:
    """Without the moment of the push: times are rounded to the minute."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    if isinstance(value, float) and value > 1e9:
        return round((value - NOW.timestamp()) / 60)
    return value


def really(shop: Shop, redis: redis_py.Redis, push: Push) -> Outcome:
    redis.flushall()
    with off():
        outcome = Outcome(shop, push)
    names = sorted(name.decode() for name in cast("set[bytes]", redis.smembers("queues")))
    for name in names:
        for raw in reversed(cast("list[bytes]", redis.lrange(f"queue:{name}", 0, -1))):
            outcome.add(raw, name, None)
    for raw, at in cast("Any", redis.zrange("schedule", 0, -1, withscores=True)):
        outcome.add(raw, None, at)
    return outcome


def faked(shop: Shop, push: Push) -> Outcome:
    with fake() as jobs:
        outcome = Outcome(shop, push)
        for job in sorted((each for each in jobs if each.at is None), key=lambda each: each.queue):
            outcome.add(job.raw, job.queue, None)
        for job in sorted((each for each in jobs if each.at), key=lambda each: (each.at, each.raw)):
            outcome.add(job.raw, None, job.at)
    return outcome


@pytest.fixture
def shop(server: EmbeddedServer, redis: redis_py.Redis) -> Shop:
    return Shop(server.url)


def assert_same(shop: Shop, redis: redis_py.Redis, push: Push) -> Outcome:
    real, other = really(shop, redis, push), faked(shop, push)
    assert (other.answer, other.stored) == (real.answer, real.stored)
    return real


@pytest.mark.parametrize("what", PUSHES)
def test_a_fake_push_is_a_real_push(shop: Shop, redis: redis_py.Redis, what: str) -> None:
    assert_same(shop, redis, PUSHES[what])


def test_both_kinds_are_among_them(shop: Shop, redis: redis_py.Redis) -> None:
    """The comparison compares something."""
    refused = [what for what in PUSHES if "Error: " in really(shop, redis, PUSHES[what]).answer]
    stored = [what for what in PUSHES if really(shop, redis, PUSHES[what]).stored]
    assert len(refused) > 35
    assert len(stored) > 25


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=5)
    | st.binary(max_size=3)
    | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "queue": st.sampled_from(["low", "a b", "", 3]),
        "retry": st.sampled_from([True, False, 3, -1, "3", None]),
        "unique": st.sampled_from([True, False, 1]),
        "unique_for": st.sampled_from([60, -1, "a", dt.timedelta(hours=1)]),
        "unique_until": st.sampled_from(["success", "start", "expiry", "never"]),
        "on_conflict": st.sampled_from(["skip", "raise", "holder", "replace", "again", "?"]),
        "debounce": st.sampled_from([30, 0, None]),
        "keep_result": st.sampled_from([60, True]),
        "expires_in": st.sampled_from([60, 0]),
        "tags": st.sampled_from([["a"], "a", [1]]),
        "extra": ANYTHING,
        "speed": st.just(1),
    },
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    args=st.lists(ANYTHING, max_size=2),
    kwargs=st.dictionaries(st.sampled_from(["account", "rows", "lines"]), ANYTHING, max_size=2),
    options=OPTIONS,
    due=st.sampled_from([None, 0, 60, -5, "soon", dt.timedelta(hours=1)]),
)
def test_whatever_is_pushed(
    shop: Shop,
    redis: redis_py.Redis,
    args: list[Any],
    kwargs: dict[str, Any],
    options: dict[str, Any],
    due: Any,
) -> None:
    def push(shop: Shop) -> Any:
        chosen = shop.sync.set(**options)
        if due is None:
            return [chosen.perform_async(*args, **kwargs) for _ in range(2)]
        return [chosen.perform_in(due, *args, **kwargs) for _ in range(2)]

    assert_same(shop, redis, push)


def test_a_refused_push_leaves_nothing(shop: Shop) -> None:
    with fake() as jobs:
        with pytest.raises(ArgumentError):
            shop.welcome.perform_async(b"1")
        assert not jobs.pushed()
