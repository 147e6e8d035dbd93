"""jobctl redis: what is sent, what is stored, what grows; on a real server with a real daemon."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import redis as redis_py

from jobd import Client
from jobd.api import Api
from jobd.api.diagnosis import traffic, usage
from jobd.store import scripts
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.integration.test_acl import rule
from tests.support import forkserver
from tests.support.daemon import environment

Done = subprocess.CompletedProcess[str]
Jobctl = Callable[..., Done]

APP = """
    from jobd import job

    @job(queue="mail")
    def welcome(user): ...
"""


@pytest.fixture
def jobctl(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Jobctl:
    def run(*arguments: str, url: str = server.url) -> Done:
        return forkserver.server.run(
            "jobctl",
            ["redis", *arguments],
            directory=tmp_path,
            environment=environment({"JOBD_REDIS": url}),
            timeout=60,
        )

    return run


def test_the_parts_of_jobd_are_told_apart(
    jobctl: Jobctl, daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    daemon(APP, "-q", "mail")
    client, ending = Client(None, None, redis), threading.Event()

    def push() -> None:
        while not ending.wait(0.02):
            client.push({"class": "app.welcome", "args": [1], "queue": "mail"})

    thread = threading.Thread(target=push)
    thread.start()
    try:
        done = jobctl("--seconds", "3", "--json")
    finally:
        ending.set()
        thread.join()
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    parts = {one["name"]: one for one in answer["parts"]}
    assert {"pushes", "workers: claims", "workers: ends of jobs"} <= set(parts)
    for one in parts.values():
        assert one["rate"] == pytest.approx(one["commands"] / answer["sampled"])
        assert one["error"] == pytest.approx(one["commands"] ** 0.5 / answer["sampled"])
    commands = {one["command"]: one for one in answer["commands"]}
    assert commands["evalsha"]["rate"] > 0
    assert 0 < commands["evalsha"]["share"] < 1
    growth = {one["name"]: one for one in answer["growth"]}
    assert growth["jobs processed"]["rate"] > 0
    assert growth["keys"]["now"] == redis.dbsize() or growth["keys"]["now"] > 3


def test_a_sample_ends_when_it_is_full(redis: redis_py.Redis) -> None:
    ending = threading.Event()

    def ask() -> None:
        with redis.pipeline(transaction=False) as pipe:
            while not ending.is_set():
                for _ in range(500):
                    pipe.get("a")
                pipe.execute()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        sample = traffic.sample(Api(redis), 50)
    finally:
        ending.set()
        thread.join()
    assert sample is not None
    assert not sample.whole
    assert sample.seconds < 50
    assert [one.name for one in sample.parts] == [traffic.OTHERS]
    assert sample.parts[0].commands == traffic.MOST


def test_payloads_do_not_confuse_the_sample() -> None:
    line = b'1.5 [0 unix:/a] "lpush" "queue:a" "\\x1b[2J\\"] \\"evalsha\\" "'
    assert traffic.part_of(line) == "pushes"
    assert traffic.part_of(b"\xff\x00") == traffic.OTHERS


def test_bytes_are_estimated_with_their_error(redis: redis_py.Redis) -> None:
    api = Api(redis)
    for number in range(500):
        redis.set(f"session:{number}", "x" * (100 + number))
        redis.hset(f"jobd:result:{number}", "state", "done")
    for _ in range(300):
        Client(None, None, redis).push({"class": "A", "args": ["x" * 500], "queue": "mail"})
    redis.zadd("dead", {"x" * 1000: 1})
    found = {one.name: one for one in usage.families(api)}
    for name, keys in (("keys of others", "session:*"), ("results", "jobd:result:*")):
        whole = sum(int(redis.memory_usage(key) or 0) for key in redis.scan_iter(keys))
        # Five standard deviations: one run in two millions is beyond.
        assert abs(found[name].size - whole) < 5 * found[name].error
        assert abs(found[name].keys - 500) < 120
    assert (found["queues"].keys, found["queues"].error) == (1, 0)
    assert found["queues"].size == redis.memory_usage("queue:mail")
    assert found["schedule, retry, dead"].keys == 1


def test_an_empty_server_and_tables_for_people(jobctl: Jobctl) -> None:
    done = jobctl("--seconds", "0.2", "--no-monitor")
    assert done.returncode == 0, done.stderr
    assert "jobs queued" in done.stdout
    assert "commands a second" not in done.stdout


def test_what_the_user_may_not_ask_is_left_out(
    jobctl: Jobctl, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    words, admin = rule("dashboard"), cast("Any", redis)
    admin.execute_command("ACL", "SETUSER", *words)
    url = server.url.replace("unix://", f"unix://{words[0]}:pw@")
    try:
        done = jobctl("--seconds", "0.2", url=url)
        answer = json.loads(jobctl("--seconds", "0.2", "--json", url=url).stdout)
    finally:
        admin.execute_command("ACL", "DELUSER", words[0])
    assert done.returncode == 0, done.stderr
    assert "may not use MONITOR" in done.stdout
    assert "may not use MEMORY USAGE" in done.stdout
    assert (answer["parts"], answer["families"]) == (None, None)
    assert answer["commands"]


def test_a_server_that_is_away(jobctl: Jobctl) -> None:
    done = jobctl("--seconds", "0.2", url="redis://127.0.0.1:1/0")
    assert (done.returncode, done.stdout) == (8, "")
    assert "does not answer" in done.stderr


def test_every_script_of_workers_and_keepers_is_known_as_theirs() -> None:
    named = {one.name for one in vars(scripts).values() if isinstance(one, scripts.Script)}
    assert set(traffic._OF_SCRIPTS) <= named
    used = {
        name.lower()
        for part in ("worker", "keeper")
        for file in (Path(scripts.__file__).parents[1] / part).rglob("*.py")
        for name in re.findall(r"scripts\.([A-Z_]+)", file.read_text())
    }
    # Jobs that are due are also given another time by people.
    assert used - set(traffic._OF_SCRIPTS) <= {"reschedule"}
