"""jobctl tune: a real daemon is measured; the arithmetic is that of the texts."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_py

from jobctl.tune.measure import Measured, Measurement
from jobctl.tune.model import LONG, advise
from jobd import Client
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon

APP = """
    import time
    from jobd import job

    @job(queue="io")
    def fetch(seconds): time.sleep(seconds)

    @job(queue="cpu")
    def compute(number):
        for each in range(number): each * each
"""


def push(redis: redis_py.Redis, name: str, argument: float, count: int, queue: str) -> None:
    Client(None, None, redis).push_bulk(
        {"class": f"app.{name}", "args": [[argument]] * count, "queue": queue}
    )


def tuned(running: Daemon) -> dict[str, Any]:
    """What it says when the threads were busy: on a machine of others, jobs may come late."""
    for _ in range(5):
        answer: dict[str, Any] = json.loads(
            running.jobctl("tune", "--seconds", "4", "--json").stdout
        )
        if answer["options"]:
            return answer
    return answer


def test_jobs_that_wait_are_told_from_those_that_compute(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-q", "io", "-q", "cpu", "-c", "4", "-w", "1")
    push(redis, "fetch", 0.05, 20_000, "io")
    running.wait(lambda: int(redis.get("stat:processed") or 0) > 4, 20, "they run")
    waits = tuned(running)
    assert waits["kind"] == "waits"
    assert waits["share"] < 0.3
    assert waits["time_per_job"] >= 0.05
    first, *others = waits["options"]
    assert (first["workers"], first["threads"], first["limit"]) == (1, 4, "threads")
    assert max(one["rate"] for one in others) > 1.5 * first["rate"]
    redis.delete("queue:io")
    push(redis, "compute", 100_000, 20_000, "cpu")
    before = int(redis.get("stat:processed") or 0)
    running.wait(lambda: int(redis.get("stat:processed") or 0) > before + 30, 30, "they run")
    computes = tuned(running)
    assert computes["kind"] == "computes", computes
    assert computes["cpu_per_job"] < computes["time_per_job"]
    told = running.jobctl("tune", "--seconds", "2")
    assert "threads busy" in told.stdout
    redis.delete("queue:cpu")


def test_an_idle_daemon_is_left_as_it_is(daemon: StartDaemon) -> None:
    running = daemon(APP, "-q", "io")
    answer = json.loads(running.jobctl("tune", "--seconds", "1", "--json").stdout)
    assert (answer["kind"], answer["options"], answer["share"]) == ("idle", [], None)
    assert "would change nothing" in answer["text"]


def test_without_a_daemon(daemon: StartDaemon) -> None:
    running = daemon(APP, "-q", "io")
    running.stop()
    assert running.jobctl("tune", "--seconds", "1").returncode == 3


def measured(cpu: float, busy: float, jobs: int, **fields: object) -> Measured:
    return Measured("worker.0", 1, cpu=cpu, busy=busy, jobs=jobs, **fields)  # type: ignore[arg-type]


def test_the_arithmetic_of_jobs_that_wait() -> None:
    # 100 jobs of 0.1 s, of them 0.01 s of CPU, in one of 4 CPUs.
    found = Measurement(2.5, 4, 4, [measured(1.0, 10.0, 100, gil_waits=[0.001])])
    advice = advise(found)
    assert advice.kind == "waits"
    assert advice.share == pytest.approx(0.1)
    assert (advice.cpu_per_job, advice.time_per_job) == (0.01, 0.1)
    rates = {(one.workers, one.threads): round(one.rate) for one in advice.options}
    assert (rates[1, 4], rates[1, 10], rates[4, 10], rates[2, 4]) == (40, 100, 400, 80)
    assert advice.options[0].limit == "threads"


def test_the_arithmetic_of_a_gil_that_is_used_up() -> None:
    # Four threads share one CPU: each of 100 jobs takes 0.04 s, three quarters of it for others.
    found = Measurement(1.0, 2, 4, [measured(1.0, 4.0, 100, gil_waits=[0.02])])
    advice = advise(found)
    assert (advice.kind, advice.gil_used_up) == ("computes", True)
    assert advice.time_alone == pytest.approx(0.01)
    rates = {(one.workers, one.threads): round(one.rate) for one in advice.options}
    assert rates == {(1, 4): 100, (2, 4): 200}
    assert {one.limit for one in advice.options} == {"GIL"}
    assert "2 workers with 4 threads could end up to 2.0 times as many." in advice.text


def test_cpus_that_are_used_up() -> None:
    busy = [measured(0.95, 3.8, 100, gil_waits=[0.02]) for _ in range(2)]
    advice = advise(Measurement(1.0, 2, 4, busy))
    assert "only more hosts help" in advice.text


def test_time_without_a_cpu_is_not_waiting() -> None:
    # A busy host: of 10 s, threads could have run for 7 s more.
    found = Measurement(2.5, 2, 4, [measured(2.0, 10.0, 100, cpu_wait=7.0, gil_waits=[LONG / 2])])
    assert advise(found).time_alone == pytest.approx(0.03)
    assert advise(found).share == pytest.approx(2 / 3)


def test_few_jobs_say_little() -> None:
    advice = advise(Measurement(1.0, 2, 4, [measured(0.1, 4.0, 3)]))
    assert (advice.options, advice.cpu_per_job) == ([], None)
    assert "--seconds" in advice.text
    coroutines = advise(Measurement(1.0, 2, 4, [measured(0.1, 1.0, 50, coroutines=90.0)]))
    assert (coroutines.kind, coroutines.options) == ("async", [])


def test_a_gil_kept_by_threads_without_a_cpu_is_not_used_up() -> None:
    # Jobs that wait, on a busy host: 100 of 0.1 s, of them 0.01 s of CPU.
    busy = measured(1.0, 10.0, 100, gil_waits=[0.02], cpu_wait=0.5)
    advice = advise(Measurement(2.5, 4, 4, [busy]))
    assert (advice.kind, advice.gil_used_up) == ("waits", False)
