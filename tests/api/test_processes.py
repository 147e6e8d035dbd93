"""Processes and running jobs, of both eras of Sidekiq and whatever else is written there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from jobd.api import Api, Stacks
from jobd.errors import ArgumentError
from tests.api.conftest import HOSTILE, PLAIN

BASE = {"hostname": "vm", "started_at": 1795416082.5, "pid": 7, "tag": "shop", "labels": ["x"]}
CAPSULES = {"default": {"mode": "strict", "weights": {"a": 0, "b": 0}}, "x": {"weights": {"c": 3}}}
NEW = {**BASE, "capsules": CAPSULES, "version": "8.1.7", "embedded": False}
OLD = {**BASE, "pid": 6, "concurrency": 4, "queues": ["default", "slow"]}
MIDDLE = {**BASE, "concurrency": 2, "queues": ["a", "b"], "weights": [{"a": 2}, {"b": 1}]}
WORK = {"queue": "slow", "payload": PLAIN.decode(), "run_at": 1795416082}


def beat(api: Api, identity: str, info: dict[str, Any] | bytes, **fields: Any) -> None:
    api.redis.sadd(api.keys.processes, identity)
    raw = info if isinstance(info, bytes) else json.dumps(info)
    found: dict[Any, Any] = {"info": raw, **fields}
    api.redis.hset(api.keys.process(identity), mapping=found)


def test_processes_of_all_eras(api: Api) -> None:
    new = {"concurrency": 10, "busy": 1, "beat": "1795416087.63", "quiet": "true"}
    beat(api, "vm:7:n", NEW, **new, rss=30928, rtt_us=92)
    beat(api, "vm:6:o", OLD, quiet="false")
    beat(api, "vm:8:m", MIDDLE)
    api.redis.sadd(api.keys.processes, "vm:5:dead")
    api.redis.set(api.keys.leader, "vm:6:o")
    old, current, middle = api.processes
    assert (old.identity, old.concurrency, old.queues) == ("vm:6:o", 4, ("default", "slow"))
    assert (old.version, old.leader, old.stopping, old.embedded) == ("", True, False, False)
    assert (current.concurrency, current.queues, current.stopping) == (10, ("a", "b", "c"), True)
    assert current.weights == {"a": 0, "b": 0, "c": 3}
    assert (current.beat, current.rss, current.rtt_us) == (1795416087.63, 30928, 92)
    assert (current.busy, current.version, current.leader) == (1, "8.1.7", False)
    assert (current.labels, current.hostname, current.tag) == (("x",), "vm", "shop")
    assert (current.started_at, current.pid) == (1795416082.5, 7)
    assert (middle.weights, middle.queues) == ({"a": 2, "b": 1}, ("a", "b"))
    assert api.processes["vm:7:n"] == current
    assert (api.processes.size, api.processes.leader) == (4, "vm:6:o")
    assert (api.processes.total_concurrency, api.processes.total_rss) == (16, 30928)
    for missing in ("vm:5:dead", "?"):
        with pytest.raises(KeyError):
            api.processes[missing]


def test_processes_of_nobody_we_know(api: Api) -> None:
    for number, raw in enumerate(HOSTILE):
        beat(api, f"h:{number}:x", raw, concurrency="x", busy="", beat="nan", rss="1e9", quiet="?")
    odd = {"labels": [1], "tag": 7, "capsules": {"a": 1, "b": {"weights": []}}, "weights": [[]]}
    beat(api, "odd", {**odd, "pid": "x", "started_at": [], "queues": {"a": 1}, "hostname": None})
    found = api.processes.all()
    assert len(found) == len(HOSTILE) + 1
    assert found[-1].hostname == "odd"
    assert found[-1].labels == found[-1].queues == ()


@pytest.mark.parametrize("key", ["work", "workers"])
def test_running_jobs_of_both_eras(api: Api, key: str) -> None:
    beat(api, "vm:7:n", NEW, busy=1)
    beat(api, "vm:6:o", OLD, busy=1)
    earlier = {**WORK, "payload": json.loads(PLAIN), "run_at": 1795416000}
    api.redis.hset(getattr(api.keys, key)("vm:7:n"), "c0u", json.dumps(WORK))
    api.redis.hset(getattr(api.keys, key)("vm:6:o"), "t", json.dumps(earlier))
    first, second = api.work
    assert (first.process, first.thread, first.run_at) == ("vm:6:o", "t", 1795416000.0)
    assert (second.process, second.thread, second.queue) == ("vm:7:n", "c0u", "slow")
    assert first.job.jid == second.job.jid == "1befef82961e0772dce5ae4d"
    assert (second.job.queue, second.job.display_class) == ("slow", "Ok")
    assert api.work.size == 2
    assert api.work.of("vm:7:n") == [second]
    assert api.work.find_work("1befef82961e0772dce5ae4d") == first
    assert api.work.find_work("missing") is None


def test_a_worker_that_writes_both_names_is_counted_once(api: Api) -> None:
    beat(api, "vm:7:n", NEW)
    for key in (api.keys.work("vm:7:n"), api.keys.workers("vm:7:n")):
        api.redis.hset(key, "c0u", json.dumps(WORK))
    assert len(api.work.all()) == 1


def test_hostile_work(api: Api) -> None:
    beat(api, "vm:7:n", NEW, busy="many")
    entries: dict[Any, Any] = {f"t{number}": raw for number, raw in enumerate(HOSTILE)}
    entries["payload"] = json.dumps({"queue": 7, "payload": ["x"], "run_at": "soon"})
    entries["surrogate"] = '{"queue":"q","payload":"\\ud800"}'
    entries[b"\xff"] = json.dumps({"payload": None})
    api.redis.hset(api.keys.work("vm:7:n"), mapping=entries)
    for work in api.work:
        repr((work, work.job.display_args))
    assert api.work.size == 0


def test_signals(api: Api) -> None:
    beat(api, "vm:7:n", NEW)
    beat(api, "vm:8:e", {**NEW, "embedded": True})
    plain, embedded = api.processes
    assert (plain.quiet(), plain.stop(), plain.dump_threads()) == (True, True, True)
    signals = api.keys.signals("vm:7:n")
    assert api.redis.lrange(signals, 0, -1) == [b"TTIN", b"TERM", b"TSTP"]
    assert 50 < api.redis.ttl(signals) <= 60
    with pytest.raises(ArgumentError, match="another program"):
        embedded.stop()
    api.redis.delete(signals)
    assert api.processes.quiet_all() == 1
    assert api.processes.stop_all() == 1
    assert api.processes.dump_threads_all() == 1
    assert api.redis.lrange(signals, 0, -1) == [b"TTIN", b"TERM", b"TSTP"]
    assert not api.redis.exists(api.keys.signals("vm:8:e"))
    api.redis.delete(api.keys.process("vm:7:n"), signals)
    assert not plain.quiet()
    assert not api.redis.exists(signals)


def test_stacks(api: Api) -> None:
    beat(api, "vm:7:n", {**NEW, "implementation": "jobd"})
    beat(api, "vm:8:r", NEW)
    python, ruby = api.processes
    assert (python.is_jobd, ruby.is_jobd) == (True, False)
    assert python.stacks() is None
    key = api.keys.stacks("vm:7:n")
    api.redis.hset(key, mapping={"at": "1795416082.5", "text": b"Thread job-1 \xff"})
    assert python.stacks() == Stacks(1795416082.5, "Thread job-1 \ufffd")
    assert api.processes.stacks(["vm:8:r", "vm:7:n"]) == {"vm:7:n": python.stacks()}
    # What is there after a question is the answer to it.
    assert python.dump_threads()
    assert python.stacks() is None
    api.redis.hset(key, mapping={"at": "soon", "text": "again"})
    assert python.stacks() == Stacks(0.0, "again")
    assert api.processes.dump_threads_all() == 2
    assert python.stacks() is None
    api.redis.set(key, "of another type")
    assert api.processes.stacks(["vm:7:n"]) == {}


def test_stacks_of_many_processes_come_in_bounded_steps(api: Api) -> None:
    names = [f"vm:{number}:n" for number in range(45)]
    for name in names:
        api.redis.hset(api.keys.stacks(name), mapping={"at": "1.0", "text": name})
    found = api.processes.stacks(names)
    assert [found[name].text for name in names] == names


def test_cleanup_is_done_once_a_minute(api: Api) -> None:
    beat(api, "vm:7:n", NEW)
    api.redis.sadd(api.keys.processes, "vm:5:dead", b"\xff")
    assert api.processes.cleanup() == 2
    assert api.processes.size == 1
    api.redis.sadd(api.keys.processes, "vm:5:dead")
    assert api.processes.cleanup() == 0
    api.redis.delete(api.keys.process_cleanup)
    assert api.processes.cleanup() == 1
