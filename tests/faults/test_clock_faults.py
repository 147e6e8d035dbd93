"""Row 40: the clock on the wall jumps. Everything that waits goes by the other one.

No test may set the clock of the machine it runs on. So a small library, compiled on the spot, is
loaded before the C library into every process of the daemon, and adds to the time of day what a
page of shared memory says; the monotonic clock is the kernel's.
"""

from __future__ import annotations

import mmap
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.testing import EmbeddedServer
from tests.integration.daemon import Daemon
from tests.integration.ledger import whereabouts

LIBRARY = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *offset;

__attribute__((constructor)) static void look(void) {
    const char *path = getenv("CLOCK_OFFSET");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) offset = page;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && offset && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += *offset;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *where) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (where) *where = precise.tv_sec;
    return precise.tv_sec;
}
"""

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


class Clock:
    """The wall clock of a daemon."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            pytest.skip("a clock that can be set needs a C compiler (cc)")
        source, library = directory / "clock.c", directory / "clock.so"
        source.write_text(LIBRARY)
        built = subprocess.run(
            [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source)],
            capture_output=True,
            text=True,
        )
        if built.returncode:
            pytest.skip(f"the C compiler does not work: {built.stderr.strip()[:200]}")
        page = directory / "offset"
        page.write_bytes(bytes(8))
        with page.open("r+b") as file:
            self._page = mmap.mmap(file.fileno(), 8)
        self.environment = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(page)}

    def step(self, seconds: int) -> None:
        """Have the clock differ from the real one by *seconds*."""
        self._page[:8] = struct.pack("q", seconds)

    def close(self) -> None:
        self._page.close()


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    made = Clock(tmp_path)
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
