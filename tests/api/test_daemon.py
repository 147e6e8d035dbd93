"""The data API beside a real daemon."""

from __future__ import annotations

import time

import redis as redis_py

from jobd.api import Api
from tests.api.conftest import job, push
from tests.conftest import StartDaemon

APP = """
    import time
    from jobd import job

    @job(name="Nap", backtrace=True, retry=3)
    def nap(seconds):
        time.sleep(seconds)

    @job(name="Boom", backtrace=True, retry=3)
    def boom(number):
        raise ValueError(f"no user {number}")
"""
BEAT = 12.0
"""Seconds: a beat is at most ten away."""


def test_a_paused_queue_gives_nothing_until_it_is_resumed(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon(APP, "-c", "2", "-q", "default", "-q", "other")
    api = Api(redis).acting_as("me")
    queue = api.queue("default")
    assert queue.pause()
    # A wait that had begun before gives back what it is given.
    push(api, "default", *(job(0, "Nap") for _ in range(5)))
    push(api, "other", job(0, "Nap", "other"))
    running.wait(lambda: api.counters().processed == 1, 5, "the other queue is worked")
    assert queue.size == 5
    assert queue.unpause()
    running.wait(lambda: api.counters().processed == 6, 5, "the jobs run")
    running.stop()


def test_a_dashboard_sees_and_commands_a_worker(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon(APP, "-c", "2", "-t", "1")
    api = Api(redis).acting_as("me")
    push(api, "default", job(3600, "Nap"), *(job(n, "Boom") for n in range(4)))
    work = running.wait(lambda: api.work.all(), BEAT, "the running job is seen")[0]
    assert (work.job.display_class, work.job.args, work.queue) == ("Nap", [3600], "default")
    assert abs(time.time() - work.run_at) < 60
    (process,) = api.processes
    assert (process.identity, process.concurrency, process.queues) == (
        work.process,
        2,
        ("default",),
    )
    assert process.pid in running.workers()
    running.wait(lambda: api.retries.size == 4, 5, "four jobs have failed")
    (group,) = api.retries.groups().run()
    assert (group.error_class, group.count) == ("ValueError", 4)
    assert group.place.endswith("app.py in boom")

    assert process.stacks() is None
    assert process.dump_threads()
    running.wait_for_log("thread_dump", BEAT)
    stacks = running.wait(process.stacks, 5, "the stacks can be shown")
    assert "time.sleep(seconds)" in stacks.text
    assert abs(time.time() - stacks.at) < 60
    assert process.quiet()
    running.wait(lambda: api.processes[process.identity].stopping, BEAT, "it is quiet")
    assert api.retries.retry_all() == 4
    # One that was being claimed when the worker went quiet is returned.
    running.wait(lambda: api.queue("default").size == 4, 5, "none of them has run")
    assert {entry.action for entry in api.audit} == {"dump_threads", "quiet", "retry"}
    running.stop()
    assert api.queue("default").size == 5
