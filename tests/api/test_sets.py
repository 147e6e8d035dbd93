"""The sorted sets: looking at them, and what people do to their entries."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobd.api import Api, JobSet, SortedEntry
from jobd.errors import ArgumentError, RefusedError
from jobd.jobs.app import App
from tests.api.conftest import HOSTILE, NOW, everything_in, job, push, waiting


def fill(jobs: JobSet, *raws: bytes, first: float = NOW) -> None:
    """Put jobs into a set, a second apart."""
    key = jobs._key
    jobs._api.redis.zadd(key, {raw: first + at for at, raw in enumerate(raws)})


@pytest.fixture(params=["scheduled", "retries", "dead"])
def jobs(request: pytest.FixtureRequest, api: Api) -> JobSet:
    """Each of the sets."""
    found: JobSet = getattr(api, request.param)
    return found


def test_pages_by_rank(api: Api) -> None:
    for jobs in (api.retries, api.dead):
        fill(jobs, *(job(n) for n in range(7)))
    assert [entry.args[0] for entry in api.retries.page(0, 3)] == [0, 1, 2]
    assert [entry.args[0] for entry in api.dead.page(0, 3)] == [6, 5, 4]
    assert [entry.args[0] for entry in api.dead.page(5, 3, highest_first=False)] == [5, 6]
    page = api.retries.page(5, 2, highest_first=True)
    assert ([entry.args[0] for entry in page], page.size, page.more) == ([1, 0], 7, False)
    entry = api.retries.page().entries[1]
    assert entry.score == NOW + 1
    assert entry.at == datetime.datetime.fromtimestamp(NOW + 1, datetime.UTC)
    assert (entry.queue, entry.failed) == ("default", False)


def test_hostile_entries_are_listed_found_and_deleted(jobs: JobSet) -> None:
    fill(jobs, *HOSTILE)
    jobs._api.redis.zadd(jobs._key, {b"never": "-inf", b"ever": "+inf", b"now": "0.1"})
    entries = jobs.page(0, 100, highest_first=False).entries
    assert [entry.value for entry in entries] == [b"never", b"now", *HOSTILE, b"ever"]
    assert {entry.value for entry in jobs} == {entry.value for entry in entries}
    assert (entries[0].at, entries[-1].at) == (None, None)
    for entry in entries:
        repr((entry, entry.waits, entry.failed, entry.display_args))
        found = jobs.find(entry.key)
        assert found is not None
        assert (found.value, found.score) == (entry.value, entry.score)
    assert len(jobs.groups().run()) > 0
    assert jobs.find("1.5-none") is None
    for key in ("", "x", "-", "x-y", "1.5-", "1.5"):
        with pytest.raises(ArgumentError, match="SCORE-JID"):
            jobs.find(key)
    assert jobs.delete(*entries) == len(entries)
    assert jobs.size == 0


def test_finding_among_many_of_one_time(api: Api) -> None:
    api.redis.zadd(api.keys.schedule, {job(n): NOW for n in range(1500)})
    for number in (0, 700, 1499):
        entry = api.scheduled.fetch(NOW, f"{number:024x}")
        assert entry is not None
        assert entry.args == [number]
    assert api.scheduled.fetch(NOW, "missing") is None
    assert api.scheduled.fetch(NOW + 1, f"{1:024x}") is None
    assert api.scheduled.find_job(f"{99:024x}") is not None
    assert api.scheduled.find_job("*") is None


@pytest.mark.parametrize("spread", [0.0, 1.0])
@pytest.mark.parametrize("change", ["removed", "moved up", "moved down", "more before it"])
def test_an_id_is_found_while_others_go(api: Api, spread: float, change: str) -> None:
    key, entries = api.keys.schedule, {job(n): NOW + n * spread for n in range(2500)}
    api.redis.zadd(key, entries)
    order = list(entries)
    seen, last = 0, f"{2499:024x}"
    for looked, found in api.scheduled.seek(last):
        seen += looked
        if found:
            break
        # The one that was checked last, by which the search goes on, and all before it.
        for raw in order[:seen]:
            if change == "removed":
                api.redis.zrem(key, raw)
            elif change == "more before it":
                api.redis.zadd(key, {raw + b" ": NOW - 10})
            else:
                api.redis.zadd(key, {raw: NOW + (9000 if change == "moved up" else -9000)})
    assert [entry.jid for entry in found] == [last]


def test_search_by_pattern_and_predicate(api: Api) -> None:
    fill(api.dead, *(job(n, "Mail" if n % 3 else "Bill") for n in range(3000)))
    assert len({entry.jid for entry in api.dead.scan("Bill")}) == 1000
    found = {entry.args[0] for entry in api.dead.scan("Bill", lambda entry: entry.args[0] < 10)}
    assert found == {0, 3, 6, 9}
    assert len(api.dead.scan("Mail").first(25)) >= 25
    seen: set[str] = set()
    cursor, done = "", False
    while not done:
        scan = api.dead.scan("Bill", cursor=cursor)
        seen |= {entry.jid for entry in scan.next()}
        cursor, done = scan.cursor, scan.done
    assert len(seen) == 1000
    with pytest.raises(ArgumentError, match="cursor"):
        api.dead.scan(cursor="-1")


@pytest.mark.parametrize("text", ["[17]", "*", "?", "[", "\\\\", "1*7", "[^a]", '":[17],"'])
def test_a_text_is_no_pattern(text: str, api: Api) -> None:
    """Neither for those who look, nor for those who act on all that is found."""
    raws = [job(n, name="A\\b", odd="1*7 * ? [^a]" if n == 17 else "") for n in range(50)]
    within = {raw for raw in raws if text.encode() in raw}
    assert within
    fill(api.dead, *raws)
    push(api, "default", *raws)
    assert {entry.value for entry in api.dead.scan(text)} == within
    assert {record.value for record in api.queue("default").scan(text)} == within
    assert api.dead.sweep("delete", text).run() == len(within)
    assert api.queue("default").sweep(text).run() == len(within)
    assert api.dead.size == api.queue("default").size == 50 - len(within)


def test_a_pattern_is_asked_for(api: Api) -> None:
    fill(api.dead, *(job(n) for n in range(50)))
    push(api, "default", *(job(n) for n in range(50)))
    for jobs in (api.dead, api.queue("default")):
        assert {one.args[0] for one in jobs.scan(pattern=r"\[[17]\]")} == {1, 7}
        assert {one.args[0] for one in jobs.scan("[7]", pattern=r"\[[17]\]")} == {7}, "both"
    assert api.dead.sweep("delete", pattern=r"\[4?\]").run() == 10
    assert api.queue("default").sweep(pattern=r"\[4?\]").run() == 10


def test_a_search_does_not_tell_what_is_encrypted(api: Api) -> None:
    secret = job(1, "Mail", args=["plain", "SECRET"], encrypt=True)
    fill(api.dead, secret, job(2, "Mail", args=["SECRET"]))
    push(api, "default", secret, job(2, "Mail", args=["SECRET"]))
    for place in (api.dead, api.queue("default")):
        assert [one.args for one in place.scan("SECR")] == [["SECRET"]]
        assert [one.args[0] for one in place.scan("plain")] == ["plain"]


def test_a_step_of_a_search_is_bounded(api: Api) -> None:
    large = b'{"class":"A","args":["%s"]}'
    fill(api.dead, *(large.replace(b"%s", b"%d" % n + b"x" * 500_000) for n in range(60)))
    scan, most = api.dead.scan(), 0
    while not scan.done:
        most = max(most, sum(len(entry.value) for entry in scan.next()))
    assert most < 10 * 1024 * 1024


def test_adding_to_the_queue_keeps_the_bytes_but_for_the_time(api: Api) -> None:
    raw = b'{"class":"A","args":[1.0e+16],"jid":"x","queue":"low","retry_count":3,"odd":[1 ,2]}'
    fill(api.retries, raw)
    began = time.time()
    assert api.retries.page().entries[0].add_to_queue()
    (pushed,) = waiting(api, "low")
    assert pushed.startswith(raw[:-1] + b',"enqueued_at":')
    assert began <= json.loads(pushed)["enqueued_at"] <= time.time()
    assert api.retries.size == 0
    assert api.redis.smembers(api.keys.queues) == {b"low"}


def test_a_retry_by_hand_uses_up_no_retry(api: Api) -> None:
    fill(api.dead, job(1, retry_count=3, error_class="E"), job(2))
    assert api.dead.retry(*api.dead) == 2
    counts = {one["jid"]: one.get("retry_count") for one in map(json.loads, waiting(api))}
    assert counts == {f"{1:024x}": 2, f"{2:024x}": None}


def test_an_edited_retry(api: Api) -> None:
    fill(api.dead, job(1, retry_count=0, error_class="E", odd=[1]))
    (entry,) = api.dead
    for wrong in ({"args": 1}, {"queue": ""}, {"args": [object()]}, {"retry": "x"}):
        with pytest.raises(ArgumentError):
            entry.retry(wrong)
    assert api.dead.size == 1
    assert entry.retry({"args": [1e16, "new"], "queue": "low", "kwargs": {"k": 1}})
    (raw,) = waiting(api, "low")
    assert b'"args":[1e+16,"new"]' in raw
    made = json.loads(raw)
    assert (made["args"], made["kwargs"], made["odd"]) == ([1e16, "new"], {"k": 1}, [1])
    assert (made["jid"], made["retry_count"]) == (entry.jid, -1)


@pytest.mark.parametrize("action", ["retry", "add_to_queue"])
def test_what_is_no_job_stays_where_it_is(api: Api, action: Any) -> None:
    for jobs in (api.dead, api.retries):
        fill(jobs, *HOSTILE, job(1))
        before = everything_in(api, jobs._key)
        changed = jobs.sweep(action).run()
        after = everything_in(api, jobs._key)
        assert job(1) not in after
        assert changed == len(before) - len(after)
        bad = {raw for raw in before if SortedEntry(raw, 0.0, jobs, api).malformed}
        assert bad <= after.keys()


def test_rescheduling(jobs: JobSet) -> None:
    fill(jobs, job(1), job(2))
    first, second = jobs.page(highest_first=False)
    assert first.reschedule(2_000_000_000.5)
    assert second.reschedule(datetime.timedelta(hours=1))
    assert jobs.size == 2
    moved = jobs.find_job(first.jid)
    assert moved is not None
    assert (moved.score, moved.value) == (2_000_000_000.5, first.value)
    later = jobs.find_job(second.jid)
    assert later is not None
    assert 3500 < later.waits < 3700
    assert second.delete()
    assert not second.reschedule(60)
    with pytest.raises(ArgumentError, match="time"):
        first.reschedule("soon")  # type: ignore[arg-type]


def test_scheduling_by_hand(api: Api) -> None:
    api.scheduled.schedule(2_000_000_000, {"class": "A", "args": [1e16], "queue": "low"})
    api.scheduled.schedule(2_000_000_001, job(1))
    first, second = api.scheduled.page()
    assert first.value == b'{"class":"A","args":[1e+16],"queue":"low"}'
    assert (second.value, second.score) == (job(1), 2_000_000_001.0)


def test_killing_trims_the_dead_set(api: Api) -> None:
    small = Api(api.redis, api.keys.prefix, dead_max_jobs=4, dead_timeout=3600)
    now = time.time()
    api.redis.zadd(api.keys.dead, {b"too old": now - 4000, b"old": now - 60})
    fill(small.retries, *(job(n) for n in range(3)))
    assert small.retries.kill(*small.retries.page(0, 1)) == 1
    assert set(everything_in(api, api.keys.dead)) == {b"old", job(0)}
    assert small.retries.kill_all() == 2
    assert set(everything_in(api, api.keys.dead)) == {job(0), job(1), job(2)}
    scores = everything_in(api, api.keys.dead).values()
    assert now - 1 <= min(scores) <= max(scores) <= time.time()
    with pytest.raises(ArgumentError, match="dead already"):
        next(iter(api.dead)).kill()


@pytest.fixture
def deaths(api: Api) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []

    def broken(fields: dict[str, Any], error: BaseException) -> None:
        raise ValueError("broken handler")

    def note(fields: dict[str, Any], error: BaseException) -> None:
        told.append((fields["jid"], str(error)))

    api.app = App()
    api.app.death_handlers.extend([broken, note])
    return told


def test_a_dead_set_that_is_far_too_large_is_trimmed_step_by_step(api: Api) -> None:
    """Somebody has lowered the limit: a hundred thousand at once would hold everybody up."""
    now = time.time()
    api.redis.zadd(api.keys.dead, {job(n): now - 60 + n / 1000 for n in range(2_500)})
    api.redis.zadd(api.keys.retry, {job(9_999): now})
    small = Api(api.redis, api.keys.prefix, dead_max_jobs=101)
    (entry,) = small.retries
    assert small.retries.kill(entry) == 1
    assert small.dead.size == 2_501 - 1_001
    assert small.dead.trim() == 1_400
    assert small.dead.size == 100
    assert small.dead.page(0, 1).entries[0].jid == entry.jid
    # By age, those as well.
    assert Api(api.redis, api.keys.prefix, dead_timeout=1e-6).dead.trim() == 100


def test_death_handlers_hear_of_killed_jobs(api: Api, deaths: list[tuple[str, str]]) -> None:
    fill(api.retries, *(job(n) for n in range(4)), b"not json")
    first, second, third, *_ = api.retries.page()
    first.delete()
    assert not first.kill()
    assert deaths == []
    assert second.kill()
    assert api.retries.kill(third, ex=ValueError("by me")) == 1
    assert api.retries.kill_all() == 2
    assert deaths == [(second.jid, "the job was killed by hand"), (third.jid, "by me")]
    fill(api.retries, job(7))
    assert api.retries.kill_all(notify_failure=True) == 1
    assert deaths[-1][0] == f"{7:024x}"


def test_burying_by_hand(api: Api, deaths: list[tuple[str, str]]) -> None:
    assert api.dead.bury(b"[1.0]", notify_failure=False)
    (buried,) = api.dead
    assert (buried.klass, buried.args, buried.delete()) == ("NotAJob", [[1.0]], True)
    assert api.dead.bury({"class": "A", "args": [], "jid": "x"})
    assert not api.dead.bury(b'{"class":"A","args":[],"jid":"x"}', notify_failure=False)
    assert deaths == [("x", "the job was killed by hand")]
    tiny = Api(api.redis, api.keys.prefix, dead_max_jobs=1)
    assert tiny.dead.bury(b"raw", trim=False, notify_failure=False)
    assert api.dead.size == 2
    assert tiny.dead.trim() == 2
    assert api.dead.size == 0


def test_acting_on_all(api: Api) -> None:
    for jobs in (api.scheduled, api.retries, api.dead):
        fill(jobs, *(job(n) for n in range(1200)))
    assert api.scheduled.add_all_to_queue() == 1200
    assert api.retries.retry_all() == 1200
    assert len(waiting(api)) == 2400
    assert api.dead.clear() == 1200
    assert api.dead.clear() == 0
    assert not api.redis.exists(api.keys.dead, api.keys.retry, api.keys.schedule)


def test_a_sweep_goes_on_elsewhere(api: Api) -> None:
    fill(api.dead, *(job(n, "Mail" if n % 2 else "Bill") for n in range(2000)))
    sweep = api.dead.sweep("delete", "Bill")
    total = 0
    while not sweep.done:
        total += sweep.step()
        sweep = (
            api.dead.sweep("delete", "Bill", cursor=sweep.cursor, ref=sweep.ref)
            if (sweep.cursor != "0")
            else sweep
        )
    assert total == 1000
    assert all(b"Mail" in raw for raw in everything_in(api, api.keys.dead))
    assert api.dead.sweep("delete").run(seconds=0.0) < 1000
    with pytest.raises(ArgumentError, match="no action"):
        api.dead.sweep("explode")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["add_to_queue", "retry"])
def test_what_has_to_stay_stops_no_others(api: Api, name: Any) -> None:
    api.redis.set(api.keys.queue("broken"), "?")
    fill(api.retries, *(job(n) for n in range(150)))
    others = api.retries.page(0, 150).entries
    fill(api.retries, *(job(n, queue="broken") for n in (200, 201)), first=NOW + 1000)
    one, other = api.retries.page(150, 2).entries
    change = getattr(api.retries, name)
    assert change(*others[:100], one, other) == 100  # the last batch moves nothing
    with pytest.raises(RefusedError, match="WRONGTYPE"):
        change(one, other)
    fill(api.retries, *(job(n, "Bill") for n in range(1000, 2000)))
    # In most steps there is nothing else.
    sweep = api.retries.sweep(name, where=lambda entry: entry.klass == "Ok")
    assert (sweep.run(), sweep.kept) == (50, 2)
    assert isinstance(sweep.keeps, RefusedError)
    assert api.retries.sweep(name, where=lambda entry: entry.klass == "Ok").run() == 0


@pytest.mark.parametrize("change", ["delete", "kill", "add_to_queue", "retry", "clear"])
def test_a_place_of_another_type_costs_no_job(api: Api, change: str) -> None:
    fill(api.retries, *(job(n) for n in range(3)))
    before = everything_in(api, api.keys.retry)
    wrong = [api.keys.queue("default"), api.keys.trash, api.keys.audit, api.keys.dead]
    api.redis.mset(dict.fromkeys(wrong, "?"))
    for who in (api.acting_as("me"), api):
        if who is api:
            api.redis.delete(api.keys.audit)
        jobs = who.retries
        entries = [] if change == "clear" else jobs.page().entries
        with pytest.raises(RefusedError, match="WRONGTYPE"):
            getattr(jobs, change)(*entries)
        assert everything_in(api, api.keys.retry) == before


@pytest.mark.parametrize("name", ["scheduled", "retries", "dead"])
def test_an_edited_job_runs_and_the_original_is_in_the_trash(api: Api, name: str) -> None:
    alice = api.acting_as("alice")
    jobs = getattr(alice, name)
    raw = job(1, retry_count=2, note="kept")
    fill(jobs, raw, job(2))
    before = everything_in(api, jobs._key)
    entry = jobs.find_job(f"{1:024x}")
    assert entry.replace({"args": [8, 1e20], "queue": "low", "kwargs": {"loud": True}})
    ref = alice.last_ref
    (edited,) = api.queue("low").page()
    assert (edited.args, edited.kwargs, edited["note"]) == ([8, 1e20], {"loud": True}, "kept")
    assert edited["retry_count"] == 1, "it uses up no retry"
    assert edited.enqueued_at is not None
    assert jobs.size == 1
    assert not entry.replace({"args": []}), "somebody else was faster"
    (deletion,) = alice.trash
    assert deletion.ref == ref
    assert (deletion.action, deletion.who, deletion.jobs) == ("edit", "alice", 1)
    assert deletion.restore() == 1
    assert everything_in(api, jobs._key) == before


def test_an_edit_that_no_push_would_take_changes_nothing(api: Api) -> None:
    fill(api.retries, job(1), b"[]")
    good, bad = api.retries.find_job(f"{1:024x}"), api.retries.page(1, 1).entries[0]
    assert good is not None
    for changes in ({"args": 1}, {"queue": "a b"}, {"retry": "x"}, {"args": [float("nan")]}):
        with pytest.raises(ArgumentError):
            good.replace(changes)
    with pytest.raises(ArgumentError, match="cannot be changed"):
        bad.replace({"args": []})
    assert api.retries.size == 2


@pytest.mark.parametrize(
    "changes",
    [{"unique": True}, {"unique_for": 60, "args": [1]}, {"expires_in": 60}, {"keep_result": 5}],
)
def test_an_edit_gives_no_job_what_only_a_push_can(api: Api, changes: dict[str, Any]) -> None:
    """As a plain field it would have no effect; one that Ruby has written may be changed."""
    fill(api.retries, job(1))
    push(api, "default", job(2), job(3, unique_for=600))
    entry, queue = api.retries.page().entries[0], api.queue("default")
    waits = next(iter(queue))
    edits: list[Callable[[], object]] = [
        lambda: entry.replace(changes),
        lambda: api.retries.retry(entry, changes=changes),
        lambda: queue.replace(waits, changes),
    ]
    for edit in edits:
        with pytest.raises(ArgumentError, match="only when a job is pushed"):
            edit()
    assert [one.value for one in (*api.retries, *queue)] == [
        entry.value,
        job(2),
        job(3, unique_for=600),
    ]
    assert queue.replace(list(queue)[1], {"unique_for": 60})
    assert list(queue)[1]["unique_for"] == 60
