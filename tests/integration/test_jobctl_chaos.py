"""jobctl chaos on a server that others use, too."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis as redis_py

from jobctl.chaos import space
from jobctl.chaos.daemons import Record
from jobctl.chaos.journal import Execution
from jobctl.chaos.plan import Kind, Push
from jobctl.chaos.verdict import judge
from jobd.api import Api
from jobd.testing import EmbeddedServer
from tests.support.daemon import environment, wait

Done = subprocess.CompletedProcess[str]
Chaos = Callable[..., Done]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "jobctl", "chaos", *arguments]


@pytest.fixture
def chaos(tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis) -> Chaos:
    def run(*arguments: str, url: str = server.url) -> Done:
        return subprocess.run(
            command(*arguments),
            cwd=tmp_path,
            env=environment({"JOBD_REDIS": url}),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    return run


def others(redis: redis_py.Redis) -> dict[bytes, Any]:
    """What other programs have in it."""
    return {key: redis.dump(key) for key in redis.scan_iter()}


def fill(redis: redis_py.Redis) -> None:
    redis.sadd("queues", "mail")
    redis.lpush("queue:mail", '{"class":"Mail","args":[],"jid":"a"}')
    redis.zadd("retry", {'{"class":"Mail","args":[],"jid":"b"}': 1})
    redis.set("jobd-chaos-0123456789abcdef", "no prefix of a run")
    redis.set("session", "x")


def test_nothing_is_lost_and_nobody_else_is_touched(chaos: Chaos, redis: redis_py.Redis) -> None:
    fill(redis)
    before = others(redis)
    done = chaos("--seconds", "6", "--jobs", "300", "--seed", "7", "--yes", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert (answer["lost"], answer["wrong"]) == ([], [])
    assert 0 < answer["jobs"] <= 305
    assert answer["executed"] + answer["dead"] == answer["jobs"]
    assert sum(answer["faults"].values()) > 0
    assert answer["removed_keys"] > 0
    assert others(redis) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_nothing(
    tmp_path: Path, server: EmbeddedServer, redis: redis_py.Redis, number: signal.Signals
) -> None:
    fill(redis)
    before = others(redis)
    with subprocess.Popen(
        command("--seconds", "60", "--yes"),
        cwd=tmp_path,
        env=environment({"JOBD_REDIS": server.url}),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            wait(lambda: len(others(redis)) > len(before) + 5, 60, "it has begun")
            children = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            process.wait(60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert others(redis) == before
    _, alive = psutil.wait_procs(children, 10)
    assert not alive


def test_a_run_that_was_killed_is_cleaned_up_later(chaos: Chaos, redis: redis_py.Redis) -> None:
    fill(redis)
    before = others(redis)
    dead, alive = (space.new_prefix("") for _ in range(2))
    for prefix in (dead, alive):
        redis.set(f"{prefix}stat:processed", 7)
        redis.lpush(f"{prefix}queue:high", "x")
    space.keep_alive(Api(redis, alive))
    done = chaos("--clean")
    assert (done.returncode, done.stdout) == (0, "2 keys of 1 run removed\n")
    left = others(redis).keys() - before.keys()
    assert {key.decode() for key in left} == {
        f"{alive}{name}" for name in ("stat:processed", "queue:high", "alive")
    }


def test_only_the_prefix_of_a_run_is_ever_cleaned(redis: redis_py.Redis) -> None:
    for prefix in ("", "shop:", "jobd-chaos-", "jobd-chaos-*:"):
        with pytest.raises(ValueError, match="not the prefix of a run"):
            space.clean(Api(redis, prefix))
    # A prefix of the user may look like a pattern.
    starred = space.new_prefix("*:")
    redis.set(f"{starred}a", 1)
    redis.set(starred.replace("*:", "shop:") + "a", 1)
    assert space.clean(Api(redis, starred)) == 1
    assert redis.dbsize() == 1


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"maxmemory": "30mb"}, "64 MB"),
        ({"maxclients": "100"}, "connections are free"),
        ({"maxmemory": "1mb"}, "full"),
    ],
)
def test_a_server_where_others_could_be_hurt_is_refused(
    chaos: Chaos, settings: dict[str, str], says: str
) -> None:
    with EmbeddedServer() as own, redis_py.Redis.from_url(own.url) as client:
        for name, value in settings.items():
            client.config_set(name, value)
        done = chaos("--yes", url=own.url)
        assert done.returncode == 6, done.stderr
        assert says in done.stderr
        assert "Nothing was done" in done.stderr
        assert client.dbsize() == 0


def test_a_replica_and_a_user_who_cannot_clean_up_are_refused(chaos: Chaos) -> None:
    with EmbeddedServer() as own, redis_py.Redis.from_url(own.url) as client:
        client.execute_command("ACL", "SETUSER", "a", "on", ">x", "~*", "&*", "+@all", "-scan")
        done = chaos("--yes", url=own.url.replace("unix://", "unix://a:x@"))
        assert done.returncode == 4
        assert "scan" in done.stderr
        assert client.dbsize() == 0
        client.replicaof("127.0.0.1", 1)
        assert chaos("--yes", url=own.url).returncode == 6


def test_nobody_is_asked_and_a_server_is_away(chaos: Chaos, redis: redis_py.Redis) -> None:
    asked = chaos()
    assert asked.returncode == 2
    assert "--yes" in asked.stderr
    assert redis.dbsize() == 0
    assert chaos("--yes", url="redis://127.0.0.1:1/0").returncode == 8


# -- the verdict can fail --------------------------------------------------------------------------


def test_the_verdict() -> None:
    record = Record()
    record.injuries[2] = [(5.0, Kind.WORKER_KILL)]
    pushes = [Push(name, "doomed" if name == "d" else "work") for name in "abcdefg"]
    runs = {
        "a": [Execution("a", 1, 1.0, 2.0, "done")],
        "b": [Execution("b", 2, 4.0), Execution("b", 1, 6.0, 7.0, "done")],
        "c": [Execution("c", 1, 4.0, 5.0, "done"), Execution("c", 1, 6.0, 7.0, "done")],
        "d": [Execution("d", 1, 1.0, 2.0, "failed")],
        "e": [],
        "f": [Execution("f", 1, 1.0)],
        "g": [Execution("g", 1, 1.0, 2.0, "failed")],
    }
    found = judge(pushes, runs, {"d": False, "g": False}, {"f"}, record)
    assert (found.jobs, found.executed, found.dead) == (7, 3, 2)
    assert found.duplicates == {Kind.WORKER_KILL: 1}
    assert found.recoveries == [1.0]
    assert [text.split()[1] for text in found.lost] == ["e", "f"]
    assert [text.split()[1] for text in found.wrong] == ["c", "g"]
    assert not judge(pushes[3:4], runs, {}, set(), record).good
    assert judge(pushes[:2], runs, {}, set(), record).good
