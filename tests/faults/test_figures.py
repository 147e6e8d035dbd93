"""Figures that are promised, as measured here: how fast a stop and a status are, and what a rolling
reload costs. The first two are seconds, with some air for busy machines; the last is a ratio
within one run.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.api import Api
from jobd.store.scripts import Script
from jobd.testing import EmbeddedServer
from tests.api.conftest import job, push
from tests.api.test_sets import fill
from tests.conftest import StartDaemon
from tests.support.daemon import environment
from tests.support.ledger import whereabouts
from tests.support.notes import noting

# Each job notes when it has ended, by a clock that is the same in all processes.
APP = noting("""
    @job(name="note")
    def note(milliseconds):
        time.sleep(milliseconds / 1000)
        notes.rpush("test:ended", f"{current_job().jid} {time.monotonic()}")
""")

pytestmark = pytest.mark.alone

ROUNDS = 5
WINDOW = 0.25


def test_a_stop_with_idle_workers_takes_less_than_half_a_second(daemon: StartDaemon) -> None:
    running = daemon("", "-w", "2")
    seconds = []
    for number in range(ROUNDS):
        if number:
            running.run("-w", "2")
            running.wait_ready()
        time.sleep(0.3)  # as in life: idle, each in its wait for a job
        began = time.monotonic()
        assert running.stop() == 0
        seconds.append(time.monotonic() - began)
    print(f"stop with idle workers: {statistics.median(seconds):.3f} s, at most {max(seconds):.3f}")
    assert statistics.median(seconds) < 0.5, seconds


def test_a_status_takes_less_than_a_third_of_a_second(daemon: StartDaemon) -> None:
    running = daemon("", "-w", "2")
    seconds = []
    status = [sys.executable, "-m", "jobctl", "-P", str(running.pidfile), "status"]
    for _ in range(2 * ROUNDS):
        began = time.monotonic()
        subprocess.run(status, stdout=subprocess.DEVNULL, env=environment(), check=True)
        seconds.append(time.monotonic() - began)
    print(f"jobctl status: {min(seconds):.3f} s at best, {statistics.median(seconds):.3f} median")
    # The start of an interpreter is what takes its time, and others may be at work here.
    assert min(seconds) < 0.3, seconds


@pytest.mark.timeout(180)
@pytest.mark.parametrize("change", ["delete", "move"])
def test_no_script_holds_the_server_for_long_at_half_a_million_jobs(
    redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Of the time of its processor, since others may be at work here."""
    jobs, api = 500_000, Api(redis).acting_as("me")
    for first in range(0, jobs, 5_000):
        push(api, "default", *(job(n) for n in range(first, first + 5_000)))
    longest: dict[str, float] = {}
    call = Script.__call__

    def used() -> float:
        found: Any = redis.info("cpu")
        return float(found["used_cpu_user_main_thread"] + found["used_cpu_sys_main_thread"])

    def timed(self: Script, *given: Any) -> Any:
        before = used()
        answer = call(self, *given)
        longest[self.name] = max(longest.get(self.name, 0.0), used() - before)
        return answer

    monkeypatch.setattr(Script, "__call__", timed)
    queue = api.queue("default")
    for start in (0, jobs // 2, jobs - 2_000):
        page = queue.page(start, 100).entries
        for left in (100, 0):  # the second time they have gone
            done = queue.delete(*page) if change == "delete" else queue.move("low", *page)
            assert done == left
    fill(api.dead, job(jobs))
    assert api.dead.page().entries[0].replace({"queue": "default"})
    push(api, "default", *(job(n) for n in range(jobs, jobs + 1_000)))
    assert api.trash.page(0, 1).entries[0].restore() == 1
    print(f"{change}: " + ", ".join(f"{name} {s * 1000:.0f} ms" for name, s in longest.items()))
    assert max(longest.values()) < 0.05, longest


@pytest.mark.timeout(180)
def test_a_reload_under_load_halves_nothing_and_loses_nothing(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "2", "-c", "4", "--log-level", "info", env={"NOTES": server.url})
    # Eight threads of 40 ms each: 200 jobs a second, which cost little.
    calls: list[list[object]] = [[40]] * 2000
    jids = [jid for jid in Client(server.url).push_bulk({"class": "note", "args": calls}) if jid]
    time.sleep(3.0)
    began = time.monotonic()
    done = running.jobctl("reload", "--wait")
    assert done.returncode == 0, done.stderr
    running.wait(
        lambda: {child["generation"] for child in running.state()["workers"]} == {2},
        10,
        "the last old worker has left",
    )
    ended = time.monotonic()
    running.wait(lambda: redis.llen("test:ended") >= len(jids), 40, "all jobs ran")
    running.wait(lambda: whereabouts(redis) == {}, 10, "nothing is held")
    notes: Any = redis.lrange("test:ended", 0, -1)
    ends = [(jid.decode(), float(at)) for jid, at in (note.split() for note in notes)]
    assert sorted(jid for jid, _ in ends) == sorted(jids), "each has run, and once"
    assert '"event":"jobs_given_back"' not in running.log(), "all could end in the time they had"
    assert '"event":"jobs_cut_short"' not in running.log()

    def rates(first: float, last: float) -> list[int]:
        windows = int((last - first) / WINDOW)
        counts = [0] * windows
        for _, at in ends:
            if 0 <= (window := int((at - first) // WINDOW)) < windows:
                counts[window] += 1
        return counts

    before = statistics.median(rates(began - 2.0, began))
    during = rates(began, ended)
    print(
        f"reload of {ended - began:.2f} s: {before:g} jobs in each {WINDOW} s before, "
        f"{min(during)} to {max(during)} during it: never below {min(during) / before:.0%}"
    )
    assert min(during) >= before / 2, (before, during)
