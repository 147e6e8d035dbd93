"""What becomes of a job that fails: another attempt, the dead set, or nothing.

Every case is decided by the real code and carried out by the real scripts on the real server.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from contextvars import Context
from typing import Any

import pytest
import redis as redis_py

from jobd import DISCARD, KILL
from jobd.jobs.app import App
from jobd.settings.daemon import Config
from jobd.store import scripts
from jobd.store.inflight import Claimed, InFlight
from jobd.store.keys import Keys
from jobd.store.pipeline import Wire
from jobd.worker.metrics import Metrics
from jobd.worker.run.coroutines import Coroutines
from jobd.worker.run.deadlines import Deadlines
from jobd.worker.run.executor import Executor
from jobd.worker.run.inputs import StepInputs
from jobd.worker.run.locks import Locks
from jobd.worker.run.loop import EventLoop
from jobd.worker.run.retry import backtrace_lines, default_delay, jitter

KEYS = Keys()
ME = "host:1:retry"
BASE = [
    *(15, 16, 31, 96, 271, 640, 1311, 2416, 4111, 6576, 10015, 14656, 20751, 28576, 38431),
    *(50640, 65551, 83536, 104991, 130336, 160015, 194496, 234271, 279856, 331791),
]


class Bench:
    """Runs one job after the other, as a worker would, and looks what Redis holds then."""

    def __init__(self, client: redis_py.Redis, **settings: Any) -> None:
        self.client = client
        self.reported: list[tuple[BaseException, dict[str, Any]]] = []
        self.died: list[tuple[dict[str, Any], BaseException]] = []
        self.inflight = InFlight(KEYS, ME, ["default"])
        self.app = App()
        self.app.error_handlers.append(lambda error, about: self.reported.append((error, about)))
        self.app.death_handlers.append(lambda job, error: self.died.append((dict(job), error)))

        @self.app.job(name="retry.Fail")
        def fail(message: str = "boom") -> None:
            raise ValueError(message)

        @self.app.job(name="retry.Fine")
        def fine() -> str:
            return "fine"

        self.executor = Executor(
            self.app,
            Config(**settings),
            self.inflight,
            Coroutines(EventLoop()),
            Deadlines(lambda: None),
            Metrics(),
            Locks(client, KEYS),
            StepInputs(client, KEYS),
        )
        self.outcome = ""
        self._next = 0
        for script in scripts.OF_A_WORKER:
            client.script_load(script.source)

    def run(self, raw: bytes, queue: str = "default") -> None:
        self._next += 1
        claimed = Claimed(self._next, queue, raw)
        self.client.hset(KEYS.inflight(ME), claimed.tag, raw)
        end = Context().run(self.executor.execute, claimed)
        self.outcome = end.outcome if end else "done"
        self.send(end.call if end else self.inflight.acknowledge([claimed]))
        assert not self.client.exists(KEYS.inflight(ME))

    def send(self, call: bytes) -> Any:
        with closing(Wire(self.client)) as wire:
            wire.connect()
            wire.send(call)
            return wire.read()

    def fail(self, name: str = "retry.Fail", *args: Any, **fields: Any) -> None:
        self.run(payload(name, *args, **fields))

    @property
    def retries(self) -> list[tuple[dict[str, Any], float]]:
        found: Any = self.client.zrange(KEYS.retry, 0, -1, withscores=True)
        return [(json.loads(raw), score) for raw, score in found]

    @property
    def dead(self) -> list[bytes]:
        found: Any = self.client.zrange(KEYS.dead, 0, -1)
        return list(found)

    @property
    def counters(self) -> tuple[int, int]:
        today = time.strftime("%Y-%m-%d", time.gmtime())
        keys = [KEYS.processed, KEYS.failed, KEYS.processed_on(today), KEYS.failed_on(today)]
        values: Any = self.client.mget(keys)
        processed, failed, *by_day = (int(value or 0) for value in values)
        assert by_day == [processed, failed]
        return processed, failed


def payload(name: str, *args: Any, **fields: Any) -> bytes:
    return json.dumps(
        {"class": name, "args": list(args), "jid": "j1", "strange": [1, {"é": None}], **fields}
    ).encode()


@pytest.fixture
def bench(redis: redis_py.Redis) -> Bench:
    return Bench(redis)


# --- the formula ----------------------------------------------------------------------------


def test_delays_are_those_of_sidekiq() -> None:
    assert [default_delay(count) for count in range(25)] == BASE
    assert sum(BASE) / 86400 == pytest.approx(20.41, abs=0.01)


@pytest.mark.parametrize("count", range(25))
def test_jitter_is_whole_seconds_within_its_bounds(count: int) -> None:
    drawn = {jitter(count) for _ in range(3000 if count < 3 else 300)}
    assert all(type(value) is int for value in drawn)
    assert min(drawn) >= 0
    assert max(drawn) <= 10 * (count + 1) - 1
    if count < 3:
        assert drawn == set(range(10 * (count + 1)))


@pytest.mark.parametrize("count", range(25))
def test_every_retry_is_due_within_the_bounds(bench: Bench, count: int) -> None:
    before = time.time()
    fields: dict[str, Any] = {"retry_count": count - 1, "failed_at": 1.5} if count else {}
    bench.fail(retry=True, **fields)
    [(kept, score)] = bench.retries
    assert kept["retry_count"] == count
    assert before + BASE[count] <= score <= time.time() + BASE[count] + 10 * (count + 1) - 1


# --- fields ---------------------------------------------------------------------------------


def test_first_failure_field_by_field(bench: Bench) -> None:
    before = time.time()
    raw = payload("retry.Fail", "é 7", retry=2, queue="low", backtrace=False)
    bench.run(raw, "high")
    [(kept, _)] = bench.retries
    failed_at = kept.pop("failed_at")
    assert type(failed_at) is float
    assert before <= failed_at <= time.time()
    assert kept == {
        **json.loads(raw),
        "queue": "high",
        "error_message": "é 7",
        "error_class": "ValueError",
        "retry_count": 0,
    }
    member: Any = bench.client.zrange(KEYS.retry, 0, 0)
    assert list(json.loads(member[0]))[-4:] == [
        *("error_message", "error_class", "failed_at", "retry_count")
    ]
    assert "é 7".encode() in member[0]
    assert bench.counters == (1, 1)
    assert bench.outcome == "retry"
    [(error, about)] = bench.reported
    assert str(error) == "é 7"
    assert about["job"] == json.loads(raw)
    assert not bench.died


def test_second_failure_keeps_the_time_of_the_first(bench: Bench) -> None:
    bench.fail(retry=True, retry_count=0, failed_at=1700000000000, error_message="old")
    [(kept, _)] = bench.retries
    assert kept["failed_at"] == 1700000000000
    assert time.time() - 60 < kept["retried_at"] <= time.time()
    assert kept["retry_count"] == 1
    assert kept["error_message"] == "boom"


def test_retries_go_to_the_retry_queue(bench: Bench) -> None:
    bench.fail(retry=True, queue="default", retry_queue="later")
    assert bench.retries[0][0]["queue"] == "later"


@pytest.mark.parametrize(("wanted", "lines"), [(True, 2), (1, 1), (False, None), (0, None)])
def test_backtraces_hold_the_lines_asked_for(
    bench: Bench, wanted: object, lines: int | None
) -> None:
    bench.fail(retry=True, backtrace=wanted)
    [(kept, _)] = bench.retries
    if lines is None:
        assert "error_backtrace" not in kept
        return
    packed = kept["error_backtrace"]
    unpacked = json.loads(zlib.decompress(base64.b64decode(packed, validate=True)))
    assert len(unpacked) == lines if wanted is not True else unpacked
    assert "in 'fail'" in unpacked[0], "the innermost line comes first"
    assert not any("executor.py" in line for line in unpacked[:1])


def test_backtrace_lines_of_nothing() -> None:
    assert backtrace_lines(ValueError(), None) is None
    assert backtrace_lines(ValueError(), True) == []


def test_a_long_message_is_cut(bench: Bench) -> None:
    bench.fail("retry.Fail", "x" * 20_000, retry=True)
    assert bench.retries[0][0]["error_message"] == "x" * 10_000


def test_an_exception_that_cannot_be_shown(bench: Bench) -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    @bench.app.job(name="retry.Mute")
    def mute() -> None:
        raise Mute

    bench.fail("retry.Mute", retry=True)
    [(kept, _)] = bench.retries
    assert "no message" in kept["error_message"]
    assert kept["error_class"].endswith("Mute")


def test_a_message_that_is_no_text(bench: Bench) -> None:
    bench.fail("retry.Fail", "ok", retry=True)

    @bench.app.job(name="retry.Lone")
    def lone() -> None:
        raise ValueError("half \ud800")

    bench.client.flushall()
    for script in scripts.OF_A_WORKER:
        bench.client.script_load(script.source)
    bench.fail("retry.Lone", retry=True)
    assert bench.retries[0][0]["error_message"] == "half ?"


# --- how often ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("retry", "count", "outcome"),
    [
        (True, None, "retry"),
        (True, 23, "retry"),
        (True, 24, "dead"),
        (None, 23, "retry"),
        (None, 24, "dead"),
        ("absent", 23, "retry"),
        ("absent", 24, "dead"),
        (0, None, "dead"),
        (1, None, "retry"),
        (1, 0, "dead"),
        (40, 30, "retry"),
        (False, None, "discarded"),
        ("garbage", 23, "retry"),
        ("garbage", 24, "dead"),
    ],
)
def test_the_number_of_retries(bench: Bench, retry: Any, count: int | None, outcome: str) -> None:
    fields = {} if retry == "absent" else {"retry": retry}
    if count is not None:
        fields |= {"retry_count": count, "failed_at": 1.5}
    bench.fail(**fields)
    assert bench.outcome == outcome
    assert len(bench.retries) == (outcome == "retry")
    assert len(bench.dead) == (outcome == "dead")
    assert len(bench.died) == (outcome != "retry")
    assert bench.counters == (1, 1)
    if outcome == "dead":
        assert json.loads(bench.dead[0])["retry_count"] == (0 if count is None else count + 1)


def test_the_definition_says_what_the_payload_does_not(bench: Bench) -> None:
    @bench.app.job(name="retry.Once", retry=0)
    def once() -> None:
        raise ValueError

    bench.fail("retry.Once")
    assert bench.outcome == "dead"
    bench.fail("retry.Once", retry=3)
    assert bench.outcome == "retry"


@pytest.mark.parametrize("unit", [1, 1000], ids=["float seconds", "integer ms"])
@pytest.mark.parametrize(("ago", "outcome"), [(50, "retry"), (70, "dead")])
def test_a_time_window_replaces_the_count(
    bench: Bench, unit: int, ago: float, outcome: str
) -> None:
    first = time.time() - ago
    failed_at = first if unit == 1 else int(first * 1000)
    bench.fail(retry=True, retry_for=60, retry_count=99, failed_at=failed_at)
    assert bench.outcome == outcome


def test_a_time_window_and_a_time_that_is_none(bench: Bench) -> None:
    bench.fail(retry=True, retry_for=60, retry_count=1, failed_at="yesterday")
    assert bench.outcome == "dead"


def test_a_strange_retry_count(bench: Bench) -> None:
    bench.fail(retry=True, retry_count=-7)
    assert bench.retries[0][0]["retry_count"] == -6
    bench.fail(retry=True, retry_count="three")
    assert bench.outcome == "retry"


# --- what the application says ----------------------------------------------------------------


def failing(bench: Bench, name: str, **options: Any) -> None:
    @bench.app.job(name=name, **options)
    def fail() -> None:
        raise ValueError("boom")


def raises(error: BaseException) -> Callable[..., Any]:
    def hook(*_: Any) -> Any:
        raise error

    return hook


@pytest.mark.parametrize(
    ("answer", "delay"),
    [
        (100, 100),
        (0.5, 0.5),
        *((bad, 15) for bad in (0, -5, None, "soon", True, float("nan"), float("inf"), 1e300)),
    ],
)
def test_retry_in_answers_seconds_or_it_does_not_count(
    bench: Bench, answer: Any, delay: float
) -> None:
    asked: list[Any] = []

    def retry_in(count: int, error: BaseException, fields: dict[str, Any]) -> Any:
        asked.append((count, str(error), fields["retry_count"]))
        return answer

    failing(bench, "retry.In", retry_in=retry_in)
    before = time.time()
    bench.fail("retry.In", retry=True)
    [(_, score)] = bench.retries
    assert before + delay <= score <= time.time() + delay + 9
    assert asked == [(0, "boom", 0)]


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3)], ids=repr)
def test_retry_in_that_raises_is_reported_and_does_not_count(
    bench: Bench, error: BaseException
) -> None:
    failing(bench, "retry.InRaises", retry_in=raises(error))
    bench.fail("retry.InRaises", retry=True)
    assert bench.outcome == "retry"
    assert [about["context"] for _, about in bench.reported] == ["retry_in", "Job raised exception"]


def test_retry_in_may_discard(bench: Bench) -> None:
    failing(bench, "retry.Discard", retry_in=lambda *_: DISCARD)
    bench.fail("retry.Discard", retry=True)
    assert (bench.outcome, bench.retries, bench.dead) == ("discarded", [], [])
    assert len(bench.died) == 1
    assert bench.counters == (1, 1)


def test_retry_in_may_kill(bench: Bench) -> None:
    told: list[Any] = []
    failing(
        bench,
        "retry.Kill",
        retry_in=lambda *_: KILL,
        on_exhausted=lambda job, error: told.append(job["retry_count"]),
    )
    bench.fail("retry.Kill", retry=True)
    assert (bench.outcome, told, len(bench.died)) == ("dead", [0], 1)


@pytest.mark.parametrize(
    ("hook", "outcome"),
    [
        (lambda *_: None, "dead"),
        (lambda *_: DISCARD, "discarded"),
        (raises(KeyError("x")), "dead"),
        (raises(SystemExit(1)), "dead"),
    ],
)
def test_on_exhausted(bench: Bench, hook: Any, outcome: str) -> None:
    failing(bench, "retry.Exhausted", on_exhausted=hook)
    bench.fail("retry.Exhausted", retry=0)
    assert bench.outcome == outcome
    assert len(bench.died) == 1


def test_a_hook_that_spoils_the_payload_cannot_lose_the_job(bench: Bench) -> None:
    def spoil(_count: int, _error: BaseException, fields: dict[str, Any]) -> None:
        fields["connection"] = object()
        del fields["retry_count"]

    failing(bench, "retry.Spoil", retry_in=spoil)
    bench.fail("retry.Spoil", retry=True)
    [(kept, _)] = bench.retries
    assert kept["retry_count"] == 0
    assert "connection" not in kept


def test_dead_false_keeps_it_out_of_the_dead_set(bench: Bench) -> None:
    bench.fail(retry=0, dead=False)
    assert (bench.outcome, bench.dead, len(bench.died)) == ("discarded", [], 1)


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(1)], ids=repr)
def test_broken_handlers_change_nothing(bench: Bench, error: BaseException) -> None:
    bench.app.error_handlers.insert(0, raises(error))
    bench.app.death_handlers.insert(0, raises(error))
    bench.fail(retry=0)
    assert (bench.outcome, len(bench.dead), len(bench.died)) == ("dead", 1, 1)
    assert bench.reported[0][1]["context"] == "death handler"


# --- jobs that are none -----------------------------------------------------------------------


@pytest.mark.parametrize("fields", [{"retry": True}, {}], ids=["retry", "no retry"])
def test_an_unknown_class_is_retried(bench: Bench, fields: dict[str, Any]) -> None:
    bench.fail("retry.Nowhere", **fields)
    [(kept, _)] = bench.retries
    assert kept["error_class"] == "jobd.errors.UnknownJobError"
    assert "retry.Nowhere" in kept["error_message"]
    assert bench.counters == (1, 1)


@pytest.mark.parametrize("raw", [b"not json", b"[1,2]", b"\xff\xfe", b"", b'"text"', b"7"])
def test_what_is_no_object_goes_to_the_dead_set(bench: Bench, raw: bytes) -> None:
    bench.run(raw)
    if raw in (b"[1,2]", b'"text"', b"7"):
        (buried,) = map(json.loads, bench.dead)
        assert (buried["class"], buried["args"]) == ("NotAJob", [json.loads(raw)])
        assert buried["error_class"] == "jobd.errors.PayloadError"
    else:
        assert bench.dead == [raw], "as it is"
    assert bench.counters == (0, 0)
    assert not bench.died
    [(_, about)] = bench.reported
    assert about["context"] == "Invalid JSON for job"


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"class": "A", "args": [], "kwargs": 5}, "kwargs"),
        ({"class": "A", "args": [], "kwargs": [1]}, "kwargs"),
        ({"args": []}, "class"),
        ({"class": None, "args": []}, "class"),
        ({"class": 5, "args": []}, "class"),
    ],
)
def test_an_object_that_is_no_job_says_why_in_the_dead_set(
    bench: Bench, fields: dict[str, Any], word: str
) -> None:
    bench.run(json.dumps({"jid": "x", **fields}).encode())
    kept = json.loads(bench.dead[0])
    assert {name: kept[name] for name in fields} == fields
    assert word in kept["error_message"]
    assert bench.counters == (0, 0)


@pytest.mark.parametrize("extra", [b"1e999", b'"\xff\xfe"', b"9" * 5000])
@pytest.mark.parametrize("name", [b"retry.Fail", b"retry.Fine", b"retry.Nowhere"])
def test_a_job_with_a_broken_field_that_no_execution_needs(
    bench: Bench, extra: bytes, name: bytes
) -> None:
    """It stayed in flight for ever when it failed, and its worker could not stop."""
    raw = b'{"class":"' + name + b'","args":[],"retry":true,"extra":' + extra + b"}"
    bench.run(raw)
    if name == b"retry.Fine":
        assert bench.outcome == "done"
    else:
        assert bench.dead == [raw]


@pytest.mark.parametrize("code", [0, 1, "bye"])
def test_sys_exit_in_a_job_is_a_failure(bench: Bench, code: Any) -> None:
    @bench.app.job(name="retry.Exit")
    def leave() -> None:
        sys.exit(code)

    bench.fail("retry.Exit", retry=True)
    assert bench.retries[0][0]["error_class"] == "SystemExit"


def test_the_dead_set_keeps_one_less_than_its_size_and_forgets_the_old(
    redis: redis_py.Redis, bench: Bench
) -> None:
    small = Bench(redis, dead_max_jobs=5, dead_timeout=100.0)
    redis.zadd(KEYS.dead, {"ancient": time.time() - 101})
    for n in range(7):
        small.run(payload("retry.Fail", str(n), retry=0))
    kept = [json.loads(raw)["error_message"] for raw in small.dead]
    assert kept == ["3", "4", "5", "6"]


NULLS = (
    *("retry", "queue", "dead", "backtrace", "retry_queue", "retry_for", "tags", "wrapped", "at"),
    *("created_at", "enqueued_at", "failed_at", "retried_at", "retry_count", "crashes", "kwargs"),
    *("error_message", "error_class", "error_backtrace", "recovered_from", "jid", "cattr", "bid"),
)


def test_null_is_absent(bench: Bench) -> None:
    nulls = dict.fromkeys(NULLS)
    bench.run(json.dumps({"class": "retry.Fine", "args": None, **nulls}).encode())
    assert bench.outcome == "done"
    bench.run(json.dumps({"class": "retry.Fail", "args": None, **nulls}).encode())
    [(kept, _)] = bench.retries
    assert (kept["args"], kept["jid"], kept["retry_for"]) == (None, None, None)
    assert (kept["queue"], kept["retry_count"], kept["error_message"]) == ("default", 0, "boom")
    bench.run(json.dumps({**kept, "retry_for": 60, "failed_at": None}).encode())
    assert bench.outcome == "retry"


# --- numbers that another program has written --------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"retry_for": 10**310, "failed_at": 1700000000.0, "retry_count": 3}, "retry"),
        ({"retry_for": -(10**310), "failed_at": 1700000000.0, "retry_count": 3}, "dead"),
        ({"retry": 10**101, "retry_count": 10**100}, "retry"),
        ({"retry": 10**101, "retry_count": -(10**100)}, "retry"),
        ({"retry": 5, "retry_count": 10**400}, "dead"),
        ({"failed_at": 10**400, "retry_for": 60, "retry_count": 1}, "dead"),
    ],
)
def test_numbers_larger_than_any_time(bench: Bench, fields: dict[str, Any], outcome: str) -> None:
    bench.fail(**{"retry": True, **fields})
    assert bench.outcome == outcome
