"""jobctl doctor on real servers and daemons in every bad state that it knows."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobctl.doctor import host, unit
from jobctl.doctor.host import Host
from jobctl.doctor.unit import Unit
from jobd import Client
from jobd.api import Api
from jobd.api.diagnosis import findings, permissions
from jobd.settings.daemon import Config
from jobd.store import scripts
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.integration.test_acl import PAGE, rule
from tests.support import forkserver
from tests.support.daemon import Daemon, environment

Done = subprocess.CompletedProcess[str]
Doctor = Callable[..., Done]

APP = """
    from jobd import job

    @job(queue="mail")
    def welcome(user): ...
"""

BUSY = {"redis.latency", "redis.slow-log", "host.memory", "host.disk"}
"""What a machine that is busy or full may add to every answer."""


@pytest.fixture
def doctor(tmp_path: Path, server: EmbeddedServer) -> Doctor:
    def run(*arguments: str, url: str = server.url, env: dict[str, str] | None = None) -> Done:
        return forkserver.server.run(
            "jobctl",
            ["doctor", "--seconds", "0", *arguments],
            directory=tmp_path,
            environment=environment({"JOBD_REDIS": url, **(env or {})}),
            timeout=60,
        )

    return run


@pytest.fixture
def api(redis: redis_py.Redis) -> Api:
    return Api(redis)


@pytest.fixture
def own() -> Iterator[tuple[EmbeddedServer, Any]]:
    """A server whose settings a test may break."""
    with EmbeddedServer(tcp=True) as made, redis_py.Redis.from_url(made.url) as client:
        yield made, client


def found(done: Done) -> dict[str, dict[str, str]]:
    """The findings by name, without those of a busy machine."""
    assert not done.stderr, done.stderr
    answer = json.loads(done.stdout)
    known = {one["name"]: one for one in answer["findings"] if one["name"] not in BUSY}
    severe = {one["severity"] for one in answer["findings"]}
    code = 1 if "error" in severe else 10 if "warning" in severe else 0
    assert done.returncode == code
    return known


def beat(redis: Any, identity: str, **fields: Any) -> None:
    """A process as it describes itself, of a host that is not here."""
    hostname, pid, _ = identity.split(":")
    told = {
        "hostname": hostname,
        "pid": int(pid),
        "queues": ["mail"],
        "identity": identity,
        "started_at": time.time(),
        "version": "jobd 0.1.0",
        "implementation": "jobd",
        **{name: value for name, value in fields.items() if name in ("version", "queues")},
    }
    hash_: dict[str, Any] = {
        "info": json.dumps(told),
        "concurrency": 10,
        "busy": 0,
        "beat": repr(fields.get("beat", time.time())),
        "quiet": fields.get("quiet", "false"),
    }
    redis.sadd("processes", identity)
    redis.hset(identity, mapping=hash_)
    redis.expire(identity, 60)


def keep(api: Api, daemon: str, version: str = "0.1.0") -> None:
    scripts.TROUBLE(api.redis, [api.keys.keepers], [60, daemon, "", "1", version])


# -- all is well -----------------------------------------------------------------------------------


def test_nothing_is_wrong_with_a_daemon_that_works(
    doctor: Doctor, daemon: StartDaemon, api: Api
) -> None:
    running = daemon(APP, "-q", "mail")
    running.wait(lambda: api.processes.size and api.redis.exists("jobd:keepers"), 20, "it beats")
    done = doctor("-P", str(running.pidfile), "--json")
    assert found(done) == {}
    assert json.loads(done.stdout)["checks"] > 30
    told = doctor("-P", str(running.pidfile))
    assert "checks: " in told.stdout
    # Without a daemon on this host, the fleet is looked at all the same.
    assert found(doctor("--json")) == {}


def test_it_changes_nothing(doctor: Doctor, redis: redis_py.Redis, api: Api) -> None:
    Client(None, None, redis).push({"class": "Mail", "args": [], "queue": "mail"})
    before = {key: redis.dump(key) for key in redis.scan_iter()}
    assert set(found(doctor("--json"))) == {"fleet.processes"}
    assert {key: redis.dump(key) for key in redis.scan_iter()} == before


def test_the_manual_lists_every_check() -> None:
    from jobctl.doctor.command import TABLES

    page = (Path(__file__).parents[2] / "docs/doctor.md").read_text()
    for check in (one for table in TABLES for one in table):
        assert f"| `{check.name}` |" in page


# -- the server ------------------------------------------------------------------------------------


def test_a_server_whose_settings_lose_jobs(doctor: Doctor, own: tuple[EmbeddedServer, Any]) -> None:
    server, client = own
    client.config_set("appendonly", "no")
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.15))
    answer = found(doctor("--json", url=server.url))
    assert set(answer) == {"redis.persistence", "redis.eviction", "redis.nearly-full"}
    assert "allkeys-lru" in answer["redis.eviction"]["text"]
    assert "maxmemory-policy noeviction" in answer["redis.eviction"]["advice"]
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("appendonly", "yes")
    client.config_set("maxmemory", 1_000_000)  # it has more already
    assert set(found(doctor("--json", url=server.url))) == {"redis.full"}
    told = doctor(url=server.url)
    assert told.stdout.startswith("ERROR    Redis is full")
    assert told.returncode == 1


def test_keys_that_were_evicted(doctor: Doctor, own: tuple[EmbeddedServer, Any]) -> None:
    server, client = own
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.config_set("maxmemory", client.info("memory")["used_memory"] + 2_000_000)
    for number in range(40):
        client.set(f"key{number}", "x" * 100_000)
    client.config_set("maxmemory", 0)
    client.config_set("maxmemory-policy", "noeviction")
    assert set(found(doctor("--json", url=server.url))) == {"redis.evicted"}


def test_a_replica(doctor: Doctor, own: tuple[EmbeddedServer, Any]) -> None:
    server, client = own
    client.replicaof("127.0.0.1", 1)
    assert "redis.replica" in found(doctor("--json", url=server.url))


def test_many_clients_and_refused_ones(doctor: Doctor, own: tuple[EmbeddedServer, Any]) -> None:
    server, client = own
    client.config_set("maxclients", 12)
    others = [socket.create_connection(("127.0.0.1", _port(server))) for _ in range(9)]
    assert set(found(doctor("--json", url=server.url))) == {"redis.clients"}
    others += [socket.create_connection(("127.0.0.1", _port(server))) for _ in range(9)]
    said = others[-1].recv(100)
    assert b"max number of clients" in said
    for one in others[5:]:
        one.close()
    _until(lambda: int(client.info("clients")["connected_clients"]) < 9)
    assert set(found(doctor("--json", url=server.url))) == {"redis.refused-clients"}
    for one in others:
        one.close()


def test_no_client_is_let_in(doctor: Doctor, own: tuple[EmbeddedServer, Any]) -> None:
    server, client = own
    client.config_set("maxclients", 1)
    answer = found(doctor("--json", url=server.url))
    assert set(answer) == {"redis.reachable"}


def test_slow_commands_are_named_without_their_arguments(
    doctor: Doctor, own: tuple[EmbeddedServer, Any]
) -> None:
    server, client = own
    client.config_set("slowlog-log-slower-than", 0)
    client.set("card", "4711-secret")
    scripts.TROUBLE(client, ["jobd:keepers"], [60, "web1:1", "", "1", "0.1.0"])
    client.config_set("slowlog-log-slower-than", 10_000_000)
    done = doctor("--json", url=server.url)
    (slow,) = [
        one for one in json.loads(done.stdout)["findings"] if one["name"] == "redis.slow-log"
    ]
    assert "of the last hour" in slow["text"]
    assert "secret" not in done.stdout
    from jobd.api.diagnosis.history import slow_calls

    commands = {call.command for call in slow_calls(Api(client))}
    assert {"SET card", "jobd's script trouble"} <= commands


def test_a_memory_that_will_be_full_soon(doctor: Doctor, own: tuple[EmbeddedServer, Any]) -> None:
    server, client = own
    client.config_set("maxmemory", 200_000_000)
    ending = threading.Event()

    def grow() -> None:
        number = 0
        while not ending.wait(0.02) and number < 120:
            number += 1
            client.rpush("list", "x" * 500_000)

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        answer = found(doctor("--seconds", "2", "--json", url=server.url))
    finally:
        ending.set()
        thread.join()
    assert "its memory limit is reached in" in answer["redis.forecast"]["text"]


def test_a_memory_that_will_be_full_within_an_hour(
    doctor: Doctor, own: tuple[EmbeddedServer, Any]
) -> None:
    server, client = own
    # It grows by 60 KB a second, and would be full in three quarters of an hour: a thousandth in
    # three seconds.
    client.config_set("maxmemory", int(client.info("memory")["used_memory"]) + 160_000_000)
    ending = threading.Event()

    def grow() -> None:
        while not ending.wait(0.05):
            client.rpush("list", "x" * 3_000)

    assert found(doctor("--seconds", "2", "--json", url=server.url)) == {}
    thread = threading.Thread(target=grow)
    thread.start()
    try:
        for _ in range(10):  # a busy machine may keep it from growing in each look
            if answer := found(doctor("--seconds", "2", "--json", url=server.url)):
                break
    finally:
        ending.set()
        thread.join()
    assert set(answer) == {"redis.forecast"}
    minutes = int(re.findall(r"in (\d+) minutes", answer["redis.forecast"]["text"])[0])
    assert 5 < minutes < 60


def test_a_server_that_is_away_silent_or_locked(
    doctor: Doctor, own: tuple[EmbeddedServer, Any]
) -> None:
    server, client = own
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
        began = time.monotonic()
        answer = found(doctor("--json", url=f"redis://127.0.0.1:{port}/0?socket_timeout=0.5"))
        assert time.monotonic() - began < 20
    assert set(answer) == {"redis.reachable"}
    away = found(doctor("--json", url=f"redis://127.0.0.1:{port}/0"))
    assert "does not answer" in away["redis.reachable"]["text"]
    client.config_set("requirepass", "right")
    wrong = found(doctor("--json", url=server.url.replace("unix://", "unix://:wrong@")))
    assert "the password" in wrong["redis.reachable"]["text"]
    assert "wrong@" not in str(wrong)


def test_a_server_that_is_no_good_for_jobd(doctor: Doctor) -> None:
    answer = found(doctor("--json", url="redis://127.0.0.1:1/0?nonsense=1"))
    assert "nonsense" in str(answer)
    assert set(answer) == {"redis.address", "config.settings"}


# -- permissions -----------------------------------------------------------------------------------


def test_the_commands_are_those_of_the_page() -> None:
    listed = {word[1:] for word in rule("daemon") if word.startswith("+")}
    told = {"|".join(each.lower().split()[:2]) for each in permissions.OPTIONAL}
    told = {one.split("|")[0] if one == "info" else one for one in told}
    for each in permissions.NEEDED:
        name, *rest = each.lower().split()
        told.add(f"{name}|load" if name == "script" else name)
        assert rest or name in ("ping", "time")
    # MULTI is asked by itself; PUBLISH, SUBSCRIBE and their like by the channel.
    apart = {"multi", "exec", "publish", "subscribe", "unsubscribe"}
    assert told == listed - apart, PAGE


@pytest.mark.parametrize(
    ("change", "name", "says"),
    [
        (("-blmove",), "acl.commands", "blmove"),
        (("-evalsha", "-zadd"), "acl.commands", "and 1 more"),
        (("resetkeys", "~queue:*", "~queues", "~schedule"), "acl.keys", "the key retry"),
        (("-client|unblock",), "acl.optional", "without polling"),
        (("resetchannels",), "acl.channel", "within ten seconds"),
    ],
)
def test_a_permission_that_is_missing(
    doctor: Doctor, own: tuple[EmbeddedServer, Any], change: tuple[str, ...], name: str, says: str
) -> None:
    server, client = own
    words = [*rule("daemon"), "+slowlog|get", "+scan", "+ttl"]
    client.execute_command("ACL", "SETUSER", *words)
    url = server.url.replace("unix://", f"unix://{words[0]}:pw@")
    assert not {one for one in found(doctor("--json", url=url)) if one.startswith("acl.")}
    client.execute_command("ACL", "SETUSER", words[0], *change)
    answer = found(doctor("--json", url=url))
    assert {one for one in answer if one.startswith("acl.")} == {name}
    assert says in answer[name]["text"]
    # Nothing of what was asked has been done.
    assert not client.dbsize()


def test_what_the_user_may_not_look_at_is_a_note(
    doctor: Doctor, own: tuple[EmbeddedServer, Any]
) -> None:
    server, client = own
    words = rule("daemon")
    client.execute_command("ACL", "SETUSER", *words, "-info")
    url = server.url.replace("unix://", f"unix://{words[0]}:pw@")
    answer = found(doctor("--json", url=url))
    assert answer["redis"]["severity"] == "note"
    told = json.loads(doctor("--json", url=url).stdout)["findings"]
    (slow,) = [one for one in told if one["name"] == "redis.slow-log"]
    assert slow["severity"] == "note"
    assert "docs/acl.md" in slow["text"]


# -- the fleet -------------------------------------------------------------------------------------


def test_processes_that_do_not_fit_together(doctor: Doctor, api: Api) -> None:
    redis = api.redis
    for name in ("web1", "web2"):
        keep(api, f"{name}:1")
    beat(redis, "web1:7:aa")
    beat(redis, "web2:7:bb", version="jobd 0.0.9")
    beat(redis, "web3:7:cc", beat=time.time() - 30)
    answer = found(doctor("--json"))
    assert set(answer) == {"fleet.versions", "fleet.clocks", "fleet.keepers"}
    assert "0.0.9 (1)" in answer["fleet.versions"]["text"]
    assert re.search(r"web3 is [23]\d\.\d s behind Redis's", answer["fleet.clocks"]["text"])
    assert "No keeper lives on web3: " in answer["fleet.keepers"]["text"]


def test_a_process_that_has_fallen_silent(doctor: Doctor, api: Api) -> None:
    keep(api, "web1:1")
    beat(api.redis, "web1:7:aa", beat=time.time() - 40)
    api.redis.expire("web1:7:aa", 20)
    answer = found(doctor("--json"))
    assert set(answer) == {"fleet.heartbeats"}
    assert "web1:7:aa has sent no heartbeat for 4" in answer["fleet.heartbeats"]["text"]


def test_jobs_that_nobody_takes(doctor: Doctor, api: Api) -> None:
    client = Client(None, None, api.redis)
    for queue, count in (("slow", 2), ("mail", 1), ("held", 1)):
        for _ in range(count):
            client.push({"class": "Mail", "args": [], "queue": queue})
    assert set(found(doctor("--json"))) == {"fleet.processes"}
    api.queue("held").pause()
    keep(api, "web1:1")
    beat(api.redis, "web1:7:aa")
    answer = found(doctor("--json"))
    assert set(answer) == {"fleet.queues", "fleet.paused"}
    assert answer["fleet.queues"]["text"].startswith("Queue slow has 2 jobs")
    assert answer["fleet.paused"]["advice"] == "jobctl queues resume held"
    beat(api.redis, "web1:7:aa", quiet="true", queues=["mail", "slow"])
    answer = found(doctor("--json"))
    assert set(answer) == {"fleet.queues", "fleet.paused", "fleet.quiet"}


def test_jobs_that_are_overdue_and_a_lease_that_runs_out(doctor: Doctor, api: Api) -> None:
    keep(api, "web1:1")
    beat(api.redis, "web1:7:aa")
    api.redis.zadd("schedule", {'{"class":"A","args":[],"jid":"a"}': time.time() - 100})
    now = time.time()
    api.redis.hset("jobd:clock", mapping={"reachable": repr(now), "seen": repr(now)})
    api.redis.zadd("jobd:owners", {"web1:7:aa": now + 59, "web9:1:zz": now + 20, "web8:1:yy": 0})
    answer = found(doctor("--json"))
    assert set(answer) == {"fleet.late", "fleet.leases"}
    assert "schedule have been due for 1" in answer["fleet.late"]["text"]
    told = json.loads(doctor("--json").stdout)["findings"]
    assert {one["text"].split()[3] for one in told if one["name"] == "fleet.leases"} == {
        "web9:1:zz",
        "web8:1:yy",
    }


def test_jobs_in_flight_that_nobody_takes_back(doctor: Doctor, api: Api) -> None:
    now = time.time()
    redis: Any = api.redis
    redis.zadd("jobd:owners", {"web1:7:aa": now + 50})
    redis.hset("jobd:clock", mapping={"reachable": repr(now), "seen": repr(now)})
    assert found(doctor("--json")) == {}  # it has just started
    redis.hset("jobd:clock", mapping={"reachable": repr(now - 30), "seen": repr(now - 30)})
    answer = found(doctor("--json"))
    assert set(answer) == {"fleet.processes"}
    assert "the jobs that web1:7:aa had" in answer["fleet.processes"]["text"]
    assert "jobd start" in answer["fleet.processes"]["advice"]
    redis.hset("jobd:clock", "seen", "never")  # by hand
    redis.lpush("queue:mail", "{}")
    redis.sadd("queues", "mail")
    answer = found(doctor("--json"))
    assert answer["fleet.processes"]["text"].startswith("1 job waits, and no process has")


def test_a_master_that_is_stopped(doctor: Doctor, daemon: StartDaemon, api: Api) -> None:
    running = daemon(APP, "-q", "mail")
    running.wait(lambda: api.redis.exists("jobd:keepers"), 20, "it beats")
    os.kill(running.pid, signal.SIGSTOP)
    try:
        answer = found(doctor("-P", str(running.pidfile), "--json"))
    finally:
        os.kill(running.pid, signal.SIGCONT)
    assert set(answer) == {"daemon.answers"}
    assert answer["daemon.answers"]["text"].startswith("The daemon of this host: the master does")
    assert answer["daemon.answers"]["text"].count("does not answer") == 1


def test_a_daemon_that_has_said_what_is_wrong_with_it(doctor: Doctor, api: Api) -> None:
    text = "a crash loop \x1b[2J"
    scripts.TROUBLE(api.redis, [api.keys.troubles], [60, "web1:1", "shop", "1", text])
    answer = found(doctor("--json"))
    assert answer["fleet.troubles"]["text"].startswith("web1:1 [shop]: a crash loop")
    assert "\x1b" not in doctor().stdout


def test_a_lock_without_its_job(doctor: Doctor, api: Api) -> None:
    fields = {"jid": "gone", "at": "1", "seen": "1"}
    redis: Any = api.redis
    redis.hset(api.keys.lock("Mail:1"), mapping=fields)
    redis.hset(api.keys.lock("Mail:2"), mapping={**fields, "jid": "lives"})
    redis.hset(api.keys.lock("Mail:3"), mapping={**fields, "stays": "1"})
    raw = json.dumps({"class": "Mail", "args": [], "jid": "lives", "queue": "mail"})
    api.redis.zadd("schedule", {raw: time.time() + 1000})
    answer = found(doctor("--json"))
    assert set(answer) == {"fleet.locks"}
    assert "jobd:lock:Mail:1 is held by job gone" in answer["fleet.locks"]["text"]
    assert answer["fleet.locks"]["advice"].endswith("the keeper of a daemon frees the lock")


def test_a_lock_without_its_job_in_which_another_waits(
    doctor: Doctor, api: Api, server: EmbeddedServer
) -> None:
    client = Client(server.url)
    item = {"class": "Mail", "args": [1], "queue": "mail", "unique": True, "on_conflict": "again"}
    first, second = client.push(item), client.push(item)
    api.redis.delete("queue:mail")  # by hand, and with it the holder
    advice = found(doctor("--json"))["fleet.locks"]["advice"]
    # The lock has the only copy of that job.
    assert str(second) in advice
    assert "DEL" not in advice
    assert str(first) not in advice


def test_keys_of_other_types_and_text_that_is_no_json(doctor: Doctor, api: Api) -> None:
    for key in ("schedule", "retry", "jobd:contested", "queue:mail"):
        api.redis.set(key, "x")
    api.redis.sadd("queues", "mail")
    api.redis.hset("jobd:keepers", "web1:1", "\xff{")
    api.redis.sadd("processes", "web1:7:aa")
    api.redis.hset("web1:7:aa", mapping={"info": "no json", "beat": "nan"})
    done = doctor("--json")
    assert "Traceback" not in done.stderr
    assert done.returncode in (0, 1, 10)


# -- this host -------------------------------------------------------------------------------------


def test_a_daemon_that_does_not_run(doctor: Doctor, tmp_path: Path) -> None:
    answer = found(doctor("-P", str(tmp_path / "no.pid"), "--json"))
    assert "does not run" in answer["daemon.runs"]["text"]
    assert doctor("-P", str(tmp_path / "no.pid")).returncode == 1


def test_a_daemon_that_uses_another_redis(
    doctor: Doctor, daemon: StartDaemon, api: Api, own: tuple[EmbeddedServer, Any]
) -> None:
    running = daemon(APP, "-q", "mail")
    running.wait(lambda: api.processes.size and api.redis.exists("jobd:keepers"), 20, "it beats")
    answer = found(doctor("-P", str(running.pidfile), "--json", url=own[0].tcp_url))
    assert set(answer) == {"daemon.redis"}
    assert answer["daemon.redis"]["severity"] == "note"
    assert "-C FILE" in answer["daemon.redis"]["advice"]
    # The same one, written in another way.
    assert found(doctor("-P", str(running.pidfile), "--json", url=f"{running.url}?db=0")) == {}


def test_a_quiet_daemon(doctor: Doctor, daemon: StartDaemon, api: Api) -> None:
    running = daemon(APP, "-q", "mail")
    running.wait(lambda: api.redis.exists("jobd:keepers"), 20, "it beats")
    running.jobctl("quiet")
    answer = found(doctor("-P", str(running.pidfile), "--json"))
    assert "takes no jobs" in answer["daemon.serves"]["text"]


def test_a_configuration_with_mistakes(
    doctor: Doctor, server: EmbeddedServer, tmp_path: Path
) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(f'redis = "{server.url}"\nworkerz = 3\ndirectory = "/nowhere"\n')
    answer = json.loads(doctor("-C", str(file), "--json", env={"JOBD_WORKRES": "2"}).stdout)
    told = " ".join(one["text"] for one in answer["findings"])
    assert "workerz" in told
    assert "/nowhere" in told
    assert "$JOBD_WORKRES" in told
    # Which Redis that is, is clear.
    assert not [one for one in answer["findings"] if one["name"].startswith("redis.a")]
    file.write_text("redis = [\n")
    unclear = json.loads(doctor("-C", str(file), "--json", env={"JOBD_REDIS": ""}).stdout)
    assert "redis.address" in {one["name"] for one in unclear["findings"]}


def test_a_prefix_is_looked_at_alone(doctor: Doctor, api: Api) -> None:
    Client(None, "shop:", api.redis).push({"class": "Mail", "args": [], "queue": "mail"})
    assert found(doctor("--json")) == {}
    assert set(found(doctor("--json", "--prefix", "shop:"))) == {"fleet.processes"}


def test_units_that_would_interrupt_jobs() -> None:
    shown = {
        "KillMode": "control-group",
        "Restart": "no",
        "TimeoutStopUSec": "20s",
        "Type": "simple",
        "UnitFileState": "disabled",
        "OOMPolicy": "stop",
        "TasksMax": "12",
        "NRestarts": "3",
    }
    told = findings.run(unit.CHECKS, Unit("jobd.service", Config(), shown))
    assert {one.name for one in told} == {check.name for check in unit.CHECKS}
    shipped = {
        "KillMode": "mixed",
        "Restart": "on-failure",
        "TimeoutStopUSec": "45s",
        "Type": "notify",
        "UnitFileState": "enabled",
        "OOMPolicy": "continue",
        "TasksMax": "4096",
        "NRestarts": "0",
    }
    assert findings.run(unit.CHECKS, Unit("jobd.service", Config(), shipped)) == []


@pytest.mark.parametrize("main", [True, False])
def test_a_unit_whose_main_process_is_another_is_not_that_of_the_daemon(
    main: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a supervisor was to be changed to Type=notify, with which it would not start."""
    pid = os.getpid()
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f"#!/bin/sh\necho Type=simple\necho MainPID={pid if main else 1}\n")
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(unit, "_unit_of", lambda _: "supervisor.service")
    seen = unit.look(Config(), pid)
    assert seen.name == ("supervisor.service" if main else "")
    assert len(findings.run(unit.CHECKS, seen)) == main


def test_a_process_outside_a_unit_has_none() -> None:
    if ".service" not in Path("/proc/self/cgroup").read_text():
        assert unit.look(Config(), os.getpid()).name == ""


def test_open_files_near_their_limit(daemon: StartDaemon, api: Api) -> None:
    running: Daemon = daemon(APP, "-q", "mail")
    seen = host.look(Config(), str(running.pidfile), None)
    (check,) = [one for one in host.CHECKS if one.name == "host.files"]
    assert findings.run([check], seen) == []
    worker = running.workers()[0]
    held = len(list(Path(f"/proc/{worker}/fd").iterdir()))
    subprocess.run(["prlimit", "--pid", str(worker), f"--nofile={held + 1}"], check=True)
    (told,) = findings.run([check], seen)
    assert f"Process {worker} has " in told.text


def test_a_host_without_a_daemon_is_not_blamed(tmp_path: Path) -> None:
    seen = Host(Config(), expected=False, pidfile=tmp_path / "a.pid", absent="not running")
    assert not [one for one in findings.run(host.CHECKS, seen) if one.name not in BUSY]


def _port(server: EmbeddedServer) -> int:
    return int(server.tcp_url.rpartition(":")[2].partition("/")[0])


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
