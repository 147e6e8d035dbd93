"""``jobctl tail``, with real daemons: what happens is seen while somebody listens, and nothing is
reported otherwise."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.store.control import TAIL_EVERY, TAIL_LEASE
from jobd.testing import EmbeddedServer
from jobd.worker.tail import MOST
from tests.conftest import StartDaemon
from tests.support.daemon import environment, wait

APP = """
    import time
    from jobd import Snooze, job

    @job(queue="mail")
    def works(*_): ...

    @job(queue="mail")
    async def aworks(*_): ...

    @job(queue="mail", retry=0)
    def fails(text): raise ValueError(text)

    @job(queue="mail", retry=0)
    async def afails(text): raise ValueError(text)

    @job(queue="low")
    def snoozes(): raise Snooze(3600)
"""
QUEUES = ("-q", "mail", "-q", "low", "-c", "2")

PATIENCE = 120.0
"""Seconds; far more than anything here takes, also where the machine is busy."""

Seen = dict[str, Any]


class Listener:
    """A running ``jobctl tail --json``; what it prints is in files."""

    def __init__(self, url: str, directory: Path, words: tuple[str, ...]) -> None:
        self._out, self._err = directory / "tail.out", directory / "tail.err"
        command = [sys.executable, "-m", "jobctl", "tail", "--redis", url, *words]
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=err, env=environment({"COLUMNS": "40"})
            )

    @property
    def text(self) -> str:
        return self._out.read_text()

    @property
    def said(self) -> str:
        return self._err.read_text()

    @property
    def lines(self) -> list[Seen]:
        whole, _, _ = self.text.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def of(self, jid: object) -> list[str]:
        return [line["event"] for line in self.lines if line["jid"] == jid]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        try:
            return wait(condition, PATIENCE, what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text[-3000:]}\n{self.said}") from None

    def end(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


Listen = Callable[..., Listener]


@pytest.fixture
def listen(server: EmbeddedServer, tmp_path: Path) -> Iterator[Listen]:
    """Starts a listener that has told the workers, and been heard by one."""
    with contextlib.ExitStack() as stack:

        def start(*words: str, processes: str = "1 process of workers") -> Listener:
            made = Listener(server.url, tmp_path, words)
            stack.callback(made.process.wait)
            stack.callback(made.process.kill)
            made.until(lambda: processes in made.said, "the workers have been told")
            return made

        yield start


def listening(redis: redis_py.Redis) -> int:
    [(_, number)] = redis.pubsub_numsub("jobd:tail:0")
    return int(number)


def _holds(tail: Listener, jid: object, event: str) -> bool:
    return event in tail.of(jid)


def published(redis: redis_py.Redis) -> int:
    found: Any = redis.info("commandstats")
    return int(found.get("cmdstat_publish", {}).get("calls", 0))


def test_what_happens_to_jobs_is_seen(
    daemon: StartDaemon, server: EmbeddedServer, redis: redis_py.Redis, listen: Listen
) -> None:
    daemon(APP, *QUEUES)
    client, tail = Client(server.url), listen("--json")
    # A worker that has been told listens a moment later.
    probes: list[object] = []
    while not any(map(tail.of, probes)):
        probes.append(client.push({"class": "app.works", "args": [], "queue": "mail"}))
        time.sleep(0.1)
    jids = {
        name: client.push({"class": f"app.{name}", "args": args, "queue": queue, "retry": retry})
        for name, args, queue, retry in (
            ("works", [], "mail", True),
            ("aworks", [], "mail", True),
            ("fails", ["no\x1b[31m"], "mail", 0),
            ("afails", ["no"], "mail", True),
            ("snoozes", [], "low", True),
        )
    }
    ends = {"fails": "failed", "afails": "failed", "snoozes": "snoozed"}
    for name, jid in jids.items():
        end = ends.get(name, "done")
        tail.until(partial(_holds, tail, jid, end), f"{name}: {end}")
        assert [event for event in tail.of(jid) if event != "pushed"] == ["started", end]
    failed = {line["jid"]: line for line in tail.lines if line["event"] == "failed"}
    assert failed[jids["fails"]]["outcome"] == "dead"
    assert failed[jids["afails"]]["outcome"] == "retry"
    assert failed[jids["fails"]]["error"] == "ValueError: no\x1b[31m"
    assert failed[jids["fails"]]["seconds"] >= 0.0
    assert redis.sismember("processes", failed[jids["fails"]]["process"])
    assert "\x1b" not in tail.text
    assert tail.end() == 0


def test_lines_for_people_are_plain_and_filtered(
    daemon: StartDaemon, server: EmbeddedServer, listen: Listen
) -> None:
    daemon(APP, *QUEUES)
    client, tail = Client(server.url), listen("--class", "app.fails", "--queue", "mail")
    evil = {"class": "app.fails", "args": ["\x1b]0;evil\x07\nforged\u202e"], "queue": "mail"}

    def seen() -> bool:
        client.push({**evil, "retry": 0})
        client.push({"class": "app.works", "args": [], "queue": "mail"})
        time.sleep(0.1)
        return "  failed  " in tail.text

    tail.until(seen, "a failure is shown")
    assert tail.end() == 0
    line = next(line for line in tail.text.splitlines() if "  failed  " in line)
    assert "  mail  app.fails  " in line
    assert line.endswith(r"dead, ValueError: \x1b]0;evil\x07\nforged\u202e")
    assert "app.works" not in tail.text
    assert "\x1b" not in tail.text


def test_a_tag_is_a_filter_and_pushes_are_seen_without_workers(
    redis: redis_py.Redis, server: EmbeddedServer, listen: Listen
) -> None:
    client = Client(server.url)
    client.push({"class": "Old", "args": [], "queue": "mail", "tags": ["vip"]})
    tail = listen("--json", "--tag", "vip", processes="no process of workers listens")

    def seen() -> list[Seen]:
        client.push({"class": "Other", "args": [], "queue": "mail"})
        client.push({"class": "New", "args": [1], "queue": "mail", "tags": ["vip"]})
        time.sleep(0.3)
        return tail.lines

    tail.until(seen, "a push is seen")
    assert {(line["event"], line["class"]) for line in tail.lines} == {("pushed", "New")}
    jids = [line["jid"] for line in tail.lines]
    assert len(jids) == len(set(jids))
    assert tail.end() == 0


def test_of_many_events_some_are_shown_and_the_others_counted(
    daemon: StartDaemon, server: EmbeddedServer, redis: redis_py.Redis, listen: Listen
) -> None:
    daemon(APP, *QUEUES)
    client, tail = Client(server.url), listen("--json")
    number = 3000
    redis.sadd("paused", "mail")
    client.push_bulk({"class": "app.works", "args": [[n] for n in range(number)], "queue": "mail"})
    tail.until(lambda: "left_out" in tail.text, "pushes beyond the head are counted")
    redis.srem("paused", "mail")

    def counted() -> bool:
        shown = [line for line in tail.lines if line["process"]]
        total = sum(int(line["count"]) for line in shown)
        return total == 2 * number

    tail.until(counted, "every start and end is shown or counted")
    seconds: dict[int, int] = {}
    for line in tail.lines:
        if line["event"] in ("started", "done"):
            quarter = int(line["at"] * 4)
            seconds[quarter] = seconds.get(quarter, 0) + 1
    # Those of a quarter of a second may be in two reports.
    assert max(seconds.values()) <= 2 * MOST
    assert [line for line in tail.lines if line["event"] == "left_out" and line["process"]]
    assert tail.end() == 0


def test_nothing_is_published_when_nobody_listens(
    daemon: StartDaemon, server: EmbeddedServer, redis: redis_py.Redis, listen: Listen
) -> None:
    running = daemon(APP, *QUEUES)
    client = Client(server.url)
    before = published(redis)

    def work(number: int) -> None:
        done = int(redis.get("stat:processed") or 0)
        calls = [[n] for n in range(number)]
        client.push_bulk({"class": "app.works", "args": calls, "queue": "mail"})
        wait(lambda: int(redis.get("stat:processed") or 0) == done + number, 30, "processed")

    work(500)
    assert published(redis) == before

    tail = listen("--json")

    def reported() -> bool:
        work(1)
        return any(line["event"] == "done" for line in tail.lines)

    tail.until(reported, "it reports")
    tail.process.kill()
    tail.process.wait(30)
    wait(lambda: listening(redis) == 0, 10, "the server has seen the listener go")
    # The next report finds nobody, and is the last one.
    wait(lambda: _quiet_after(redis, lambda: work(1)), TAIL_LEASE + 20, "it is forgotten")
    before = published(redis)
    work(500)
    time.sleep(2 * TAIL_EVERY)
    assert published(redis) == before
    assert running.stop() == 0


def _quiet_after(redis: redis_py.Redis, work: Callable[[], None]) -> bool:
    before = published(redis)
    work()
    time.sleep(1.0)
    return published(redis) == before


def test_a_reader_that_goes_ends_it(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    command = [sys.executable, "-m", "jobctl", "tail", "--redis", server.url]
    reading, writing = os.pipe()
    process = subprocess.Popen(
        command, stdout=writing, stderr=subprocess.PIPE, env=environment(), text=True
    )
    os.close(writing)
    try:
        wait(lambda: listening(redis) == 1, PATIENCE, "it listens")
        os.close(reading)
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "Traceback" not in said


def test_without_redis_it_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobctl", "tail", "--redis", f"unix://{tmp_path}/none"]
    done = subprocess.run(command, capture_output=True, env=environment(), text=True, check=False)
    assert done.returncode == 8
    assert done.stderr.startswith("jobctl: Redis at ")
    assert "Traceback" not in done.stderr


def test_it_goes_on_after_an_outage(tmp_path: Path) -> None:
    with EmbeddedServer() as own:
        tail = Listener(own.url, tmp_path, ("--json",))
        try:
            tail.until(lambda: "no process of workers" in tail.said, "it listens")
            own.stop()
            tail.until(lambda: "is not shown" in tail.said, "it says that Redis is away")
            own.start()
            tail.until(lambda: "Redis is back" in tail.said, "it goes on")
            client = Client(own.url)

            def seen() -> list[Seen]:
                client.push({"class": "New", "args": []})
                time.sleep(0.3)
                return tail.lines

            tail.until(seen, "pushes are seen again")
            assert tail.end() == 0
        finally:
            tail.process.kill()
            tail.process.wait()
