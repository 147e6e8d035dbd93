"""Row 40: the clock on the wall jumps. Everything that waits goes by the other one."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.faults.clock import Clock, NoClock
from tests.support.daemon import Daemon
from tests.support.ledger import whereabouts

APP = """
    import time
    from pathlib import Path
    from jobd import job

    @job(name="nap")
    def nap(seconds):
        Path("napping").touch()
        time.sleep(seconds)

    @job(name="hold")
    def hold():
        Path("holding").touch()
        while not Path("let go").exists():
            time.sleep(0.02)
"""


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    try:
        made = Clock(tmp_path)
    except NoClock as reason:
        pytest.skip(str(reason))
    yield made
    made.close()


HOUR, DAY = 3600, 86400


def test_40_the_wall_clock_jumps_and_nothing_happens(
    idle_daemon: Daemon, redis: redis_py.Redis, server: EmbeddedServer, clock: Clock
) -> None:
    running = idle_daemon
    running.write_app(APP)
    running.run("-w", "2", "-c", "2", env=clock.environment)
    running.wait_ready()
    children = sorted(child.pid for child in running.children())

    def processed() -> int:
        return int(redis.get("stat:processed") or 0)

    def dumps() -> list[dict[str, Any]]:
        return [r for r in running.records() if r["event"] == "thread_dump_complete"]

    for number, seconds in enumerate((HOUR, -HOUR, DAY, -DAY, 0), 1):
        clock.step(seconds)
        (running.directory / "napping").unlink(missing_ok=True)
        # A job that was running while the clock jumped, and one that begins afterwards.
        Client(server.url).push({"class": "nap", "args": [0.3]})
        running.wait((running.directory / "napping").exists, 10, "the job runs")
        clock.step(-seconds)
        running.wait(lambda: redis.llen("queue:default") == 0, 10, "it is taken")
        clock.step(seconds)
        running.wait(lambda: processed() == number, 10, "it is done")  # noqa: B023
        assert running.jobctl("status").returncode == 0, "the master is known for what it is"
        # The library does what it should, in every process: the records are dated accordingly.
        running.signal(signal.SIGTTIN)
        running.wait(lambda: len(dumps()) == number, 10, "a dump")  # noqa: B023
        written = datetime.fromisoformat(dumps()[-1]["timestamp"]).timestamp()
        assert abs(written - time.time() - seconds) < 60
    time.sleep(2.5)  # two beats of everything that looks at a clock once a second
    assert sorted(child.pid for child in running.children()) == children, "none was killed"
    for event in ("child_died", "child_killed", "child_exited", "child_backoff", "job_late"):
        assert f'"event":"{event}"' not in running.log()
    # A new start knows the leftovers of this one by their ticks, whatever the clock says.
    Client(server.url).push({"class": "hold", "args": []})
    running.wait((running.directory / "holding").exists, 10, "it runs, and keeps a worker")
    running.signal(signal.SIGKILL)
    running.wait_ended()
    clock.step(DAY)
    running.run("-w", "2", env=clock.environment)
    running.wait_for_log("orphan_told_to_stop", 20)
    (running.directory / "let go").touch()
    running.wait_ready()
    assert not set(children) & {child.pid for child in running.children()}
    assert running.jobctl("stop").returncode == 0
    assert whereabouts(redis) == {}


def test_40_a_stop_takes_its_time_whatever_the_clock_says(
    idle_daemon: Daemon, redis: redis_py.Redis, server: EmbeddedServer, clock: Clock
) -> None:
    running = idle_daemon
    running.write_app(APP)
    running.run("-t", "10", env=clock.environment)
    running.wait_ready()
    Client(server.url).push({"class": "nap", "args": [2]})
    running.wait((running.directory / "napping").exists, 10, "the job runs")
    began = time.monotonic()
    running.signal(signal.SIGTERM)
    running.wait_for_log('"state":"stopping"')
    clock.step(DAY)
    assert running.wait_ended() == 0
    assert 1 < time.monotonic() - began < 8
    assert redis.get("stat:processed") == b"1", "the job was not cut short"
