"""Rows 26, 28 and 29: boots without Redis, boots that fail now and then, and that always fail."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_py

from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
    from jobd import job

    @job(name="ok")
    def ok():
        pass
"""


# -- 26: no Redis at boot ----------------------------------------------------------------------


@pytest.fixture
def mortal() -> Iterator[EmbeddedServer]:
    """A server of this test alone, which may be killed and started again."""
    with EmbeddedServer(options={"appendfsync": "always"}) as server:
        yield server


def all_wait(running: Daemon) -> bool:
    workers = json.loads(running.jobctl("status", "--json").stdout)["workers"]
    # The first may wait before the master has begun to show the second.
    return [worker["state"] for worker in workers] == ["booting"] * 2 and all(
        "waiting for Redis" in worker["reason"] for worker in workers
    )


def comes_late(running: Daemon, mortal: EmbeddedServer, seconds: float) -> None:
    with redis_py.Redis.from_url(mortal.url) as client:
        client.lpush("queue:default", '{"class":"ok","args":[],"jid":"early"}')
    mortal.stop()
    running.url = mortal.url
    running.write_app(APP)
    running.run("-w", "2")
    running.wait_for_log("child_waiting.*waiting for Redis")
    running.wait(lambda: all_wait(running), 10, "both workers wait for Redis")
    assert running.state()["state"] == "starting"
    time.sleep(seconds)
    assert all_wait(running)
    assert running.log().count('"event":"child_forked"') == 3, "they wait, and do not die"
    mortal.start()
    running.wait_ready()
    with redis_py.Redis.from_url(mortal.url) as client:
        running.wait(lambda: client.get("stat:processed") == b"1", 10, "the job has run")
    assert running.stop() == 0


def test_26_redis_that_comes_late_is_waited_for(
    idle_daemon: Daemon, mortal: EmbeddedServer
) -> None:
    comes_late(idle_daemon, mortal, 0.5)


@pytest.mark.minutes
def test_26_redis_that_comes_after_twenty_seconds_is_waited_for(
    idle_daemon: Daemon, mortal: EmbeddedServer
) -> None:
    comes_late(idle_daemon, mortal, 20)


@pytest.mark.parametrize("verb", ["start", "run"])
def test_26_redis_that_never_comes_ends_the_start(idle_daemon: Daemon, verb: str) -> None:
    idle_daemon.write_app(APP)
    idle_daemon.url = f"unix://{idle_daemon.directory}/none.sock"
    began = time.monotonic()
    code: int | None
    if verb == "start":
        done = idle_daemon.start("--start-timeout", "4")
        code, said = done.returncode, done.stderr
    else:
        idle_daemon.run("--start-timeout", "4")
        code, said = idle_daemon.wait_ended(), idle_daemon.output.read_text()
        idle_daemon.exit_codes = {69}
    assert code == 69
    assert time.monotonic() - began < 30, "not the 60 s of the default"
    assert "waiting for Redis" in said
    assert not idle_daemon.pidfile.exists()


# -- 28: now and then --------------------------------------------------------------------------

# The third boot, the sixth and so on fail; but none before one worker has been ready, for until
# then such a failure is taken for a bad deploy, and ends the start.
EACH_THIRD = """
    import json, time
    from pathlib import Path

    def one_is_ready():
        workers = json.loads(Path("jobd.state").read_text())["workers"]
        return any(worker["state"] == "ready" for worker in workers)

    with Path("boots").open("ab", buffering=0) as file:
        file.write(b"x")
        number = file.tell()
    if number % 3 == 0:
        while not one_is_ready():
            time.sleep(0.05)
        raise RuntimeError(f"boot {number} was to fail")
"""


def test_28_boots_that_fail_now_and_then_end_in_a_running_daemon(daemon: StartDaemon) -> None:
    running = daemon(EACH_THIRD + APP, "-w", "6", ready=False)
    running.expect_in_log("boot \\d+ was to fail")
    running.wait_ready(30)
    records = running.records()
    assert '"state":"failed"' not in running.log()
    failures = [record for record in records if record["event"] == "child_died"]
    assert len(failures) == 2, "of eight boots the third and the sixth"
    assert all(record["cause"] == "exit code 66" for record in failures)
    assert len([r for r in records if r["event"] == "child_backoff"]) == len(failures)
    assert len(running.workers()) == 6


def test_28_a_slot_in_back_off_is_shown(daemon: StartDaemon) -> None:
    running = daemon(APP, "-w", "2")
    keeper = running.keeper()
    running.write_app("raise RuntimeError('was to fail')\n")
    running.expect_in_log("was to fail")
    worker, other = running.workers()
    os.kill(worker, signal.SIGKILL)
    running.wait_for_log('"event":"child_backoff","logger":"jobd.master","child":"worker.\\d",')

    def shown() -> bool:
        status = json.loads(running.jobctl("status", "--json").stdout)
        return bool(
            status["state"] == "running"
            and [slot["role"] for slot in status["backing_off"]] == ["worker.0"]
        )

    running.wait(shown, 10, "the status shows the slot in back-off")
    # Between two looks it may have been started, and have crashed, again.
    running.wait(
        lambda: "has crashed and is started again in" in running.jobctl("status").stdout,
        10,
        "it is said in words",
    )
    running.write_app(APP)
    running.wait(lambda: len(running.workers()) == 2, 15, "it converges")
    assert other in running.workers()
    assert running.keeper() == keeper


# -- 29: always --------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["start", "run"])
def test_29_an_application_that_never_imports_fails_the_start(
    idle_daemon: Daemon, verb: str
) -> None:
    idle_daemon.write_app("import nothing_of_that_name\n")
    idle_daemon.expect_in_log("nothing_of_that_name")
    began = time.monotonic()
    code: int | None
    if verb == "start":
        done = idle_daemon.start("-w", "3")
        code, said = done.returncode, done.stderr
    else:
        idle_daemon.run("-w", "3")
        code, said = idle_daemon.wait_ended(), idle_daemon.output.read_text()
        idle_daemon.exit_codes = {66}
    assert code == 66
    assert re.fullmatch(r"jobd: .*nothing_of_that_name.*\n", said)
    assert time.monotonic() - began < 30, "it does not wait for a limit"
    forks = idle_daemon.log().count('"event":"child_forked","logger":"jobd.master","child":"w')
    assert 1 <= forks <= 3 * 3
    assert '"state":"failed"' in idle_daemon.log()
    assert not idle_daemon.pidfile.exists()


def test_29_workers_that_die_at_import_fail_the_start_after_three_rounds(
    idle_daemon: Daemon, redis: redis_py.Redis
) -> None:
    """They do not say why: that is no reason to believe that it will be so again, until it is."""
    idle_daemon.write_app("import os\nos._exit(3)\n")
    done = idle_daemon.start("-w", "2")
    assert done.returncode == 70
    assert "died while it was starting: exit code 3" in done.stderr
    forks = idle_daemon.log().count('"event":"child_forked","logger":"jobd.master","child":"w')
    assert 2 < forks <= 3 * 2


def test_29_systemd_does_not_start_again_what_cannot_start() -> None:
    for unit in ("jobd.service", "jobd@.service"):
        text = (Path(__file__).parents[2] / "systemd" / unit).read_text()
        prevented = re.search(r"^RestartPreventExitStatus=(.*)$", text, re.MULTILINE)
        assert prevented is not None
        assert "66" in prevented[1].split()


# -- a hook that fails -------------------------------------------------------------------------

HOOKS = {
    "raises": ("raise RuntimeError('no metrics here')", "RuntimeError: no metrics here"),
    "exits": ("raise SystemExit('no')", "SystemExit: no"),
    "patches": (
        "import sys, types\n    gevent = types.ModuleType('gevent.monkey')\n"
        "    gevent.saved = {'socket': {}}\n    sys.modules['gevent.monkey'] = gevent",
        "gevent's monkey patching has replaced socket",
    ),
}


@pytest.mark.parametrize("flags", [(), ("--preload",)], ids=["plain", "preload"])
@pytest.mark.parametrize("hook", HOOKS)
def test_29_a_startup_hook_that_fails_ends_the_start_at_once_with_its_reason(
    idle_daemon: Daemon, hook: str, flags: tuple[str, ...]
) -> None:
    line, reason = HOOKS[hook]
    idle_daemon.write_app(f"from jobd import on\n\n@on('startup')\ndef begin():\n    {line}\n")
    idle_daemon.exit_codes = {66}
    idle_daemon.expect_in_log("startup_hook_failed", "worker_cannot_start")
    idle_daemon.run("-w", "2", "--start-timeout", "600", *flags)
    assert idle_daemon.wait_ended(60) == 66
    said = idle_daemon.output.read_text().splitlines()[-1]
    assert said.startswith("jobd: ")
    assert reason in said
    assert "start_timeout" not in said
