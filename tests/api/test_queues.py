"""Queues: pages, searches, and what people do to their jobs."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobd.api import Api, Queue
from jobd.errors import ArgumentError, NotRunError, RefusedError
from tests.api.conftest import HOSTILE, NOW, job, push, waiting


def jids(numbers: range | list[int]) -> list[str]:
    return [f"{number:024x}" for number in numbers]


def test_pages_in_either_order(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(7)))
    queue = api.queue("default")
    page = queue.page(0, 3)
    assert ([one.jid for one in page], page.size, page.more) == (jids(range(3)), 7, True)
    last = queue.page(6, 3)
    assert ([one.jid for one in last], last.start, last.more) == (jids([6]), 6, False)
    assert list(queue.page(7, 3)) == []
    assert [one.jid for one in queue.page(0, 3, newest_first=True)] == jids([6, 5, 4])
    assert [one.jid for one in queue.page(5, 3, newest_first=True)] == jids([1, 0])
    assert {one.queue for one in page} == {"default"}


@pytest.mark.parametrize(("start", "count"), [(-1, 5), (0, 0), (0, 1001)])
def test_pages_are_bounded(api: Api, start: int, count: int) -> None:
    with pytest.raises(ArgumentError, match="page"):
        api.queue("default").page(start, count)
    with pytest.raises(ArgumentError, match="page"):
        api.dead.page(start, count)


@given(size=st.integers(0, 40), count=st.integers(1, 15), newest=st.booleans())
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_pages_add_up_to_the_queue(api: Api, size: int, count: int, newest: bool) -> None:
    api.redis.flushall()
    raws = [job(n) for n in range(size)]
    push(api, "q", *raws)
    queue, found = api.queue("q"), []
    start, more = 0, True
    while more:
        page = queue.page(start, count, newest_first=newest)
        found += [one.value for one in page]
        start, more = start + count, page.more
    assert found == (raws[::-1] if newest else raws)
    assert [one.value for one in queue] == raws


def test_hostile_jobs_are_listed_and_can_be_deleted(api: Api) -> None:
    push(api, "default", *HOSTILE)
    queue = api.queue("default")
    assert [one.value for one in queue.page(0, 100)] == HOSTILE
    assert [one.value for one in queue] == HOSTILE
    assert queue.latency >= 0.0
    for place in (3, 0):
        assert queue.page(place, 1).entries[0].delete()
    assert waiting(api) == [raw for at, raw in enumerate(HOSTILE) if at not in (0, 3)]
    left = len(HOSTILE) - 2
    while page := list(queue.page(0, 100, newest_first=True)):  # large jobs make it short
        assert queue.delete(*page) == len(page)
        left -= len(page)
    assert left == 0
    assert waiting(api) == []


def test_finding_a_job(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(3000)))
    queue = api.queue("default")
    found = queue.find_job(f"{2999:024x}")
    assert found is not None
    assert found.args == [2999]
    assert queue.find_job("missing") is None


def test_search_by_text_and_by_predicate(api: Api) -> None:
    push(api, "default", *(job(n, "Mail" if n % 3 else "Bill") for n in range(2000)))
    queue = api.queue("default")
    assert len(list(queue.scan("Bill"))) == 667
    assert len(list(queue.scan(pattern=r'*"args":\[1?\]*'))) == 10
    assert [one.args for one in queue.scan("Bill", lambda one: one.args[0] > 1990)] == [
        [1992],
        [1995],
        [1998],
    ]
    assert len(queue.scan("Bill").first(25)) >= 25
    assert list(queue.scan("bill")) == []


def test_a_search_goes_on_elsewhere(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(500)))
    queue, found, cursor, done = api.queue("default"), [], "", False
    while not done:
        scan = queue.scan(cursor=cursor)
        found += [one.jid for one in scan.next()]
        cursor, done = scan.cursor, scan.done
    assert found == jids(range(500))
    with pytest.raises(ArgumentError, match="cursor"):
        queue.scan(cursor="x")
    with pytest.raises(ArgumentError, match="cursor"):
        queue.scan(cursor="7-x")


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_search_misses_nothing_while_workers_take_jobs(api: Api, elsewhere: bool) -> None:
    push(api, "default", *(job(n) for n in range(300)))
    scan, found = api.queue("default").scan(), []
    while not scan.done:
        if elsewhere:
            scan = api.queue("default").scan(cursor=scan.cursor)
        found += [one.args[0] for one in scan.next()]
        api.redis.rpop(api.keys.queue("default"), 7)
        push(api, "default", job(1000 + len(found)))
    assert len(set(found)) == len(found)
    # What was there all the time has been found.
    left = {json.loads(raw)["args"][0] for raw in waiting(api)}
    assert left & set(range(300)) <= set(found)


@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.parametrize("taken", [3, 100, 260])
@pytest.mark.parametrize("kinds", [1, 3])
def test_a_search_misses_nothing_between_equal_jobs(
    api: Api, elsewhere: bool, taken: int, kinds: int
) -> None:
    random = Random(7 * taken + kinds)
    single = set(random.sample(range(2500), 40))
    push(
        api, "default", *(job(n if n in single else -random.randint(1, kinds)) for n in range(2500))
    )
    scan, found = api.queue("default").scan(), []
    while not scan.done:
        if elsewhere:
            scan = api.queue("default").scan(cursor=scan.cursor)
        found += [one.args[0] for one in scan.next() if one.args[0] in single]
        api.redis.rpop(api.keys.queue("default"), taken)
    left = {json.loads(raw)["args"][0] for raw in waiting(api)}
    assert left & single <= set(found)
    assert len(set(found)) == len(found)


def test_deleting_goes_by_the_bytes(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(10)))
    queue = api.queue("default")
    oldest, newest = queue.page(0, 3).entries, queue.page(0, 3, newest_first=True).entries
    api.redis.rpop(api.keys.queue("default"), 2)
    push(api, "default", job(10), job(11))
    assert [one.delete() for one in oldest] == [False, False, True]
    assert [one.delete() for one in oldest] == [False, False, False]
    assert [one.delete() for one in newest] == [True, True, True]
    assert waiting(api) == [job(n) for n in (3, 4, 5, 6, 10, 11)]
    assert queue.delete(job(4), b"not there", job(10)) == 2
    assert waiting(api) == [job(n) for n in (3, 5, 6, 11)]


def test_of_two_equal_jobs_one_is_deleted(api: Api) -> None:
    push(api, "default", b"x", b"y", b"x")
    assert api.queue("default").page(0, 1).entries[0].delete()
    assert waiting(api) == [b"y", b"x"]


def test_deleting_by_class(api: Api) -> None:
    wrapped = b'{"class":"Sidekiq::ActiveJob::Wrapper","wrapped":"Bill","args":[{}]}'
    raws = [job(n, "Bill" if n % 2 else "Mail") for n in range(1500)]
    push(api, "default", *raws, wrapped, b"not json")
    assert api.queue("default").delete_by_class("Bill") == 751
    assert waiting(api) == [*raws[::2], b"not json"]


def test_deleting_by_class_while_workers_take_jobs(api: Api) -> None:
    push(api, "default", *(job(n, "Bill" if n % 2 else "Mail") for n in range(900)))
    sweep, taken = api.queue("default").sweep(where=lambda one: one.klass == "Bill"), []
    pushed = 0
    while not sweep.done:
        sweep.step()
        found: Any = api.redis.rpop(api.keys.queue("default"), 5)
        taken += [json.loads(raw) for raw in found or []]
        push(api, "default", job(5000, "Bill"))
        pushed += 1
    left = [json.loads(raw) for raw in waiting(api)]
    before = [one for one in left if one["args"] != [5000]]
    assert {one["class"] for one in before} == {"Mail"}
    bills = [one["args"][0] for one in taken if one["class"] == "Bill"]
    kept = [one["args"][0] for one in before + taken]
    assert sorted(kept) == sorted([*range(0, 900, 2), *bills])
    assert sweep.changed == 450 + pushed - len(bills) - (len(left) - len(before))


def test_a_queue_of_equal_jobs_is_swept_as_well(api: Api) -> None:
    push(api, "default", *[b"x"] * 500, *[b"y"] * 500, *[b"x"] * 3)
    assert api.queue("default").sweep("x").run() == 503
    assert Counter(waiting(api)) == {b"y": 500}


def test_moving_jobs(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(6)))
    push(api, "low", job(100, queue="low"))
    queue = api.queue("default")
    assert queue.move("low", *queue.page(0, 2), job(5), b"not there") == 3
    assert waiting(api) == [job(n) for n in (2, 3, 4)]
    assert waiting(api, "low") == [job(n, queue="low") for n in (100, 0, 1, 5)]
    assert queue.move("fresh", *queue.page(0, 1, newest_first=True)) == 1
    assert [one.name for one in Queue.all(api)] == ["default", "fresh", "low"]
    for wrong in ("default", "with space", ""):
        with pytest.raises(ArgumentError):
            queue.move_all(wrong)


def test_moving_all_jobs_keeps_their_order(api: Api) -> None:
    raws = [job(n) for n in range(450)]
    push(api, "default", *raws)
    push(api, "low", b"first")
    assert api.queue("default").move_all("low") == 450
    assert waiting(api) == []
    assert waiting(api, "low") == [b"first", *(job(n, queue="low") for n in range(450))]
    assert api.queue("default").move_all("low") == 0


def test_clearing(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(30)))
    assert api.queue("default").clear() == 30
    assert Queue.all(api) == []
    assert api.queue("default").clear() == 0
    assert api.redis.dbsize() == 0


def test_pausing(api: Api) -> None:
    queue = api.queue("default")
    assert (queue.paused, queue.pause(), queue.pause(), queue.paused) == (False, True, False, True)
    assert (queue.unpause(), queue.unpause(), queue.paused) == (True, False, False)


@pytest.mark.parametrize("change", ["delete", "move", "move_all", "clear", "sweep"])
def test_a_place_of_another_type_costs_no_job(api: Api, change: str) -> None:
    raws = [job(n) for n in range(3)]
    push(api, "default", *raws)
    api.redis.mset({api.keys.queue("low"): "?", api.keys.trash: "?", api.keys.audit: "?"})
    queue = api.acting_as("me").queue("default")
    changes = {
        "delete": lambda: queue.delete(*queue.page()),
        "move": lambda: queue.move("low", *queue.page()),
        "move_all": lambda: queue.move_all("low"),
        "clear": queue.clear,
        "sweep": queue.sweep().run,
    }
    with pytest.raises(RefusedError, match="WRONGTYPE"):
        changes[change]()
    assert waiting(api) == raws


@pytest.mark.parametrize("taken", [1, 700, 4_000, 24_000, 29_000])
def test_a_search_skips_nothing_however_many_are_taken(api: Api, taken: int) -> None:
    push(api, "default", *(job(n) for n in range(60_000)))
    scan = api.queue("default").scan()
    seen: list[int] = []
    while len(seen) < 30_000:
        seen += [one.args[0] for one in scan.next()]
    api.redis.rpop(api.keys.queue("default"), taken)
    while not scan.done:
        seen += [one.args[0] for one in scan.next()]
    assert sorted(set(seen)) == list(range(60_000))
    # What is read twice is read twice only where the search has lost its place.
    assert taken > 20_000 or len(seen) == 60_000


def test_no_command_of_a_search_goes_through_the_whole_queue(api: Api) -> None:
    push(api, "default", *(job(n) for n in range(30_000)))
    queue = api.queue("default")
    scan = queue.scan()
    api.redis.config_resetstat()
    while not scan.done:
        scan.next()
        api.redis.rpop(api.keys.queue("default"), 3)
    page = queue.page(20_000, 50)
    api.redis.rpop(api.keys.queue("default"), 7)
    assert queue.delete(*page) == 50
    page = queue.page(10, 5)
    api.redis.rpop(api.keys.queue("default"), 3)
    assert queue.move("low", *page) == 5
    assert "cmdstat_lpos" not in api.redis.info("commandstats")


def test_a_test_that_would_never_run_deletes_nothing(api: Api) -> None:
    """A coroutine is as good as true."""
    push(api, "default", job(1))
    api.redis.zadd(api.keys.dead, {job(2): NOW})

    async def test(_: object) -> bool:
        return False

    queue, dead = api.queue("default"), api.dead
    with pytest.raises(ArgumentError, match="where must be a plain function"):
        queue.scan(where=test)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="where must be a plain function"):
        dead.scan(where=test)  # type: ignore[arg-type]
    with pytest.raises(NotRunError, match="where returned an awaitable"):
        queue.sweep(where=lambda one: test(one)).run()  # type: ignore[arg-type,return-value]
    with pytest.raises(NotRunError, match="where returned an awaitable"):
        dead.sweep("delete", where=lambda one: test(one)).run()  # type: ignore[arg-type,return-value]
    assert (queue.size, dead.size) == (1, 1)
