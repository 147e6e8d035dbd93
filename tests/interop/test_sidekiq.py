"""One Redis, two languages: what one side pushes or fails, the other runs, retries and shows."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
import redis as redis_py

from jobd.api import Api, DeadSet, JobSet, RetrySet, ScheduledSet
from tests.interop import jobs
from tests.interop.conftest import Python, Ruby
from tests.interop.sidekiq import Console

# Anything that two JSON writers could write differently.
ARGS: list[Any] = [
    1,
    "two",
    {"k": [1.5, None, True]},
    'é ☃ 💎 / </script> \\ " \b\f\n\r\t \x01\x1f\x7f \u2028',
    -0.5,
    2**60,
    "",
    {},
    [],
]
SETS: dict[str, type[JobSet]] = {"retry": RetrySet, "schedule": ScheduledSet, "dead": DeadSet}
# Seconds: Sidekiq looks for due jobs up to 5 s after its start, then about every second.
POLL = 10.0
# Seconds: a beat is at most 10 s away.
BEAT = 12.0


def ran(redis: redis_py.Redis) -> list[dict[str, Any]]:
    """What has run so far, on either side."""
    with redis.pipeline() as pipe:
        pipe.lrange("ran", 0, -1)
        (lines,) = pipe.execute()
    return [json.loads(line) for line in lines]


def make_due(redis: redis_py.Redis) -> None:
    """Let the only entry of ``retry`` run now."""
    with redis.pipeline() as pipe:
        pipe.zrange("retry", 0, -1)
        ((raw,),) = pipe.execute()
    redis.zadd("retry", {raw: time.time()}, xx=True)


def test_ruby_pushes_and_python_runs(
    console: Console, python: Python, redis: redis_py.Redis
) -> None:
    argument = json.dumps(json.dumps(ARGS))
    jids = [
        console(f"Greet.perform_async(*JSON.parse({argument}))"),
        console("Greet.perform_in(0.2, 'in')"),
        console("Greet.perform_at(Time.now + 0.3, 'at')"),
        *console("Greet.perform_bulk([['bulk', 1], ['bulk', 2]])"),
        console("Sidekiq::Client.push('class' => 'Greet', 'args' => ['by name'])"),
    ]
    assert redis.zcard("schedule") == 2
    running = python("-c", "2")
    running.wait(lambda: len(ran(redis)) == len(jids), POLL, "all jobs of Ruby have run")
    done = {line["jid"]: line for line in ran(redis)}
    assert set(done) == set(jids)
    assert {line["by"] for line in done.values()} == {"python"}
    arguments = [done[jid]["args"] for jid in jids]
    assert arguments == [ARGS, ["in"], ["at"], ["bulk", 1], ["bulk", 2], ["by name"]]
    running.stop()
    stats = Api(redis).stats()
    assert (stats.processed, stats.failed, stats.enqueued, stats.in_flight) == (6, 0, 0, 0)


def test_python_pushes_and_ruby_runs(python: Python, ruby: Ruby, redis: redis_py.Redis) -> None:
    jids = [
        jobs.greet.perform_async(*ARGS),
        jobs.greet.perform_in(0.2, "in"),
        jobs.greet.perform_at(time.time() + 0.3, "at"),
        *jobs.greet.perform_bulk([("bulk", 1), ("bulk", 2)]),
    ]
    with ruby() as sidekiq:
        sidekiq.wait(lambda: len(ran(redis)) == len(jids), POLL, "all jobs of Python have run")
        assert "tags=a,b" in sidekiq.log()
    done = {line["jid"]: line for line in ran(redis)}
    assert {line["by"] for line in done.values()} == {"ruby"}
    arguments = [done[jid]["args"] for jid in jids if jid]
    assert arguments == [ARGS, ["in"], ["at"], ["bulk", 1], ["bulk", 2]]


def test_what_failed_in_python_is_retried_by_ruby_and_back(
    console: Console, python: Python, ruby: Ruby, redis: redis_py.Redis
) -> None:
    redis.set("broken", 1)
    jid = jobs.flaky.perform_async("x", 1.5)

    first = python()
    first.wait(lambda: redis.zcard("retry"), 10, "failed in Python")
    first.stop()
    (seen,) = console("Sidekiq::RetrySet.new.map { |e| [e.item, e.error_backtrace, e.score] }")
    item, backtrace, score = seen
    assert (item["jid"], item["retry_count"]) == (jid, 0)
    assert (item["error_class"], item["error_message"]) == ("ValueError", "broken é x")
    assert "retried_at" not in item
    assert 14 <= score - item["failed_at"] <= 26
    assert any("jobs.py" in line and "flaky" in line for line in backtrace)

    make_due(redis)
    with ruby() as sidekiq:
        console("Sidekiq::RetrySet.new.each(&:add_to_queue); nil")
        sidekiq.wait(
            lambda: len(ran(redis)) == 2 and redis.zcard("retry"), 10, "failed again in Ruby"
        )
    (record,) = Api(redis).retries
    assert (record.jid, record.retry_count, record.failed_at) == (jid, 1, item["failed_at"])
    assert (record.error_class, record.error_message) == ("ArgumentError", "broken é x")
    assert record.retried_at is not None
    assert record.retried_at > item["failed_at"]
    assert any("jobs.rb" in line for line in record.error_backtrace)

    redis.delete("broken")
    make_due(redis)
    last = python()
    last.wait(lambda: len(ran(redis)) == 3, 10, "done in Python")
    last.stop()
    assert [line["by"] for line in ran(redis)] == ["python", "ruby", "python"]
    assert {line["jid"] for line in ran(redis)} == {jid}
    assert not redis.exists("retry", "dead", "queue:default")


def test_what_failed_in_ruby_is_retried_by_python_and_back(
    console: Console, python: Python, ruby: Ruby, redis: redis_py.Redis
) -> None:
    redis.set("broken", 1)
    with ruby() as sidekiq:
        jid = console("Flaky.perform_async('x', 1.5)")
        sidekiq.wait(lambda: redis.zcard("retry"), 10, "failed in Ruby")
    (before,) = Api(redis).retries
    assert (before.jid, before.retry_count, before.error_class) == (jid, 0, "ArgumentError")
    assert any("jobs.rb" in line for line in before.error_backtrace)

    make_due(redis)
    running = python()
    running.wait(lambda: len(ran(redis)) == 2 and redis.zcard("retry"), 10, "failed in Python")
    running.stop()
    ((item, backtrace),) = console("Sidekiq::RetrySet.new.map { |e| [e.item, e.error_backtrace] }")
    assert (item["jid"], item["retry_count"]) == (jid, 1)
    assert (item["error_class"], item["failed_at"]) == ("ValueError", before.failed_at)
    assert item["retried_at"] > item["failed_at"]
    assert any("jobs.py" in line for line in backtrace)

    redis.delete("broken")
    with ruby() as sidekiq:
        console("Sidekiq::RetrySet.new.each(&:add_to_queue); nil")
        sidekiq.wait(lambda: len(ran(redis)) == 3, 10, "done in Ruby")
    assert [line["by"] for line in ran(redis)] == ["ruby", "python", "ruby"]
    assert not redis.exists("retry", "dead", "queue:default")


STATS = """
  s = Sidekiq::Stats.new
  {processed: s.processed, failed: s.failed, enqueued: s.enqueued, scheduled: s.scheduled_size,
   retries: s.retry_size, dead: s.dead_size, processes: s.processes_size, busy: s.workers_size,
   history: Sidekiq::Stats::History.new(1).processed.values}
"""
PROCESSES = """
  Sidekiq::ProcessSet.new.map { |p|
    {identity: p.identity, queues: p.queues, labels: p.labels, tag: p.tag, busy: p["busy"],
     concurrency: p["concurrency"], hostname: p["hostname"], pid: p["pid"], quiet: p["quiet"],
     rss: p["rss"], started_at: p["started_at"]}
  }
"""
WORK = """
  (defined?(Sidekiq::WorkSet) ? Sidekiq::WorkSet : Sidekiq::Workers).new.map { |process, thread, w|
    payload = w["payload"]
    payload = JSON.parse(payload) if payload.is_a?(String)
    {process: process, thread: thread, queue: w["queue"], payload: payload, run_at: w["run_at"]}
  }
"""


def test_sidekiqs_api_reads_a_worker(
    console: Console, python: Python, redis: redis_py.Redis
) -> None:
    redis.set("broken", 1)
    began = time.time()
    jobs.greet.perform_async(1)
    jobs.flaky.perform_async("x")
    jobs.hopeless.perform_async()
    jobs.greet.perform_in(3600, "later")
    running = python("-c", "3")
    running.wait(
        lambda: [redis.get("stat:processed"), redis.get("stat:failed")] == [b"3", b"2"],
        10,
        "three jobs are counted",
    )
    slow = jobs.slow.perform_async(60)
    running.wait(lambda: len(console(WORK)) == 1, BEAT, "Ruby sees the running job")
    (work,) = console(WORK)
    (process,) = console(PROCESSES)
    assert work["payload"]["jid"] == slow
    assert (work["process"], work["queue"]) == (process["identity"], "default")
    assert began - 1 <= work["run_at"] <= time.time()
    assert process["pid"] in running.workers()
    assert process["identity"].startswith(f"{process['hostname']}:{process['pid']}:")
    assert (process["queues"], process["concurrency"], process["busy"]) == (["default"], 3, 1)
    assert (process["labels"], process["quiet"]) == ([], "false")
    assert int(process["rss"]) > 5000
    assert began - 1 <= process["started_at"] <= time.time()
    assert console(STATS) == {
        "processed": 3,
        "failed": 2,
        "enqueued": 0,
        "scheduled": 1,
        "retries": 1,
        "dead": 1,
        "processes": 1,
        "busy": 1,
        "history": [3],
    }
    ((dead, since),) = console("Sidekiq::DeadSet.new.map { |e| [e.item, e.score] }")
    assert (dead["class"], dead["error_message"]) == ("Hopeless", "broken for good")
    assert began - 1 <= since <= time.time()
    redis.rpush("go", 1)


def test_sidekiqs_api_commands_workers(
    console: Console, python: Python, redis: redis_py.Redis
) -> None:
    running = python("-w", "2")
    first, second = sorted(process["identity"] for process in console(PROCESSES))
    console(f"Sidekiq::ProcessSet.new.find {{ |p| p.identity == '{first}' }}.quiet!")
    console(f"Sidekiq::ProcessSet.new.find {{ |p| p.identity == '{second}' }}.stop!")

    def after() -> bool:
        quiet = {process["identity"]: process["quiet"] for process in console(PROCESSES)}
        return quiet.get(first) == "true" and len(quiet) == 2 and second not in quiet

    running.wait(after, 2 * BEAT, "one worker is quiet, and the other one replaced")
    running.wait(lambda: len(running.workers()) == 2, 5, "the state file names the new worker")
    jids = {jobs.greet.perform_async(number) for number in range(20)}
    running.wait(lambda: len(ran(redis)) == 20, 10, "the new worker does all the work")
    assert {line["jid"] for line in ran(redis)} == jids


@pytest.mark.parametrize("key", ["retry", "schedule", "dead"])
def test_rescheduling_through_ruby_makes_no_second_entry(
    console: Console, python: Python, redis: redis_py.Redis, key: str
) -> None:
    if key == "schedule":
        jobs.greet.perform_in(3600, *ARGS)
    else:
        redis.set("broken", 1)
        flaky = jobs.flaky.set(retry=5 if key == "retry" else 0)
        flaky.perform_async(*ARGS)
        running = python()
        running.wait(lambda: redis.zcard(key), 10, f"the job is in {key}")
        running.stop()
    kind = {"retry": "RetrySet", "schedule": "ScheduledSet", "dead": "DeadSet"}[key]
    console(f"Sidekiq::{kind}.new.each {{ |e| e.reschedule(Time.at(2_000_000_000.5)) }}; nil")
    (found,) = SETS[key](Api(redis))
    assert found.score == pytest.approx(2_000_000_000.5)
    jid = found.jid
    assert console(f"Sidekiq::{kind}.new.find_job('{jid}').delete; Sidekiq::{kind}.new.size") == 0


@pytest.mark.parametrize(
    "number",
    [
        *(0.0, -0.0, 1.0, 0.1, 1e-4, 123456789012345.6, 1795416072.920344),
        # json before 2.15 writes 1e15 as 1.0e+15 and 0.00001 as 1.0e-05.
        *(
            1e15,
            9999999999999998.0,
            2510318718492553.5,
            1e16,
            -1e22,
            1.5e300,
            1e-5,
            1.25e-7,
            5e-324,
        ),
    ],
)
def test_ruby_writes_our_numbers_as_we_do(
    console: Console, redis: redis_py.Redis, python: Python, number: float
) -> None:
    version = [int(part) for part in console("JSON::VERSION").split(".")[:2]]
    if version < [2, 15] and number and not 1e-4 <= abs(number) < 1e10:
        pytest.skip("this version of Ruby's json spells it otherwise")
    jobs.greet.perform_async(number, {"n": number})
    raw = redis.lindex("queue:default", 0)
    assert raw is not None
    again = console("JSON.generate(JSON.parse(Sidekiq.redis { |r| r.lindex('queue:default', 0) }))")
    assert again.encode() == raw


def test_what_we_push_is_what_sidekiq_would_push(
    console: Console, python: Python, redis: redis_py.Redis
) -> None:
    console(f"Greet.perform_async(*JSON.parse({json.dumps(json.dumps(ARGS))}))")
    jobs.greet.perform_async(*ARGS)
    with redis.pipeline() as pipe:
        pipe.lrange("queue:default", 0, -1)
        ((ours, theirs),) = pipe.execute()
    varying = re.compile(rb'"(jid|created_at|enqueued_at)":("[0-9a-f]{24}"|\d+\.\d+)')
    assert varying.sub(rb'"\1":?', ours) == varying.sub(rb'"\1":?', theirs)
