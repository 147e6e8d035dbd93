"""The shipped units under a real systemd: start, reload, stop, watchdog, hardening, faults."""

from __future__ import annotations

import json
import re
import site
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from jobd.testing.server import find_server
from tests.faults.memorygroup import MemoryGroup, NoMemoryGroup
from tests.support.daemon import wait
from tests.systemd.box import Box
from tests.systemd.conftest import UNITS, Service

APP = """
import os, subprocess, tempfile, time
from pathlib import Path
from jobd import job

HOME = Path(os.environ["STATE_DIRECTORY"])

@job
def look():
    with tempfile.NamedTemporaryFile(dir="/tmp") as file:
        file.write(b"x")
    shown = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True)
    (HOME / "status").write_text(shown.stdout)

@job
def count(number):
    pass

@job
def nap(seconds):
    (HOME / "napping").touch()
    time.sleep(seconds)
    (HOME / "rested").touch()
"""

Push = Callable[..., None]


@pytest.fixture
def push(server: EmbeddedServer) -> Push:
    def one(name: str, *args: Any, queue: str = "default") -> None:
        Client(server.url).push({"class": f"app.{name}", "args": list(args), "queue": queue})

    return one


@pytest.fixture
def running(service: Service) -> Service:
    """The service, active."""
    service.write_app(APP)
    service.start()
    return service


def nap(service: Service, push: Push, seconds: float) -> None:
    """Have a job of so many seconds run."""
    push("nap", seconds)
    wait((service.home / "napping").exists, 10, "the job runs")


def processed(redis: redis_py.Redis, count: int) -> None:
    wait(lambda: int(redis.get("stat:processed") or 0) >= count, 30, f"{count} jobs have run")


def test_start_returns_when_it_is_ready_and_status_says_what_it_does(service: Service) -> None:
    service.write_app(f"import time\ntime.sleep(1)\n{APP}")
    service.configure("workers = 2")
    service.start()
    assert service.show("ActiveState") == "active"
    assert service.show("StatusText").startswith("running gen 1: 2/2 workers, 0 busy")
    pidfile = service.box.path("/run/jobd/jobd.pid")
    assert int(pidfile.read_text()) == service.main_pid
    assert json.loads(service.jobctl("status", "--json"))["state"] == "running"


def test_jobs_run_in_the_hardened_unit(running: Service, push: Push, redis: redis_py.Redis) -> None:
    push("look")
    processed(redis, 1)
    status = dict(
        line.split(":\t", 1) for line in (running.home / "status").read_text().splitlines()
    )
    assert status["Uid"].split() == ["990"] * 4
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert int(status["CapBnd"], 16) == 0
    for command in ("threads", "reopen-logs", "quiet", "resume"):
        running.jobctl(command)


def test_06_a_master_that_stays_stopped_is_ended_by_the_watchdog_and_no_job_is_lost(
    service: Service, push: Push, redis: redis_py.Redis
) -> None:
    service.write_app(APP)
    service.configure("concurrency = 2")
    service.drop_in("WatchdogSec=2", "RestartSec=100ms")
    service.start()
    nap(service, push, 3)
    (service.home / "napping").unlink()
    before = service.main_pid
    service.kill("STOP", before)

    def stopped() -> bool:
        stat = service.box.path(f"/proc/{before}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    wait(stopped, 5, "the master is stopped")
    for number in range(50):
        push("count", number)
    service.wait_active(before)
    assert service.show("NRestarts") == "1"
    wait((service.home / "napping").exists, 20, "the job runs again")
    wait((service.home / "rested").exists, 20, "to its end")
    processed(redis, 51)
    assert redis.llen("queue:default") == redis.zcard("retry") == redis.zcard("dead") == 0
    journal = service.box.journal(service.unit)
    assert "Watchdog timeout (limit 2s)!" in journal
    # The ABRT was systemd's; a stopped process dies of it, and says where it was, only when let go.
    assert re.search(r"Main process exited, code=(killed|dumped), status=6/ABRT", journal)
    stacks = journal.partition("Fatal Python error: Aborted")[2]
    assert "master/main.py" in stacks.partition("Extension modules")[0]


def test_reload_brings_new_code_or_fails_and_keeps_the_old(
    running: Service, push: Push, redis: redis_py.Redis
) -> None:
    running.write_app(APP + "\n@job\ndef fresh():\n    (HOME / 'fresh').touch()\n")
    running.systemctl("reload", running.unit)
    push("fresh")
    wait((running.home / "fresh").exists, 10, "the new code runs")
    main = running.main_pid

    running.write_app("import nothing_of_that_name\n")
    failed = running.box.run("systemctl", "reload", running.unit)
    assert failed.returncode != 0
    assert (running.show("ActiveState"), running.main_pid) == ("active", main)
    # It stays beside what is told every few seconds, until another reload.
    status = running.show("StatusText")
    assert re.search("1/1 workers.*; reload failed: .*nothing_of_that_name", status), status
    push("count", 1)
    processed(redis, 2)
    running.write_app(APP)
    running.systemctl("reload", running.unit)
    assert "reload failed" not in running.show("StatusText")


def test_stop_lets_jobs_end(running: Service, push: Push, redis: redis_py.Redis) -> None:
    nap(running, push, 1)
    running.systemctl("stop", running.unit)
    assert (running.home / "rested").exists()
    assert redis.get("stat:processed") == b"1"
    assert (running.show("Result"), running.show("ExecMainStatus")) == ("success", "0")
    assert not running.box.path("/run/jobd").exists()


def test_stop_gives_jobs_back_that_do_not_end(
    service: Service, push: Push, redis: redis_py.Redis
) -> None:
    service.write_app(APP)
    service.configure("timeout = 0.3")
    service.start()
    nap(service, push, 60)
    service.systemctl("stop", service.unit)
    assert redis.llen("queue:default") == 1
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")


def test_wrong_settings_are_not_tried_again(service: Service) -> None:
    service.write_app(APP)
    service.configure("concurrency = 0")
    service.systemctl("daemon-reload")
    assert service.box.run("systemctl", "start", service.unit).returncode != 0
    assert (service.show("ActiveState"), service.show("NRestarts")) == ("failed", "0")
    assert service.show("ExecMainStatus") == "78"
    assert "concurrency" in service.story()


def test_a_directory_that_is_closed_to_the_user_is_not_tried_again(service: Service) -> None:
    service.write_app(APP)
    service.box.run("mkdir", "-m", "700", "/srv/closed")
    service.drop_in("Environment=JOBD_DIRECTORY=/srv/closed")
    assert service.box.run("systemctl", "start", service.unit).returncode != 0
    assert (service.show("ActiveState"), service.show("NRestarts")) == ("failed", "0")
    assert service.show("ExecMainStatus") == "78"
    assert "may not read /srv/closed; grant it access" in service.story()


def test_a_stop_by_jobctl_is_respected(running: Service) -> None:
    running.jobctl("stop")
    wait(lambda: running.show("ActiveState") == "inactive", 10, "systemd has noticed")
    assert running.show("NRestarts") == "0"


# -- several on one machine ------------------------------------------------------------------------


@pytest.fixture
def two(box: Box, server: EmbeddedServer, redis: redis_py.Redis) -> Iterator[list[Service]]:
    made = [Service(box, server, f"jobd@{name}") for name in ("mail", "video")]
    yield made
    for one in made:
        one.box.run("systemctl", "stop", one.unit)
    made[0].close()


def test_instances_of_the_template_do_not_meet(two: list[Service], push: Push) -> None:
    mail, video = two
    mail.write_app(APP)
    for one, queue in ((mail, "mail"), (video, "video")):
        one.configure(f'queues = ["{queue}"]')
        one.start()
    for queue in ("mail", "video"):
        push("nap", 0, queue=queue)
    for one in two:
        wait((one.home / "rested").exists, 10, f"a job of {one.unit} has run")
    for one, name in ((mail, "mail"), (video, "video")):
        assert int(one.box.path(f"/run/jobd/{name}/jobd.pid").read_text()) == one.main_pid
    mail.systemctl("stop", mail.unit)
    assert video.show("ActiveState") == "active"
    assert "running" in video.show("StatusText")


# -- without a network -----------------------------------------------------------------------------

LOCAL_URL = "unix:///run/redis/redis.sock"


@pytest.fixture
def local_redis(box: Box) -> Iterator[str]:
    """The URL, from outside, of a server in the box that has no port."""
    program = str(find_server())
    packages = site.getsitepackages()[0]  # which the box has elsewhere
    program = program.replace(packages, "/opt/site")
    started = box.run(
        *("systemd-run", "--unit=redis", "-p", "RuntimeDirectory=redis", program),
        *("--port", "0", "--unixsocket", "/run/redis/redis.sock", "--unixsocketperm", "777"),
        *("--save", "", "--dir", "/run/redis"),
    )
    assert started.returncode == 0, started.stderr
    socket = box.path("/run/redis/redis.sock")
    wait(socket.exists, 10, box.journal("redis") or "the server listens")
    yield f"unix://{socket}"
    box.run("systemctl", "stop", "redis")


def test_with_a_local_redis_no_network_is_needed_and_there_is_none(
    service: Service, local_redis: str
) -> None:
    service.write_app(
        APP
        + """
import socket

@job
def call_out():
    try:
        socket.create_connection(("127.0.0.1", 80))
    except OSError as error:
        (HOME / "error").write_text(str(error))
"""
    )
    directory = service.box.path("/etc/systemd/system/jobd.service.d")
    directory.mkdir()
    shipped = UNITS / "jobd.service.d" / "local-redis.conf"
    (directory / shipped.name).write_text(shipped.read_text())
    service.configure(redis=LOCAL_URL)
    service.start()
    Client(local_redis).push({"class": "app.call_out", "args": []})
    error = service.home / "error"
    said = wait(lambda: error.exists() and error.read_text(), 10, "the job has run")
    assert "Address family not supported" in said
    service.systemctl("reload", service.unit)
    for command in ("status", "threads"):
        service.jobctl(command)


# -- fault 42 --------------------------------------------------------------------------------------


def test_42_what_a_job_has_left_running_ends_with_the_unit(
    service: Service, push: Push, redis: redis_py.Redis
) -> None:
    service.write_app(
        APP
        + """
@job
def leave():
    left = subprocess.Popen(["sleep", "600"], start_new_session=True)
    (HOME / "left").write_text(str(left.pid))
"""
    )
    service.start()
    push("leave")
    processed(redis, 1)
    left = service.box.path(f"/proc/{(service.home / 'left').read_text()}")
    assert (left / "comm").read_text() == "sleep\n"
    service.systemctl("stop", service.unit)
    wait(lambda: not left.exists(), 5, "it has ended, too")
    assert service.show("Result") == "success"


# -- fault 50 --------------------------------------------------------------------------------------

TOO_SHORT = "stop_timeout_of_unit_too_short"


def told(service: Service, event: str) -> list[dict[str, Any]]:
    """What the master of the service has logged under that name."""
    return [record for record in service.records(event) if record["pid"] == service.main_pid]


def test_50_a_killed_worker_leaves_the_unit_up(
    service: Service, push: Push, redis: redis_py.Redis
) -> None:
    service.write_app(APP)
    service.drop_in("RestartSec=100ms")
    service.start()
    main = service.main_pid
    nap(service, push, 1)
    (worker,) = json.loads(service.jobctl("status", "--json"))["workers"]
    # What the kernel does when a unit's memory runs out; a worker is its first choice.
    service.kill("KILL", worker["pid"])
    processed(redis, 1)
    assert (service.show("ActiveState"), service.main_pid) == ("active", main)
    assert (service.show("NRestarts"), service.show("OOMPolicy")) == ("0", "continue")


@contextmanager
def little_memory(service: Service) -> Iterator[None]:
    """The service, started, with 150 MB."""
    if service.box.limits_memory:
        service.drop_in("MemoryMax=150M", "MemorySwapMax=0")
        service.start()
        yield
        return
    try:
        group = MemoryGroup(150)
    except NoMemoryGroup as reason:
        pytest.skip(str(reason))
    try:
        service.start()
        group.add(service.box.pids(service.unit))
        yield
        assert group.kills == 1
    finally:
        service.box.run("systemctl", "stop", service.unit)
        group.close()


def test_50_a_worker_that_the_kernel_kills_for_want_of_memory_leaves_the_unit_up(
    service: Service, push: Push, redis: redis_py.Redis
) -> None:
    service.write_app(
        APP
        + """
@job
def eat(megabytes):
    if not (HOME / "eaten").exists():
        (HOME / "eaten").touch()
        b"x" * (megabytes << 20)
"""
    )
    service.configure("workers = 2", "concurrency = 1")
    with little_memory(service):
        main = service.main_pid
        push("eat", 400)
        processed(redis, 1)
        assert (service.show("ActiveState"), service.main_pid) == ("active", main)
        (death,) = told(service, "child_died")
        assert death["cause"] == "killed by signal 9 (SIGKILL)"
        assert death["reason"].startswith("by the kernel, perhaps out of memory (see dmesg), or")
        assert (service.show("NRestarts"), service.show("OOMPolicy")) == ("0", "continue")


def test_50_a_stop_takes_longer_than_systemd_was_told_if_jobs_need_it(
    service: Service, push: Push, redis: redis_py.Redis
) -> None:
    service.write_app(APP)
    service.drop_in("TimeoutStopSec=1")
    service.start()
    nap(service, push, 3)
    service.systemctl("stop", service.unit)
    assert redis.get("stat:processed") == b"1"
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")


def test_50_a_unit_that_gives_a_stop_too_little_time_is_warned_of(
    service: Service, bus: None
) -> None:
    service.write_app(APP)
    service.drop_in("TimeoutStopSec=5")
    service.start()
    (warning,) = told(service, TOO_SHORT)
    assert warning["level"] == "warning"
    assert (warning["unit"], warning["unit_allows"]) == (service.unit, 5.0)
    assert warning["stop_takes_up_to"] == 30.0
    assert "jobd will ask systemd for more time" in warning["advice"]
    assert "set TimeoutStopSec=30 or more" in warning["advice"]


def test_50_the_shipped_unit_gives_a_stop_enough_time(service: Service, bus: None) -> None:
    service.write_app(APP)
    service.configure('log_level = "debug"')
    service.start()
    assert told(service, TOO_SHORT) == told(service, "unit_unknown") == []


def test_50_where_systemd_cannot_be_asked_nothing_is_lost_but_the_warning(
    service: Service,
) -> None:
    service.write_app(APP)
    service.configure('log_level = "debug"')
    service.drop_in("TimeoutStopSec=5")
    service.start()
    assert told(service, TOO_SHORT) == []
    (unknown,) = told(service, "unit_unknown")
    assert (unknown["level"], unknown["unit"]) == ("debug", service.unit)
    assert unknown["reason"]


def test_50_a_unit_that_does_not_listen_is_killed_as_the_warning_says(
    service: Service, push: Push, redis: redis_py.Redis, bus: None
) -> None:
    service.write_app(APP)
    deaf = ("Type=exec", "NotifyAccess=none", "WatchdogSec=0", "TimeoutStopSec=2")
    # With the state file the next start knows at once what to recover, else a minute later.
    service.drop_in(*deaf, "RuntimeDirectoryPreserve=yes")
    service.start()
    wait(lambda: redis.scard("processes") == 1, 60, "the worker is there")
    (warning,) = told(service, TOO_SHORT)
    assert "systemd will then kill what still runs" in warning["advice"]
    nap(service, push, 5)
    (service.home / "napping").unlink()
    service.systemctl("stop", service.unit)
    assert service.show("Result") == "timeout"
    assert redis.get("stat:processed") is None
    service.start()
    wait((service.home / "napping").exists, 20, "the job runs again")
    processed(redis, 1)


def test_50_usr2_to_every_process_of_the_unit_harms_no_process_of_jobd(
    running: Service, push: Push, redis: redis_py.Redis
) -> None:
    main = running.main_pid
    before = json.loads(running.jobctl("status", "--json"))["workers"]
    running.systemctl("kill", "--kill-whom=all", "-s", "USR2", running.unit)
    push("count", 1)
    processed(redis, 1)
    after = json.loads(running.jobctl("status", "--json"))["workers"]
    assert running.main_pid == main
    assert [worker["pid"] for worker in after] == [worker["pid"] for worker in before]


def test_50_restarts_under_load_lose_no_job(
    running: Service, server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    client = Client(server.url)
    total = 0
    for _ in range(3):
        for number in range(500):
            client.push({"class": "app.count", "args": [number]})
        total += 500
        running.systemctl("restart", running.unit)
    processed(redis, total)
    assert redis.get("stat:processed") == str(total).encode()
    assert redis.llen("queue:default") == 0
