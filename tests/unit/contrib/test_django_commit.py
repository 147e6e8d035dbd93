"""Pushes inside transactions of Django: what is pushed, and when."""

# ruff: noqa: PT012 - the blocks that raise are transactions

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import pytest

from tests.unit.contrib.django_site import database

from django.db import connection, connections, transaction  # isort: skip
from django.test import TestCase  # isort: skip

from jobd import App, ArgumentError, UnavailableError
from jobd.contrib.django import now, on_commit
from jobd.contrib.django.commit import OnCommit
from jobd.jobs.transports import replaced
from tests.unit.jobs.test_transports import Memory

pytestmark = pytest.mark.usefixtures("database")
__all__ = ["database"]


class Held(Exception):
    """Rolls a block back."""


class AsyncMemory(Memory):
    """Also for pushes from coroutines."""

    def atransport(self, _client: Any) -> Any:
        memory = self

        class Async:
            async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
                memory.enqueue(queues)

        return Async()


@pytest.fixture
def memory() -> Iterator[Memory]:
    """What Redis would have."""
    memory = AsyncMemory()
    with replaced(memory):
        yield memory


@pytest.fixture
def app() -> App:
    app = App()
    app.configure("redis://127.0.0.1:1/0")  # nothing listens there
    app.push_through(OnCommit("default"))
    return app


@pytest.fixture
def push(app: App) -> Callable[..., str | None]:
    job = app.job(name="Note", queue="mail")(lambda a: a)
    return job.perform_async


def test_without_a_transaction_a_push_is_made_at_once(push: Any, memory: Memory) -> None:
    push(1)
    assert memory.arguments == [[1]]
    with transaction.atomic(using="other"):
        push(2)
        assert memory.arguments == [[1], [2]], "it has waited for the wrong database"


def test_after_the_commit_all_are_pushed_in_their_order_in_one_round_trip(
    push: Any, memory: Memory, app: App
) -> None:
    other = app.job(name="Other", queue="low")(lambda a: a)
    before = time.time()
    with transaction.atomic():
        jids = [push(1), other.perform_async(2), push(3)]
        other.perform_in(60, 4)
        assert memory.trips == []
        transaction.on_commit(lambda: memory.trips.append({}))
        time.sleep(0.01)  # the time of the push is that of the commit
    assert all(isinstance(jid, str) for jid in jids)
    [trip, own] = memory.trips
    assert own == {}
    assert memory.arguments == [[1], [3], [2]]
    pushed = [msgspec.json.decode(raw) for raw in trip["mail"] + trip["low"]]
    assert [one["jid"] for one in pushed] == [jids[0], jids[2], jids[1]]
    assert all(one["enqueued_at"] - one["created_at"] >= 0.01 for one in pushed)
    [(at, _)] = memory.due
    assert at >= before + 60


def test_what_is_rolled_back_is_never_pushed(push: Any, memory: Memory) -> None:
    with pytest.raises(Held), transaction.atomic():
        push(1)
        raise Held
    with transaction.atomic():
        push(2)
        transaction.set_rollback(True)
    with transaction.atomic():
        push(3)
    assert memory.arguments == [[3]]


def test_savepoints(push: Any, memory: Memory) -> None:
    with transaction.atomic():
        push(1)
        with pytest.raises(Held), transaction.atomic():
            push(2)
            with transaction.atomic():
                push(3)  # released, and then rolled back with the savepoint around it
            raise Held
        with transaction.atomic():
            push(4)
            with pytest.raises(Held), transaction.atomic():
                push(5)
                raise Held
            push(6)
        push(7)
        assert memory.trips == []
    assert memory.arguments == [[1], [4], [6], [7]]
    assert len(memory.trips) == 1


def test_savepoints_by_hand_are_what_they_are_to_django(push: Any, memory: Memory) -> None:
    called = []
    create = getattr(transaction, "savepoint_create", None) or transaction.savepoint
    with transaction.atomic():
        sid = create()
        push(1)
        transaction.on_commit(lambda: called.append(1))
        transaction.savepoint_rollback(sid)
    assert len(memory.arguments) == len(called)


def test_the_first_push_may_be_rolled_back(push: Any, memory: Memory) -> None:
    with transaction.atomic():
        with pytest.raises(Held), transaction.atomic():
            push(1)
            raise Held
        push(2)
        push(3)
    assert memory.arguments == [[2], [3]]
    assert len(memory.trips) == 1


def test_a_transaction_that_an_error_of_the_database_has_broken(push: Any, memory: Memory) -> None:
    from django.db.utils import DatabaseError

    with pytest.raises(DatabaseError), transaction.atomic():
        push(1)
        connection.cursor().execute("SELECT nothing FROM nowhere")
    assert memory.trips == []


def test_one_push_may_leave_the_transaction_alone(push: Any, memory: Memory) -> None:
    @now()
    def audit() -> None:
        push(1)

    with pytest.raises(Held), transaction.atomic():
        audit()
        with now():
            push(2)
            with on_commit():
                push(3)
        push(4)
        assert memory.arguments == [[1], [2]]
        raise Held
    assert memory.arguments == [[1], [2]]


def test_a_decorated_coroutine_pushes_at_once(push: Any, memory: Memory) -> None:
    def store() -> None:
        try:
            with pytest.raises(Held), transaction.atomic():
                push(1)
                raise Held
        finally:
            connections.close_all()  # those of this thread

    @now()
    async def view() -> None:
        await asyncio.sleep(0)
        await asyncio.to_thread(store)

    asyncio.run(view())
    assert memory.arguments == [[1]]


def test_django_texts_and_query_sets_are_named_with_what_to_pass_instead(push: Any) -> None:
    from django.contrib.auth.models import Group
    from django.utils.translation import gettext_lazy

    with pytest.raises(ArgumentError, match=r"pass str\(value\)"):
        push(gettext_lazy("a text"))
    with pytest.raises(ArgumentError, match="pass a list of ids and let the job load the objects"):
        push(Group.objects.all())


def test_a_push_may_wait_for_another_database(push: Any, memory: Memory) -> None:
    with transaction.atomic(using="other"), transaction.atomic():
        with on_commit(using="other"):
            push(1)
        push(2)
        assert memory.arguments == []
    assert memory.arguments == [[2], [1]]
    with pytest.raises(ArgumentError, match="unknown database 'nowhere'; DATABASES has default, "):
        on_commit(using="nowhere")


def test_on_commit_is_not_that_of_django(push: Any) -> None:
    with pytest.raises(ArgumentError, match=r"is one for django\.db\.transaction\.on_commit"):
        on_commit(lambda: push(1))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"write with on_commit\(\): or @on_commit\(\)"):

        @on_commit  # type: ignore[arg-type]
        def audit() -> None: ...


@pytest.mark.parametrize("block", [now, on_commit])
def test_a_block_that_is_not_entered_warns(block: Any) -> None:
    with pytest.warns(RuntimeWarning, match=r"had no effect: use it in a with statement"):
        block()


def test_pushes_wait_only_where_that_is_asked_for(app: App, push: Any, memory: Memory) -> None:
    app.push_through(OnCommit(None))
    with transaction.atomic():
        push(1)
        assert memory.arguments == [[1]]
        with on_commit():
            push(2)
        assert memory.arguments == [[1]]
    assert memory.arguments == [[1], [2]]


def test_bulk_pushes_and_those_with_locks_wait_too(app: App, push: Any, memory: Memory) -> None:
    once = app.job(name="Once", unique=True)(lambda a: a)
    bulk = app.job(name="Bulk")(lambda a: a)
    with transaction.atomic():
        jids = bulk.perform_bulk([[n] for n in range(2500)])
        jid = once.perform_async(1)
        assert once.unique_holder(1) == "other", "a question is asked at once"
        assert memory.trips == []
    assert len(set(jids)) == 2500
    assert memory.arguments == [[n] for n in range(2500)]
    assert [one.jid for one in memory.attached] == [jid]


def test_a_thread_beside_a_transaction_does_not_wait(push: Any, memory: Memory) -> None:
    with transaction.atomic():
        push(1)
        thread = threading.Thread(target=push, args=(2,))
        thread.start()
        thread.join()
        assert memory.arguments == [[2]]
    assert memory.arguments == [[2], [1]]


def test_a_coroutine_pushes_at_once(app: App, memory: Memory) -> None:
    job = app.job(name="Note")(lambda a: a)

    async def main() -> None:
        await job.aperform_async(1)

    asyncio.run(main())
    assert memory.arguments == [[1]]


def test_without_autocommit_a_push_does_not_wait(push: Any, memory: Memory) -> None:
    transaction.set_autocommit(False)
    try:
        push(1)
        assert memory.arguments == [[1]]
        transaction.rollback()
    finally:
        transaction.set_autocommit(True)


def test_without_autocommit_a_push_in_a_block_does_not_wait_either(
    push: Any, memory: Memory
) -> None:
    transaction.set_autocommit(False)
    try:
        with transaction.atomic():
            push(1)
        assert memory.arguments == [[1]]
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert memory.arguments == [[1]]


def test_what_is_rolled_back_is_not_pushed_later_because_somebody_keeps_it(
    push: Any, memory: Memory
) -> None:
    kept: list[Any] = []
    with pytest.raises(Held), transaction.atomic():
        push(1)
        kept += transaction.get_connection().run_on_commit
        raise Held
    with transaction.atomic():
        transaction.on_commit(lambda: None)
        push(2)
        push(3)
    assert len(kept) == 1
    assert memory.arguments == [[2], [3]]


class Down(Memory):
    """A server that is away."""

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        raise UnavailableError("Redis does not answer")


def test_a_push_that_fails_after_the_commit_raises(push: Any) -> None:
    with replaced(Down()):
        with pytest.raises(UnavailableError) as raised, transaction.atomic():
            connection.cursor().execute("INSERT INTO notes VALUES ('kept')")
            push(1)
            push(2)
        [note] = raised.value.__notes__
        assert note == "The transaction has been committed, but up to 2 jobs were not pushed."
    with connection.cursor() as cursor:
        assert cursor.execute("SELECT text FROM notes").fetchall() == [("kept",)]
    assert not connection.in_atomic_block


def test_or_is_logged(app: App, push: Any, caplog: pytest.LogCaptureFixture) -> None:
    app.push_through(OnCommit("default", log_errors=True))
    called = []
    with caplog.at_level(logging.ERROR), replaced(Down()), transaction.atomic():
        push(1)
        transaction.on_commit(lambda: called.append("a later callback"))
    assert "after a commit, 1 jobs were not pushed" in caplog.text
    assert called == ["a later callback"]


def test_each_server_gets_its_own(app: App) -> None:
    here, there = Memory(), Memory()

    class Both:
        def transport(self, client: Any) -> Any:
            return there if client.prefix else here

        def atransport(self, _client: Any) -> None: ...
        def redis(self, _client: Any) -> None: ...

    second = App()
    second.configure("redis://127.0.0.1:1/0", prefix="other:")
    second.push_through(OnCommit("default"))
    one, two = app.job(name="One")(lambda a: a), second.job(name="Two")(lambda a: a)
    with replaced(Both()), transaction.atomic():
        one.perform_async(1)
        two.perform_async(2)
        one.perform_async(3)
    assert (here.arguments, there.arguments) == ([[1], [3]], [[2]])


class Case(TestCase):
    """What Django gives to tests of applications."""

    __test__ = False
    databases = {"default"}


def test_a_test_case_captures_pushes(push: Any, memory: Memory) -> None:
    with transaction.atomic():  # as a TestCase does around each test
        push(1)
        with Case.captureOnCommitCallbacks() as callbacks:
            push(2)
            push(3)
        assert (len(callbacks), memory.arguments) == (2, [])
        with Case.captureOnCommitCallbacks(execute=True):
            with pytest.raises(Held), transaction.atomic():
                push(4)
                raise Held
            push(5)
        assert [5] in memory.arguments
        assert [4] not in memory.arguments
        with Case.captureOnCommitCallbacks(execute=True):
            push(6)
        assert sorted(memory.arguments) == [[1], [2], [3], [5], [6]]
        transaction.set_rollback(True)
    assert len(memory.arguments) == 5


def test_nothing_is_kept_of_a_transaction_that_has_ended(push: Any, memory: Memory) -> None:
    with transaction.atomic():
        push(1)
    with pytest.raises(Held), transaction.atomic():
        push(2)
        raise Held
    held: Any = vars(connections["default"])["jobd_held"]
    gc.collect()  # tracebacks of other tests
    assert len(held) == 0


def test_the_wait_costs_little(app: App, push: Any, memory: Memory) -> None:
    """A push that waits, with the commit that sends it, takes less than as long again as one that
    does not, with the transaction."""
    around = OnCommit("default")
    times: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(500):
        for waits, found in times.items():
            app.push_through(around if waits else None)
            with transaction.atomic():
                began = time.perf_counter()
                push(1)
            found.append(time.perf_counter() - began)
        memory.trips.clear()
    at_once, waited = (min(found) for found in times.values())
    print(f"{at_once * 1e6:.1f} µs, after the commit {waited * 1e6:.1f}")
    assert waited - at_once < 1.5 * at_once
