"""What travels with a push, and what is refused."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextvars import Context, ContextVar
from typing import Any

import pytest

from jobd import App, ArgumentError, carry, current_job, trace_context
from jobd.jobs.context import CurrentJob, set_current
from jobd.jobs.propagation import MOST_CARRIED, propagation
from jobd.wire import attachments, payload

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-1af7651916cd43dd8448eb211c80319c-c7ad6b7169203331-01"

tenant: ContextVar[Any] = ContextVar("tenant", default="nobody")
user: ContextVar[Any] = ContextVar("user")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    propagation.reset()
    yield
    propagation.reset()


def made(**fields: Any) -> dict[str, Any]:
    """The payload of a push."""
    item = {"class": "A", "args": [], "jid": "new", "queue": "q", **fields}
    ready = App().client.prepare(item, None, None)
    assert ready is not None
    return ready[0]


def inside(raw: bytes, **fields: Any) -> dict[str, Any]:
    """The payload of a push by the job in *raw*."""

    def push() -> dict[str, Any]:
        set_current(CurrentJob(payload.parse(raw), raw, "q", None))
        return made(**fields)

    return Context().run(push)


def test_nothing_is_looked_at_where_nothing_travels() -> None:
    code = (
        "import jobd; from jobd.jobs.propagation import propagation;"
        "jobd.configure(); jobd.job(name='a')(print); print(propagation.active)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert shown.stdout == "False\n"
    assert made().keys() == {"class", "args", "jid", "queue"}
    propagation.follow()
    assert made().keys() == {"class", "args", "jid", "queue"}
    assert inside(b'{"class":"B","args":[],"jid":"up"}').keys() == made().keys()


def test_only_what_is_set_travels() -> None:
    carry(tenant, user)
    carry(tenant)

    def push() -> dict[str, Any]:
        assert "jobd" not in made()
        user.set(None)
        assert made()["jobd"] == {"v": 1, "context": {"user": None}}
        tenant.set({"id": 7, "small": 1e-7})
        return made(jobd={"v": 1, "expires_at": 5.0})

    found = Context().run(push)
    raw = payload.encode(found)
    assert b'"context":{"tenant":{"id":7,"small":0.0000001},"user":null}' in raw
    assert found["jobd"]["expires_at"] == 5.0
    read = attachments.read(payload.parse(raw).jobd)
    assert read.context == {"tenant": {"id": 7, "small": 1e-7}, "user": None}
    assert payload.to_json(attachments.written(read)) == payload.to_json(found["jobd"])


def test_what_a_payload_has_already_stays() -> None:
    carry(tenant)

    def push() -> None:
        tenant.set("acme")
        by_hand = {"v": 1, "context": {"tenant": "other"}, "parent": "p"}
        found = made(jobd=by_hand, traceparent=OTHER)
        assert found["jobd"] == by_hand
        with trace_context(TRACE):
            assert made(traceparent=OTHER)["traceparent"] == OTHER

    Context().run(push)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a"}, "A: the carried context variable tenant is of type set, which JSON cannot carry"),
        ([1, float("nan")], r"variable tenant\[1\] is nan"),
        (
            "x" * 1100,
            "take 1,113 bytes of JSON, but at most 1,024 travel with a job; the largest, ",
        ),
        ("\ud800", "tenant holds a lone surrogate"),
    ],
)
def test_values_that_cannot_travel(value: Any, words: str) -> None:
    carry(tenant)

    def push() -> None:
        tenant.set(value)
        with pytest.raises(ArgumentError, match=words):
            made()

    Context().run(push)


def test_as_much_as_fits() -> None:
    carry(tenant)

    def push() -> None:
        tenant.set("x" * (MOST_CARRIED - len('{"tenant":""}')))
        made()
        tenant.set("x" * (MOST_CARRIED - len('{"tenant":""}') + 1))
        with pytest.raises(ArgumentError, match=r"tenant, takes 1,01\d"):
            made()

    Context().run(push)


def test_what_cannot_be_carried() -> None:
    with pytest.raises(ArgumentError, match=r"ContextVar objects, not 'tenant'"):
        carry("tenant")  # type: ignore[arg-type]
    carry(tenant)
    with pytest.raises(ArgumentError, match="two context variables called 'tenant'"):
        carry(ContextVar("tenant"))


def test_parents_are_recorded_where_something_travels() -> None:
    raw = b'{"class":"B","args":[],"jid":"up","jobd":{"v":1,"root":"first","parent":"x"}}'
    propagation.follow()
    assert "jobd" not in inside(raw)
    propagation.follow(lineage=True)
    assert inside(raw)["jobd"] == {"v": 1, "parent": "up", "root": "first"}
    assert inside(b'{"class":"B","args":[],"jid":"up"}')["jobd"] == {
        "v": 1,
        "parent": "up",
        "root": "up",
    }
    assert "jobd" not in made()
    for odd in (b'{"class":"B","args":[]}', b'{"class":"B","args":[],"jid":"%s"}' % (b"x" * 999)):
        assert "jobd" not in inside(odd)
    foreign = b'{"class":"B","args":[],"jid":"up","jobd":{"v":9}}'
    assert inside(foreign)["jobd"]["root"] == "up"


def test_a_trace_goes_on() -> None:
    raw = b'{"class":"B","args":[],"jid":"up","traceparent":"%s","tracestate":"a=b"}'
    propagation.follow()
    found = inside(raw % TRACE.encode())
    assert (found["traceparent"], found["tracestate"]) == (TRACE, "a=b")
    assert found["jobd"] == {"v": 1, "parent": "up", "root": "up"}
    assert inside(raw % TRACE.encode(), traceparent=OTHER)["traceparent"] == OTHER
    assert "traceparent" not in inside(raw % b"nonsense")

    def push() -> None:
        with trace_context(TRACE, "c=d"):
            assert made()["tracestate"] == "c=d"
            with trace_context(OTHER, "x" * 513):
                assert made()["traceparent"] == OTHER
                assert "tracestate" not in made()
            with trace_context(None):
                assert "traceparent" not in made()
            assert made()["traceparent"] == TRACE
        assert "traceparent" not in made()
        trace_context(TRACE)
        assert made()["traceparent"] == TRACE

    Context().run(push)
    assert "traceparent" not in made()


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (TRACE, True),
        ("", False),
        ("00-" + "0" * 32 + TRACE[35:], False),
        (TRACE.replace("b7ad6b7169203331", "0" * 16), False),
        ("ff" + TRACE[2:], False),
        ("01" + TRACE[2:] + "-more", True),
        (TRACE + "-more", False),
        (TRACE.upper(), False),
        (TRACE + "\n", False),
    ],
)
def test_a_trace_is_as_w3c_says(text: str, valid: bool) -> None:
    def push() -> dict[str, Any]:
        trace_context(text)
        return made()

    assert Context().run(push).get("traceparent") == (text if valid else None)


def test_in_place() -> None:
    app = App()
    carry(tenant)
    seen: list[Any] = []

    def look() -> None:
        seen.append((tenant.get(), current_job().traceparent, current_job().payload.get("jobd")))

    @app.job(name="inner")
    def inner() -> None:
        look()

    @app.job(name="inner_async")
    async def inner_async() -> None:
        await asyncio.sleep(0)
        look()

    @app.job(name="outer")
    def outer() -> None:
        look()
        inner.perform_inline()
        inner_async.perform_inline()
        tenant.set("of the job")

    def middleware(job: Any, item: Any, queue: str, call_next: Any) -> Any:
        assert tenant.get() == "acme"
        return call_next()

    app.server_middleware.add(middleware)

    def push() -> None:
        tenant.set("acme")
        with trace_context(TRACE):
            outer.perform_inline()
        assert tenant.get() == "acme"

    Context().run(push)
    assert [one[:2] for one in seen] == [("acme", TRACE)] * 3
    (_, _, first), (_, _, second), (_, _, third) = seen
    assert first == {"v": 1, "context": {"tenant": "acme"}}
    assert second["parent"] == third["parent"] == second["root"]


def test_a_variable_that_is_not_carried_here_is_told_once() -> None:
    carry(tenant)

    def start() -> None:
        assert propagation.restore({"tenant": 1, "gone": 2}) == ["gone"]
        assert propagation.restore({"tenant": 3, "gone": 2}) == []
        assert tenant.get() == 3

    Context().run(start)
    assert tenant.get() == "nobody"


class Language:
    """A value that is not in a context variable."""

    name = "language"

    def __init__(self) -> None:
        self.active: Any = None

    def current(self) -> Any:
        return self.active

    def restore(self, value: Any) -> None:
        self.active = value


def test_what_is_not_in_a_context_variable_travels_where_there_is_something() -> None:
    language = Language()
    propagation.carry_also(language)
    assert "jobd" not in made()
    language.active = "de"
    assert attachments.read(made()["jobd"]).context == {"language": "de"}
    carry(tenant)

    def push() -> dict[str, Any]:
        tenant.set("acme")
        return made()

    fields = Context().run(push)
    assert attachments.read(fields["jobd"]).context == {"tenant": "acme", "language": "de"}
    assert propagation.restore({"language": "fr"}) == []
    assert language.active == "fr"
    with pytest.raises(ArgumentError, match="two context variables called 'language'"):
        carry(ContextVar("language"))
