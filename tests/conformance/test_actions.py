"""What people do with jobs, by the data API; on both stores."""

from __future__ import annotations

import json
from typing import Any

import pytest

import jobd
from jobd.jobs.app import App
from jobd.store.keys import Keys
from jobd.testing.simulation import World
from tests.conformance.conftest import START

KEYS = Keys()


@pytest.fixture
def ran() -> list[Any]:
    return []


@pytest.fixture
def note(app: App, ran: list[Any]) -> Any:
    return app.job(name="note")(lambda value=0: ran.append(value))


def arguments(jobs: Any) -> list[Any]:
    return [json.loads(job.value)["args"][0] for job in jobs]


def test_deleted_jobs_are_restored_for_a_day(w: World, note: Any) -> None:
    by = w.api.acting_as("alice")
    for value in range(4):
        note.perform_async(value)
        note.perform_in(100 + value, value)
    jobs = by.queue("default").page().entries
    assert by.queue("default").delete(jobs[1], jobs[2]) == 2
    entries = by.scheduled.page().entries
    assert by.scheduled.delete(entries[0]) == 1
    assert arguments(w.queue().page().entries) == [0, 3]
    assert arguments(w.scheduled.page().entries) == [1, 2, 3]
    deletions = by.trash.page().entries
    assert [each.restore() for each in deletions] == [1, 2]
    assert arguments(w.queue().page().entries) == [1, 2, 0, 3]
    assert w.scheduled.page().entries[0].score == START + 100
    assert [(e.who, e.action, e.jobs) for e in w.api.audit.page()][-1] == ("alice", "delete", 2)

    by.scheduled.delete(*by.scheduled.page().entries)
    w.redis.delete(KEYS.queue("default"))
    w.advance(hours=24, seconds=1)
    assert by.trash.page().entries == ()


def test_the_trash_is_purged(w: World, note: Any) -> None:
    by = w.api.acting_as("alice")
    locked = note.set(unique=True, keep_result=60)
    locked.perform_async(1)
    by.queue("default").clear()
    [deletion] = by.trash.page().entries
    assert deletion.purge() == 1
    assert locked.perform_async(1) is None  # until a keeper has ended what hung on it
    w.advance(seconds=6)
    assert locked.perform_async(1)
    assert by.trash.page().entries == ()


def test_a_cleared_set_ends_what_hangs_on_its_jobs(w: World, note: Any) -> None:
    for value in range(250):
        note.set(unique=True).perform_in(1000, value)
    assert w.scheduled.clear() == 250
    assert w.advance(seconds=6) == 0
    assert list(w.redis.scan_iter("jobd:lock:*")) == []
    assert w.redis.hkeys(KEYS.departed) == [b"used"]


def test_entries_are_moved_killed_and_replaced(w: World, note: Any, ran: list[Any]) -> None:
    for value in range(4):
        note.perform_in(1000 + value, value)
    first, second, third, fourth = w.scheduled.page().entries
    assert w.scheduled.reschedule(60, first) == 1
    assert w.scheduled.kill(second) == 1
    assert w.scheduled.add_to_queue(third) == 1
    assert w.scheduled.replace(fourth, {"args": ["new"]})
    assert w.run() == 2
    assert ran == [2, "new"]
    w.advance(seconds=60)
    assert ran == [2, "new", 0]
    [dead] = w.dead.page().entries
    assert dead.retry()
    w.run()
    assert ran[-1] == 1
    assert w.api.counters().processed == 4


def test_jobs_move_to_another_queue(w: World, note: Any) -> None:
    for value in range(120):
        note.perform_async(value)
    jobs = w.queue().page().entries
    assert w.queue().move("other", jobs[3]) == 1
    assert w.queue().move_all("other") == 119
    assert w.queue().size == 0
    assert arguments(w.queue("other").page(count=3).entries) == [3, 0, 1]
    assert json.loads(w.queue("other").page().entries[0].value)["queue"] == "other"
    assert w.run() == 120


@pytest.fixture
def eventful(app: App, w: World, note: Any) -> list[Any]:
    """The jobs of a queue, every second of which pushes something to its tail when it ends."""

    @app.job(name="once", unique=True, unique_by=[], on_conflict="again")
    def once(value: int) -> None: ...

    once.perform_async(-1)
    once.perform_async(-2)
    for value in range(40):
        batch = jobd.Batch(client=app.client)
        batch.on_success(note, f"callback {value}")
        with batch:
            note.perform_async(value)
        note.perform_async(f"other {value}")
    return list(w.queue().page(count=100).entries)


def make_due(w: World) -> None:
    """As if the members of all batches had failed once, while there was no place for a callback."""
    for each in w.api.batches.newest(100):
        batch = each.bid
        callback = {"class": "note", "args": ["complete"], "jid": batch, "queue": "default"}
        w.redis.hset(f"jobd:batch:{batch}:callbacks", "complete:9", json.dumps(callback))
        w.redis.hset(f"jobd:batch:{batch}", "fresh", 0)


def others(number: int = 40) -> list[str]:
    return sorted(f"other {value}" for value in range(number))


def test_what_the_end_of_a_job_pushes_keeps_its_queue_whole(
    w: World, eventful: list[Any], ran: list[Any]
) -> None:
    assert len(eventful) == 81
    assert w.queue().delete(eventful[0], *eventful[1::2]) == 41
    assert w.queue().size == 81
    w.run()
    assert sorted(map(str, ran)) == sorted(
        [*(f"callback {value}" for value in range(40)), *others()]
    )


@pytest.mark.parametrize("wanted", ["gone", "rare"])
def test_what_the_end_of_a_job_pushes_hides_none_of_a_class(
    w: World, app: App, note: Any, ran: list[Any], wanted: str
) -> None:
    """Both ways through a queue: from its tail, and, where only a few match, one by one."""

    def run() -> None:
        ran.append("gone")

    gone = {name: app.job(name=name)(run) for name in ("gone", "rare")}
    for value in range(300):
        batch = jobd.Batch(client=app.client)
        batch.on_success(note, f"callback {value}")
        with batch:
            gone["rare" if value % 60 == 0 else "gone"].perform_async()
    count = 5 if wanted == "rare" else 295
    assert w.queue().delete_by_class(wanted) == count
    w.run()
    assert ran.count("gone") == 300 - count
    assert len(set(ran) - {"gone"}) == 300


def test_all_jobs_move_although_something_is_due(
    w: World, note: Any, eventful: list[Any], ran: list[Any]
) -> None:
    make_due(w)
    assert w.queue().move_all("other") == 81
    assert w.queue().size == 40
    w.run()
    assert ran.count("complete") == 40
    assert sorted(value for value in ran if str(value).startswith("other")) == others()


def test_what_is_due_at_a_move_keeps_the_queue_whole(
    w: World, note: Any, eventful: list[Any], ran: list[Any]
) -> None:
    make_due(w)
    assert w.queue().move("other", *eventful[1::2]) == 40
    assert w.queue().size == 1 + 40 + 40
    w.run()
    assert ran.count("complete") == 40
    assert len([value for value in ran if str(value).startswith("callback")]) == 40
    assert sorted(value for value in ran if str(value).startswith("other")) == others()
    assert sorted(value for value in ran if isinstance(value, int)) == list(range(40))


def test_jobs_are_found_wherever_they_are(w: World, app: App, note: Any) -> None:
    app.job(name="broken", retry=0)(lambda: 1 / 0).perform_async()
    w.run()
    jids = [note.perform_async(1), note.perform_in(100, 2), w.dead.page().entries[0].jid]
    for jid, place in zip(jids, ("queue", "schedule", "dead"), strict=True):
        [found] = list(w.api.find(jid))
        assert place in found.place
    assert w.queue().find_job(str(jids[0])) is not None
    assert w.dead.groups() is not None


def test_numbers(w: World, note: Any) -> None:
    note.perform_async(1)
    w.advance(seconds=0)
    note.perform_async(2)
    w.queue("empty").pause()
    stats = w.api.stats()
    assert (stats.enqueued, stats.processed) == (1, 1)
    assert {each.name: each.size for each in w.api.queues()} == {"default": 1, "empty": 0}
    w.api.reset_stats()
    assert w.api.counters().processed == 0
