"""No step of the data API costs the server or us more than so many bytes, whatever is in
Redis and whatever is searched for."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api, QueuedKey
from jobd.api.metrics import MOST_CLASSES
from jobd.api.reading import BYTES, STEP_BYTES
from jobd.errors import ArgumentError
from jobd.store.scripts import Script
from jobd.web.shared.queue_rates import Flows
from tests.api.conftest import job, push

MB = 1024 * 1024

LARGE = [job(n, args=["t" * 500_000]) for n in range(60)]
SMALL = [job(n) for n in range(1000, 1400)]


def size_of(answer: Any) -> int:
    if isinstance(answer, list):
        return sum(map(size_of, answer))
    return len(answer) if isinstance(answer, bytes) else 8


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Each call of a script, with the bytes of its answer."""
    made: list[tuple[str, int]] = []
    call = Script.__call__

    def counted(self: Script, *given: Any) -> Any:
        answer = call(self, *given)
        made.append((self.name, size_of(answer)))
        return answer

    monkeypatch.setattr(Script, "__call__", counted)
    return made


def everything(redis: redis_py.Redis, api: Api) -> None:
    """Small jobs and then large ones, everywhere: what was small says nothing of what follows."""
    push(api, "default", *SMALL, *LARGE)
    redis.zadd(api.keys.retry, {raw: at for at, raw in enumerate([*SMALL, *LARGE])})
    redis.zadd(api.keys.dead, dict.fromkeys([*SMALL, *LARGE], 7.0))
    redis.zadd(api.keys.owners, {"h:1:a": 2e9})
    redis.hset(api.keys.inflight("h:1:a"), mapping={f"{n}:d": raw for n, raw in enumerate(LARGE)})
    redis.sadd(api.keys.processes, "h:1:a")
    work = {n: json.dumps({"queue": "d", "payload": raw.decode()}) for n, raw in enumerate(LARGE)}
    redis.hset(api.keys.work("h:1:a"), mapping=work)  # type: ignore[arg-type]
    for n in range(60):
        redis.sadd(api.keys.processes, f"h:{n}:a")
        redis.hset(api.keys.process(f"h:{n}:a"), "info", json.dumps({"tag": "t" * 500_000}))
        redis.hset(api.keys.stacks(f"h:{n}:a"), mapping={"at": 1.5, "text": "t" * 500_000})
        push(api, f"large{n}", LARGE[n])


READINGS: dict[str, Callable[[Api], object]] = {
    "page of a set": lambda api: api.retries.page(380, 100),
    "page of a queue": lambda api: api.queue("default").page(380, 100),
    "newest of a queue": lambda api: api.queue("default").page(0, 100, newest_first=True),
    "all of a set": lambda api: sum(1 for _ in api.retries),
    "all of a queue": lambda api: sum(1 for _ in api.queue("default")),
    "a search": lambda api: api.dead.scan(pattern="*[tT][tT][tT]*x*").first(25, seconds=60),
    "a search that finds": lambda api: api.dead.scan("Ok").first(100, seconds=60),
    "a crowded time": lambda api: api.dead.find(f"7.0-{20:024x}"),
    "an id": lambda api: list(api.find("nowhere")),
    "groups": lambda api: api.retries.groups().run(),
    "running": lambda api: api.work.all(),
    "in flight": lambda api: list(api.in_flight),
    "queues": lambda api: api.queues(),
    "processes": lambda api: api.processes.all(),
    "stacks": lambda api: api.processes.stacks([f"h:{n}:a" for n in range(60)]),
    "counters": lambda api: api.counters(),
    "rates": lambda api: Flows().look(api, api.queues()),
}


# One test for all of them: to write this much takes longer than to read it.
def test_no_step_brings_more_than_some_megabytes(api: Api, calls: list[tuple[str, int]]) -> None:
    everything(api.redis, api)
    for name, read in READINGS.items():
        calls.clear()
        read(api)
        assert calls, name
        # What it may have, and the draught that it could not know.
        assert max(size for _, size in calls) <= STEP_BYTES + 16 * 500_000, name


def test_a_page_of_large_jobs_is_shorter_and_the_next_one_begins_there(api: Api) -> None:
    everything(api.redis, api)
    for name in ("page of a set", "page of a queue", "newest of a queue"):
        page: Any = READINGS[name](api)
        held = sum(len(one.value) for one in page)
        assert len(page) < 80, name
        assert BYTES <= held <= BYTES + 16 * 500_000, name
    seen, start = [], 0
    while page := api.retries.page(start, 100):
        seen += [one.value for one in page]
        start += len(page)
    assert seen == [*SMALL, *LARGE]


def test_a_search_ends_when_it_holds_enough(api: Api) -> None:
    everything(api.redis, api)
    found = api.dead.scan(where=lambda one: len(one.value) > MB // 4).first(100, seconds=60)
    assert 0 < sum(len(one.value) for one in found) <= BYTES + STEP_BYTES + 16 * 500_000


def test_the_audit_log_is_read_in_bounded_steps(redis: redis_py.Redis) -> None:
    api = Api(redis)
    for n in range(60):
        redis.xadd(api.keys.audit, {"id": f"{n}-a", "who": "w" * 500_000, "jobs": 1})
    steps, found, before = 0, [], ""
    while page := api.audit.page(1000, before=before):
        assert sum(len(one.who) for one in page) < BYTES + 10 * 500_000
        found += page
        before, steps = page[-1].id, steps + 1
    assert [one.ref for one in found] == [f"{n}-a" for n in reversed(range(60))]
    assert steps > 5
    assert list(api.audit) == found


def test_jobs_of_a_queue_by_their_keys_are_too_many_at_last(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobd.api.search.scans.MOST_HELD", 5 * MB)
    push(api, "default", *LARGE)
    queue = api.queue("default")
    placed = [QueuedKey(one.digest, one.jid, one.before) for one in queue]
    for keys in (placed, [QueuedKey(key.digest, key.jid) for key in placed]):
        with pytest.raises(ArgumentError, match="more than 5 MB together"):
            queue.find_all(keys, seconds=None)
        assert len(queue.find_all(keys[:5], seconds=None)) == 5


def test_jobs_by_their_keys_are_too_many_at_last(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobd.api.search.scans.MOST_HELD", 5 * MB)
    everything(api.redis, api)
    keys = [entry.key for entry in api.retries]
    with pytest.raises(ArgumentError, match="more than 5 MB together"):
        api.retries.find_all(keys, seconds=None)


@pytest.mark.parametrize(
    "pattern",
    [
        *("[^a]" * 31 + "x", "*" + "[^a]" * 8 + "x*", "t?" * 15 + "x", "*t" * 200 + "*x"),
        *("t" * 31 + "x", "*".join(["t" * 31] * 20) + "x", "[tT]" * 31 + "x"),
    ],
)
def test_no_pattern_costs_the_server_more_than_reading(redis: redis_py.Redis, pattern: str) -> None:
    """By the time of its processor, beside that of going through all without a pattern."""
    api = Api(redis)
    redis.zadd("retry", {raw: at for at, raw in enumerate(LARGE)})

    def cost(search: str | None) -> float:
        before = redis.info("cpu")["used_cpu_user"] + redis.info("cpu")["used_cpu_sys"]
        for _ in range(3):
            scan = api.retries.scan(pattern=search)
            while not scan.done:
                scan.next()
        after = redis.info("cpu")["used_cpu_user"] + redis.info("cpu")["used_cpu_sys"]
        return float(after - before)

    plain = cost(None)
    assert cost(pattern) < 4 * plain + 0.1


def test_moving_and_restoring_large_jobs_takes_several_steps(
    api: Api, calls: list[tuple[str, int]]
) -> None:
    push(api, "default", *LARGE)
    assert api.queue("default").move_all("other") == 60
    assert sum(name == "move_all" for name, _ in calls) > 5
    alice = api.acting_as("alice")
    assert alice.queue("other").clear() == 60
    assert next(iter(alice.trash)).restore() == 60
    assert sum(name == "restore" for name, _ in calls) > 5
    redis: Any = api.redis
    assert redis.llen(api.keys.queue("other")) == 60


def test_of_a_hundred_thousand_queues_some_are_looked_at(
    api: Api, calls: list[tuple[str, int]]
) -> None:
    names = [f"q{n}" for n in range(20_000)]
    api.redis.sadd(api.keys.queues, *names)
    push(api, "q19999", job(7))
    assert len(api.queues(most=500)) == 500
    assert len(calls) < 20
    assert len(api.stats(most=500).queues) == 500
    assert len(api.queues()) == 20_000
    # Finding a job needs no list of all.
    calls.clear()
    search = api.find("nowhere")
    assert not calls
    while search.place[:6] != "queue:":
        search.next()
    assert len(calls) < 20
    cursors = [search.cursor]
    while not search.done:
        search = api.find(job(7).decode().split('"jid":"')[1][:24], cursor=search.cursor)
        if search.first(1, seconds=1.0):
            break
        cursors.append(search.cursor)
    else:
        pytest.fail("it was not found")
    assert len(set(cursors)) == len(cursors)


def test_of_many_classes_those_that_ran_last_are_told(api: Api) -> None:
    now = api.metrics._period(5, None)[0]
    for at in now:
        counts = {f"C{n}|{end}": 1 for n in range(MOST_CLASSES + 500) for end in ("p", "f", "ms")}
        counts["x" * 100_000 + "|p"] = 1
        api.redis.hset(api.keys.metrics_minute(at), mapping=counts)  # type: ignore[arg-type]
    found = api.metrics.top_jobs(minutes=5)
    assert MOST_CLASSES * 0.5 < len(found) <= 3 * MOST_CLASSES
    assert max(len(one.name) for one in found) < 100
