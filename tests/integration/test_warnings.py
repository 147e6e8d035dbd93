"""What would leave jobs lying, or throw them away, is pointed out at the start, once."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis as redis_py

from jobd import Client
from jobd.errors import Exit
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon


def test_an_evicting_server_is_warned_about(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        running = daemon("", "-w", "2")
        running.wait_for_log("redis_may_evict_jobs.*allkeys-lru.*noeviction")
    finally:
        redis.config_set("maxmemory-policy", "noeviction")
    assert sum(record["event"] == "redis_may_evict_jobs" for record in running.records()) == 1


def test_a_server_that_is_nearly_full_is_warned_about_before_it_refuses(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    memory: Any = redis.info("memory")
    redis.config_set("maxmemory", int(memory["used_memory"] / 0.9) + 5_000_000)
    try:
        # The daemon itself takes some memory; what is left is filled until it is short.
        running = daemon("", "-q", "other")
        assert not json.loads(running.jobctl("status", "--json").stdout)["memory_short"]
        while (memory := redis.info("memory"))["used_memory"] < 0.85 * memory["maxmemory"]:
            redis.lpush("queue:default", "x" * 100_000)
        running.wait(
            lambda: "of its memory limit" in running.jobctl("status").stdout, 20, "it says so"
        )
        assert "Raise maxmemory" in running.jobctl("status").stdout
        redis.lpush("queue:default", "x")  # nothing has been refused yet
        redis.delete("queue:default")
        running.wait(
            lambda: "of the memory" not in running.jobctl("status").stdout, 20, "it is over"
        )
    finally:
        redis.config_set("maxmemory", 0)
    assert sum(record["event"] == "redis_nearly_full" for record in running.records()) == 1


def test_a_queue_that_is_not_served_is_warned_about(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    app = """
        from jobd import job

        @job(queue="mail")
        def send(): ...
    """
    running = daemon(app, "-w", "2")
    running.wait_for_log('queues_not_served.*"queues":"mail"')
    assert sum(record["event"] == "queues_not_served" for record in running.records()) == 1


def test_an_application_without_jobs_is_warned_about(daemon: StartDaemon) -> None:
    running = daemon("x = 1", "-w", "2")
    running.wait_for_log('no_jobs_registered.*"require"')
    assert sum(record["event"] == "no_jobs_registered" for record in running.records()) == 1


def test_pushes_to_another_server_are_warned_about(daemon: StartDaemon) -> None:
    """Where jobs push is what the application says, and it may have said it by mistake."""
    app = """
        import jobd

        jobd.configure("redis://:secret@127.0.0.1:1/5")

        @jobd.job
        def send(): ...
    """
    running = daemon(app, "-w", "2")
    running.wait_for_log('pushes_go_elsewhere.*"to":"127.0.0.1:1/5"')
    records = running.records()
    assert [one["served"] for one in records if one["event"] == "pushes_go_elsewhere"] != []
    assert sum(record["event"] == "pushes_go_elsewhere" for record in records) == 1
    assert "secret" not in running.log()


@pytest.mark.parametrize("preload", [(), ("--preload",)])
def test_a_failed_import_shows_the_lines_of_the_application(
    idle_daemon: Daemon, preload: tuple[str, ...]
) -> None:
    """And not how Python and jobd came to import it."""
    (idle_daemon.directory / "inner.py").write_text("import not_installed\n")
    idle_daemon.write_app("import inner")
    idle_daemon.exit_codes = {Exit.NO_APPLICATION}
    idle_daemon.run(*preload)
    assert idle_daemon.wait_ended() == Exit.NO_APPLICATION
    idle_daemon.expect_in_log("worker_cannot_start", "process_cannot_start")
    [told] = [one for one in idle_daemon.records() if one["event"].endswith("cannot_start")]
    assert "app.py" in told["exception"]
    assert "inner.py" in told["exception"]
    assert "importlib" not in told["exception"]
    assert "jobd/jobs/loading.py" not in told["exception"]


def test_nothing_is_warned_about_where_all_fits(daemon: StartDaemon) -> None:
    running = daemon("import jobd\n@jobd.job\ndef send(): ...")
    running.wait_for_log("worker_ready")
    running.stop()
    told = {record["event"] for record in running.records()}
    assert not told & {"no_jobs_registered", "pushes_go_elsewhere", "queues_not_served"}


def test_an_unknown_job_teaches_where_it_would_be(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    """In the log and in the retry set; without a traceback, for nothing of the application ran."""
    app = """
        from jobd import job

        @job
        def welcome(): ...
    """
    running = daemon(app)
    for name in ("app.welcme", "mails.welcome"):
        Client(running.url).push({"class": name, "args": []})
    running.wait(lambda: redis.zcard("retry") == 2, 20, "both are to be retried")
    said = {
        record["class"]: record["error"]
        for record in running.records()
        if record["event"] == "job_failed"
    }
    file = running.directory / "app.py"
    assert said["app.welcme"].endswith(
        f"the module app ({file}) is imported, but has no welcme; 'app.welcome' is registered"
    )
    assert "such as -r mails, or check its name=" in said["mails.welcome"]
    assert not [one for one in running.records() if "exception" in one]
    waiting: Any = redis.zrange("retry", 0, -1)
    kept = [json.loads(raw)["error_message"] for raw in waiting]
    assert sorted(said.values()) == sorted(f"jobd.errors.UnknownJobError: {one}" for one in kept)
