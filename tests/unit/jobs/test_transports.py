"""What is put in the place of Redis, or around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
import redis as redis_py

from jobd import App, ArgumentError, Job, shield
from jobd.graphs.plan import Plan
from jobd.jobs import bulk
from jobd.jobs.pending import Pending
from jobd.jobs.transports import AsyncTransport, Source, Transport, replaced, within
from jobd.store.conflict import Conflict
from jobd.wire.attachments import AttachedPush


class Memory:
    """Keeps what is pushed."""

    def __init__(self) -> None:
        self.trips: list[dict[str, list[bytes]]] = []
        self.due: list[tuple[float, bytes]] = []
        self.attached: list[AttachedPush] = []
        self.plans: list[Plan] = []
        self.other: redis_py.Redis | None = None

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self.trips.append({queue: list(payloads) for queue, payloads in queues.items()})

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self.due += due

    def push(self, jobs: Sequence[AttachedPush], _now: float) -> list[Conflict | None]:
        self.attached += jobs
        return [Conflict("other", 1.5) for _ in jobs]

    def start(self, plan: Plan) -> None:
        self.plans.append(plan)

    def holder(self, _key: str) -> str | None:
        return "other"

    # As a replacement.
    def transport(self, _client: Source) -> Any:
        return self

    def atransport(self, _client: Source) -> Any:
        return None

    def redis(self, _client: Source) -> redis_py.Redis | None:
        return self.other

    @property
    def arguments(self) -> list[Any]:
        return [
            msgspec.json.decode(raw)["args"]
            for queues in self.trips
            for payloads in queues.values()
            for raw in payloads
        ]


class HeldBack:
    """Puts a list of pending pushes around a transport."""

    def __init__(self) -> None:
        self.pending = Pending()
        self.inner: Transport | None = None

    def transport(self, inner: Transport) -> Transport:
        self.inner = inner
        return Holding(self.pending, inner)

    def atransport(self, inner: AsyncTransport) -> AsyncTransport:
        return inner


class Holding:
    def __init__(self, pending: Pending, inner: Transport) -> None:
        self.enqueue, self.schedule, self.push = pending.enqueue, pending.schedule, pending.push
        self.holder, self.start = inner.holder, pending.start


@pytest.fixture
def app() -> App:
    app = App()
    app.configure("redis://127.0.0.1:1/0")  # nothing listens there
    return app


def test_the_innermost_replacement_counts_in_all_threads(app: App) -> None:
    add = app.job(name="Add")(lambda a: a)
    outer, inner = Memory(), Memory()
    with replaced(outer):
        add.perform_async(1)
        with replaced(inner):
            thread = threading.Thread(target=add.perform_async, args=(2,))
            thread.start()
            thread.join()
        add.perform_async(3)
    assert (outer.arguments, inner.arguments) == ([[1], [3]], [[2]])


def test_replacements_that_end_out_of_order(app: App) -> None:
    add = app.job(name="Add")(lambda a: a)
    first, second = Memory(), Memory()
    one, two = replaced(first), replaced(second)
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    add.perform_async(1)
    two.__exit__(None, None, None)
    assert (first.arguments, second.arguments) == ([], [[1]])


def test_a_client_through_something_leaves_the_other_alone(app: App) -> None:
    app.job(name="Add")(lambda a: a)
    memory, held = Memory(), HeldBack()
    with replaced(memory):
        app.client.through(held).push({"class": "Add", "args": [1]})
        app.client.push({"class": "Add", "args": [2]})
        assert memory.arguments == [[2]]
        held.pending.send(memory, 5.0)
    assert memory.arguments == [[2], [1]]


def test_a_block_holds_back_its_own_pushes_only(app: App) -> None:
    add = app.job(name="Add")(lambda a: a)
    memory, held = Memory(), HeldBack()
    with replaced(memory):
        with within(held):
            add.perform_async(1)
            thread = threading.Thread(target=add.perform_async, args=(2,))
            thread.start()
            thread.join()
        add.perform_async(3)
    assert memory.arguments == [[2], [3]]
    assert len(held.pending) == 1


def test_held_pushes_have_the_time_at_which_they_are_sent(app: App) -> None:
    add = app.job(name="Add")(lambda a: a)
    pending, memory = Pending(), Memory()
    with replaced(HoldingPlace(pending, memory)):
        add.perform_async(1)
        add.perform_in(60, 2)
        add.set(unique=True, unique_for=60).perform_async(3)
    assert len(pending) == 3
    pending.send(memory, 12345.5)
    [[[raw]]] = [queues.values() for queues in memory.trips]
    assert msgspec.json.decode(raw)["enqueued_at"] == 12345.5
    [(_at, raw)] = memory.due
    assert "enqueued_at" not in msgspec.json.decode(raw)
    assert len(memory.attached) == 1


def test_held_pushes_are_sent_in_portions(app: App) -> None:
    add = app.job(name="Add")(lambda a: a)
    pending, memory = Pending(), Memory()
    with replaced(HoldingPlace(pending, memory)):
        add.perform_bulk([[number] for number in range(bulk.BATCH + 1)])
        add.set(queue="low").perform_async("x")
    pending.send(memory, 1.0)
    assert [sum(map(len, queues.values())) for queues in memory.trips] == [bulk.BATCH, 2]
    assert memory.arguments == [*([number] for number in range(bulk.BATCH + 1)), ["x"]]


def test_held_pushes_of_all_kinds_are_sent_in_their_order(app: App) -> None:
    add = app.job(name="Add")(lambda a: a)
    unique = add.set(unique=True, unique_for=60)
    pending, order = Pending(), Ordered()
    with replaced(HoldingPlace(pending, order)):
        unique.perform_async(1)
        add.perform_async(2)
        add.perform_async(3)
        unique.perform_async(4)
        add.perform_in(60, 5)
        add.perform_async(6)
    more = Pending()
    more.extend(pending)
    more.send(order, 1.0)
    assert order.seen == [[1], [2, 3], [4], [5], [6]]


class Ordered(Memory):
    """Notes the arguments of each call."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def _note(self, raws: Sequence[bytes]) -> None:
        self.seen.append([msgspec.json.decode(raw)["args"][0] for raw in raws])

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._note([raw for payloads in queues.values() for raw in payloads])

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._note([raw for _, raw in due])

    def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        self._note([each.raw for each in jobs])
        return super().push(jobs, now)


def test_a_held_push_that_is_not_let_in_is_logged(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    add = app.job(name="Add", unique=True, unique_for=60, on_conflict="raise")(lambda a: a)
    pending, memory = Pending(), Memory()
    with replaced(HoldingPlace(pending, memory)):
        jid = add.perform_async(1)
    with caplog.at_level("INFO", "jobd.client"):
        pending.send(memory, 1.0)
    assert f"the push of job {jid} was refused (raise): job other" in caplog.text


class HoldingPlace(Memory):
    """Pending pushes in the place of Redis."""

    def __init__(self, pending: Pending, inner: Transport) -> None:
        self._holding = Holding(pending, inner)

    def transport(self, _client: Source) -> Any:
        return self._holding


def test_a_job_through_something_leaves_the_other_alone(app: App) -> None:
    class Add(Job, app=app, name="Add"):
        def perform(self, a: int) -> None: ...

    plain = app.job(name="Plain")(lambda a: a)
    memory, held = Memory(), HeldBack()
    with replaced(memory):
        Add.through(held).set(queue="low").perform_async(1)
        plain.through(held).perform_bulk([[2]])
        plain.perform_async(3)
    assert memory.arguments == [[3]]
    held.pending.send(memory, 1.0)
    assert memory.arguments == [[3], [1], [2]]


def test_copies_of_a_client_share_its_connections(app: App) -> None:
    client = app.client
    copies = [client.through(HeldBack()), client.through(None).through(None)]
    assert {id(each._own()) for each in copies} == {id(client._own())}
    assert {id(each._aown()) for each in copies} == {id(client._aown())}


def test_an_application_pushes_through_it_however_it_is_configured_later() -> None:
    app = App()
    held = HeldBack()
    app.push_through(held)
    memory = Memory()
    with replaced(memory):
        app.client.push({"class": "A", "args": [1]})
        app.configure(prefix="other:")
        app.client.push({"class": "A", "args": [2]})
        assert memory.arguments == []
        app.push_through(None)
        app.client.push({"class": "A", "args": [3]})
    assert memory.arguments == [[3]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: within(HeldBack()), r"within\(\) had no effect: use it in a with statement"),
        (shield, r"jobd.shield\(\) had no effect"),
    ],
)
def test_a_block_that_was_never_entered_warns(make: Callable[[], object], said: str) -> None:
    with pytest.warns(RuntimeWarning, match=said):
        make()


def test_a_block_decorates_functions(app: App) -> None:
    plain = app.job(name="Plain")(lambda a: a)
    held, memory = HeldBack(), Memory()

    @within(held)
    def push() -> None:
        plain.perform_async(1)

    @within(held)
    def pushes() -> Iterator[int]:
        plain.perform_async(2)
        yield 2

    with replaced(memory):
        push()
        assert list(pushes()) == [2]
    assert memory.arguments == []
    with pytest.raises(ArgumentError, match=r"within\(\) decorates functions, not <class"):
        within(held)(Memory)


def test_what_is_in_the_place_of_redis_is_so_for_more_than_pushes(app: App) -> None:
    memory, own = Memory(), app.client.redis
    with replaced(memory):
        assert app.client.redis is own  # it has nothing else
        memory.other = redis_py.Redis(port=2)
        assert app.client.redis is memory.other
        other = app.client.through(None)
    assert app.client.redis is other.redis is own


def test_a_client_tells_its_application(app: App) -> None:
    assert app.client.app is app.client.through(None).app is app
