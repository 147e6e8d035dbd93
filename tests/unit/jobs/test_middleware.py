"""The chain's operations, and what its links see."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from jobd.jobs.middleware import Chain

Next = Callable[[], Any]


class Trace:
    """Notes in the payload's log when it is entered and left."""

    def __init__(self, label: str = "") -> None:
        self.label = label or type(self).__name__

    def __call__(self, name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        payload["log"].append(f"+{self.label}")
        result = call_next()
        payload["log"].append(f"-{self.label}")
        return result


class A(Trace): ...


class B(Trace): ...


class C(Trace): ...


def refuse(name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
    return None


def order(chain: Chain[str]) -> str:
    payload: dict[str, Any] = {"log": []}
    chain.invoke("Job", payload, "q", lambda: None)
    entered = [each[1:] for each in payload["log"] if each[0] == "+"]
    assert [each[1:] for each in payload["log"] if each[0] == "-"] == entered[::-1]
    return " ".join(entered)


@pytest.fixture
def chain() -> Chain[str]:
    made: Chain[str] = Chain()
    made.add(A)
    made.add(B)
    return made


def test_runs_outermost_first(chain: Chain[str]) -> None:
    assert order(chain) == "A B"


def test_add_appends_and_moves(chain: Chain[str]) -> None:
    chain.add(C, "c2")
    assert order(chain) == "A B c2"
    chain.add(A, "a2")
    assert order(chain) == "B c2 a2"


def test_prepend_moves_to_the_front(chain: Chain[str]) -> None:
    chain.prepend(B, "b2")
    assert order(chain) == "b2 A"
    chain.prepend(C)
    assert order(chain) == "C b2 A"


def test_insert_before(chain: Chain[str]) -> None:
    chain.insert_before(B, C, "c2")
    assert order(chain) == "A c2 B"
    chain.insert_before(A, C, "ignored: it is there already")
    assert order(chain) == "c2 A B"
    chain.remove(A)
    chain.insert_before(A, B)
    assert order(chain) == "B c2"


def test_insert_after(chain: Chain[str]) -> None:
    chain.insert_after(A, C, "c2")
    assert order(chain) == "A c2 B"
    chain.insert_after(B, C, "ignored: it is there already")
    assert order(chain) == "A B c2"
    chain.remove(B)
    chain.insert_after(B, A)
    assert order(chain) == "c2 A"


def test_insert_next_to_itself(chain: Chain[str]) -> None:
    chain.insert_after(A, A)
    chain.insert_before(B, B)
    assert sorted(order(chain).split()) == ["A", "B"]


def test_remove_exists_clear_entries(chain: Chain[str]) -> None:
    assert chain.exists(A)
    assert [entry.target for entry in chain.entries] == [A, B] == [e.target for e in chain]
    chain.remove(A)
    chain.remove(C)
    assert not chain.exists(A)
    assert len(chain) == 1
    chain.clear()
    assert not chain
    assert chain.entries == ()


def test_copy_is_independent(chain: Chain[str]) -> None:
    other = chain.copy()
    other.remove(A)
    assert order(chain) == "A B"
    assert order(other) == "B"


def test_empty_chain_just_calls() -> None:
    chain: Chain[str] = Chain()
    assert chain.invoke("Job", {}, "q", lambda: 7) == 7


def test_classes_get_a_new_instance_for_every_job() -> None:
    seen = []

    class Once:
        def __call__(self, name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
            seen.append(self)
            return call_next()

    chain: Chain[str] = Chain()
    chain.add(Once)
    chain.invoke("Job", {}, "q", lambda: None)
    chain.invoke("Job", {}, "q", lambda: None)
    assert len({id(each) for each in seen}) == 2


def test_functions_and_stopping(chain: Chain[str]) -> None:
    chain.insert_after(A, refuse)
    assert order(chain) == "A"
    assert chain.invoke("Job", {"log": []}, "q", lambda: 7) is None


def test_links_see_subject_payload_and_queue() -> None:
    def check(name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        payload["seen"] = [name, queue]
        return call_next()

    chain: Chain[str] = Chain()
    chain.add(check)
    payload: dict[str, Any] = {}
    assert chain.invoke("Job", payload, "q", lambda: "done") == "done"
    assert payload == {"seen": ["Job", "q"]}


def test_changing_the_chain_spares_invocations_under_way(chain: Chain[str]) -> None:
    def clearing(name: str, payload: dict[str, Any], queue: str, call_next: Next) -> Any:
        chain.clear()
        return call_next()

    chain.prepend(clearing)
    assert order(chain) == "A B"


class NoCall: ...


def test_refuses_what_cannot_be_called(chain: Chain[str]) -> None:
    with pytest.raises(TypeError, match="must be a class or a function"):
        chain.add("Trace")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="NoCall needs a __call__ method"):
        chain.add(NoCall)
    with pytest.raises(TypeError, match="only a middleware class takes arguments"):
        chain.add(refuse, 5)


class Dual(Trace):
    """Middleware of both kinds."""

    async def acall(self, name: str, payload: dict[str, Any], queue: str, call_next: Any) -> Any:
        payload["log"].append(f"+async {self.label}")
        result = await call_next()
        payload["log"].append(f"-async {self.label}")
        return result


@pytest.mark.parametrize("entry", [Dual, Dual()], ids=["class", "object"])
def test_middleware_of_both_kinds_surrounds_either_without_a_thread(entry: Any) -> None:
    chain = Chain[str]()
    chain.add(entry)
    assert not chain.needs_thread
    assert (chain.plain, chain.asynchronous) == ([], [])
    log: list[str] = []
    chain.invoke("job", {"log": log}, "mail", lambda: log.append("run"))
    assert log == ["+Dual", "run", "-Dual"]

    async def run() -> None:
        log.append(f"run in {threading.current_thread().name}")

    log.clear()
    asyncio.run(chain.ainvoke("job", {"log": log}, "mail", run))
    assert log == ["+async Dual", "run in MainThread", "-async Dual"]
    log.clear()
    asyncio.run(chain.ainvoke("job", {"log": log}, "mail", lambda: log.append("run")))
    assert log == ["+Dual", "run", "-Dual"]


def test_the_second_form_must_be_async() -> None:
    class Wrong(Trace):
        def acall(self) -> None: ...

    with pytest.raises(TypeError, match="must be async def"):
        Chain[str]().add(Wrong)
