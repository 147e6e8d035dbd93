"""The control channel: what is sent to a worker reaches it at once, and with the next heartbeat at
the latest, whatever becomes of the connection."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.api import Api
from jobd.cli.check import check
from jobd.errors import Exit
from jobd.store import control as channel
from jobd.store.connection import connect
from jobd.store.control import STORED, Look
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from jobd.worker import control as module
from jobd.worker.control import Control
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon
from tests.support.engine import until
from tests.support.processes import freeze

ME = "host:1:engine"
KEYS = Keys("shop:")
MESSAGE = channel.message(Look.SIGNALS)
OWN = channel.channel(KEYS, 0, ME)
AT_ONCE = 3.0
"""Seconds; far below a heartbeat."""


class Listening:
    """A listener, and what it has been told."""

    def __init__(self, client: redis_py.Redis) -> None:
        self.looks: list[Look] = []
        self.control = Control(client, KEYS, ME, self.looks.append, lambda: None)

    def subscribed(self, times: int) -> bool:
        """Each subscription makes it look at everything."""
        return len(self.looks) == times * len(STORED)


@contextmanager
def listening(url: str) -> Iterator[Listening]:
    with connect(url, timeout=1.0) as client:
        made = Listening(client)
        made.control.start()
        yield made
        assert made.control.stop(10)


def subscribers(client: Any, name: str = OWN) -> int:
    """How many listen on a channel."""
    [(_, number)] = client.pubsub_numsub(name)
    return int(number)


def publish(client: redis_py.Redis, said: bytes, identity: str = ME) -> None:
    client.publish(channel.channel(KEYS, 0, identity), said)


# -- the listener ------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", [ME, ""])
def test_it_looks_at_once_when_it_is_told(
    server: EmbeddedServer, redis: redis_py.Redis, identity: str
) -> None:
    with listening(server.url) as one:
        until(lambda: one.subscribed(1), "it has subscribed, and looks")
        publish(redis, MESSAGE, identity)
        until(lambda: one.looks[len(STORED) :] == [Look.SIGNALS], "it looks", AT_ONCE)
    until(lambda: subscribers(redis) == 0, "the server has seen it leave")


def test_what_it_does_not_know_is_ignored(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    strange: list[bytes] = [
        b"",
        b"signals",
        b"[" * 5000,
        b'{"look":"signals","v":2}',
        b'{"look":"signals"}',
        b'{"look":["signals"],"v":1}',
        b'{"look":"the weather","v":1}',
        b'{"look":"signals","v":1%s}' % (b" " * channel.LONGEST),
        b"\xff\xfe",
    ]
    with listening(server.url) as one:
        until(lambda: one.subscribed(1), "it has subscribed")
        for said in strange:
            publish(redis, said)
        publish(redis, b'{"look":"signals","v":1,"of a later version":[]}')
        until(lambda: len(one.looks) > len(STORED), "it looks")
        assert one.looks[len(STORED) :] == [Look.SIGNALS]
        assert one.control.trouble == ""


def test_a_burst_is_one_look(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(server.url) as one:
        until(lambda: one.subscribed(1), "it has subscribed")
        entered, go_on = threading.Event(), threading.Event()

        def slow(look: Look) -> None:
            one.looks.append(look)
            entered.set()
            assert go_on.wait(20)

        messages: list[object] = []

        def counted(said: object) -> Look | None:
            messages.append(said)
            return read(said)

        read = channel.read
        monkeypatch.setattr(channel, "read", counted)
        monkeypatch.setattr(one.control, "_on_look", slow)
        publish(redis, MESSAGE)
        assert entered.wait(20)
        with redis.pipeline(transaction=False) as pipe:
            for _ in range(5000):
                pipe.publish(channel.channel(KEYS, 0, ME), MESSAGE)
            pipe.execute()
        go_on.set()
        until(lambda: len(messages) == 5001, "all have been read")
        until(lambda: len(one.looks) > len(STORED) + 1, "it looks again")
        assert len(one.looks) < len(STORED) + 50


def test_a_connection_that_is_killed_is_made_again_and_it_looks(
    server: EmbeddedServer, redis: Any
) -> None:
    with listening(server.url) as one:
        for times in range(1, 4):
            until(lambda times=times: one.subscribed(times), "it looks", AT_ONCE + 5 * times)  # type: ignore[misc]
            redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        until(lambda: one.subscribed(4), "it looks")


def test_a_frozen_server_is_noticed_and_it_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PING", 0.1)
    monkeypatch.setattr(module, "PONG", 0.3)
    with EmbeddedServer() as own, listening(own.url) as one:
        until(lambda: one.subscribed(1), "it has subscribed")
        freeze(own.pid)
        until(lambda: one.control.trouble, "it knows")
        own.send(signal.SIGCONT)
        until(lambda: one.subscribed(2), "it looks")
        assert one.control.trouble == ""


def test_pings_are_answered_and_nothing_else_happens(
    server: EmbeddedServer, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PING", 0.02)
    before = redis.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"]
    with listening(server.url) as one:
        until(
            lambda: (
                redis.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"] >= before + 5
            ),
            "five answers",
        )
        assert one.subscribed(1)


def test_a_server_that_restarts_is_found_again() -> None:
    with EmbeddedServer() as own, listening(own.url) as one:
        until(lambda: one.subscribed(1), "it has subscribed")
        own.kill()
        until(lambda: one.control.trouble, "it knows")
        own.start()
        until(lambda: one.subscribed(2), "it looks")
        assert one.control.trouble == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_has_ended_is_replaced(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    def end(look: Look) -> None:
        raise SystemExit

    with connect(server.url) as client:
        broken = Control(client, KEYS, ME, end, lambda: None)
        broken.start()
        broken.join(10)
        assert not broken.is_alive()
        assert broken.stop(10)
        other = broken.alive()
        assert other is not broken
        other.join(10)
        other.stop(10)
    until(lambda: subscribers(redis) == 0, "their connections are closed")


def test_without_the_permission_there_is_one_warning(
    server: EmbeddedServer,
    redis: Any,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "REFUSED_PAUSE", 0.05)
    redis.execute_command("ACL", "SETUSER", "deaf", "on", ">pw", "resetchannels", "~*", "+@all")
    try:
        with listening(server.url.replace("unix://", "unix://deaf:pw@")) as one:
            until(lambda: one.control.trouble, "it is refused")
            calls = redis.execute_command("ACL", "LOG")
            until(lambda: redis.execute_command("ACL", "LOG") != calls, "it tries again")
            assert not one.looks
            redis.execute_command("ACL", "SETUSER", "deaf", channel.rule(KEYS.prefix))
            until(lambda: one.subscribed(1), "it has subscribed")
            assert one.control.trouble == ""
    finally:
        redis.execute_command("ACL", "DELUSER", "deaf")
    said = capfd.readouterr().err
    assert said.count("control_channel_refused") == said.count("control_channel_joined") == 1
    assert "&shop:jobd:*" in said


# -- the daemon --------------------------------------------------------------------------------

APP = """
    import os, time
    from pathlib import Path
    from jobd import job

    @job(name="leave_a_copy")
    def leave_a_copy():
        if os.fork() == 0:
            Path("copy").write_text(str(os.getpid()))
            time.sleep(600)
"""


def only(api: Api) -> Any:
    (process,) = api.processes
    return process


def test_quiet_stacks_and_stop_take_effect_at_once(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP)
    api = Api(redis)
    process = only(api)
    took: list[float] = []
    for _ in range(20):
        began = time.monotonic()
        assert process.dump_threads()
        running.wait(process.stacks, AT_ONCE, "its stacks")
        took.append(time.monotonic() - began)
    assert sorted(took)[10] < 0.5, took
    assert process.quiet()
    running.wait(lambda: only(api).stopping, AT_ONCE, "it is quiet, and says so")
    assert process.quiet()
    assert process.stop()
    running.wait(lambda: process.identity not in api.processes, AT_ONCE, "it has left")


def test_a_user_who_may_not_publish_is_obeyed_with_the_next_heartbeat(
    daemon: StartDaemon, server: EmbeddedServer, redis: Any
) -> None:
    running = daemon(APP)
    redis.execute_command("ACL", "SETUSER", "dumb", "on", ">pw", "resetchannels", "~*", "+@all")
    try:
        with connect(server.url.replace("unix://", "unix://dumb:pw@")) as client:
            api = Api(client).acting_as("alice")
            assert only(api).quiet()
            assert redis.llen(Keys().signals(only(api).identity)) == 1
            assert [entry.action for entry in api.audit.page(5)] == ["quiet"]
            running.wait(lambda: only(api).stopping, 15, "it is quiet")
    finally:
        redis.execute_command("ACL", "DELUSER", "dumb")


def test_sidekiqs_lists_are_obeyed_as_before(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP)
    api = Api(redis)
    redis.lpush(Keys().signals(only(api).identity), "TSTP")
    running.wait(lambda: only(api).stopping, 15, "it is quiet")


def test_status_shows_a_worker_that_does_not_listen(daemon: StartDaemon, redis: Any) -> None:
    redis.execute_command("ACL", "SETUSER", "default", "resetchannels")
    try:
        running = daemon(APP)
        running.wait(lambda: "no control channel" in status(running), 10, "the status")
        text = status(running)
        assert "within 10 s: " in text
        shown = json.loads(running.jobctl("status", "--json").stdout)
        assert "docs/acl.md" in shown["workers"][0]["control"]
        assert shown["outage"] is None
        running.wait_for_log("control_channel_refused")
        api = Api(redis)
        assert only(api).quiet()
        running.wait(lambda: only(api).stopping, 15, "it obeys all the same")
    finally:
        redis.execute_command("ACL", "SETUSER", "default", "allchannels")


def status(running: Daemon) -> str:
    return running.jobctl("status").stdout


def test_a_copy_does_not_listen(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP)
    api = Api(redis)
    own = channel.channel(Keys(), 0, only(api).identity)
    (worker,) = running.workers()
    Client(redis=redis).push({"class": "leave_a_copy", "args": []})
    running.wait((running.directory / "copy").exists, 10, "the copy")
    copy = int(running.wait((running.directory / "copy").read_text, 10, "its number"))
    try:
        running.wait(lambda: redis.get("stat:processed") == b"1", 10, "the job itself has ended")
        assert subscribers(redis, own) == 1
        os.kill(worker, signal.SIGKILL)
        running.wait(lambda: running.workers() not in ([], [worker]), 15, "a new worker")
        running.wait(
            lambda: subscribers(redis, own) == 0,
            AT_ONCE,
            "nobody listens any more",
        )
    finally:
        os.kill(copy, signal.SIGKILL)


def test_the_check_names_the_rule(server: EmbeddedServer, redis: Any) -> None:
    redis.execute_command("ACL", "SETUSER", "deaf", "on", ">pw", "resetchannels", "~*", "+@all")
    try:
        url = server.url.replace("unix://", "unix://deaf:pw@")
        report = check(None, {}, {"redis": url, "require": ("jobd",), "prefix": "shop:"})
        (warning,) = (text for text in report.warnings if "control channel" in text)
        assert "+subscribe &shop:jobd:*" in warning
        assert Exit.UNAVAILABLE not in [code for code, _ in report.problems]
        redis.execute_command("ACL", "SETUSER", "deaf", "&shop:jobd:*")
        report = check(None, {}, {"redis": url, "require": ("jobd",), "prefix": "shop:"})
        assert not [text for text in report.warnings if "channel" in text]
    finally:
        redis.execute_command("ACL", "DELUSER", "deaf")
