"""Rows 1, 4, 31 and 44: processes are killed, or kill themselves. Nothing is lost, the other
processes go on, and a job that kills is stopped.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
from collections import Counter
from typing import Any

import pytest
import redis as redis_py

from jobd.api import JobRecord
from jobd.jobs.client import Client
from jobd.runtime.process.identity import hostname
from jobd.store.keys import Keys
from jobd.testing import EmbeddedServer
from tests.conftest import StartDaemon
from tests.support.daemon import Daemon
from tests.support.ledger import assert_conserved, whereabouts
from tests.support.notes import noting
from tests.support.processes import freeze

# Writes down each execution by jid, from a connection of its own.
APP = noting("""
    @job(name="note")
    def note(milliseconds):
        time.sleep(milliseconds / 1000)
        notes.rpush("test:ran", current_job().jid)

    @job(name="deadly")
    def deadly(how):
        notes.rpush("test:ran", current_job().jid)
        if how == "exit":
            os._exit(3)
        if how == "segfault":
            import ctypes
            ctypes.string_at(0)
        if how == "kill":
            os.kill(os.getpid(), 9)
        if how == "hang":
            hang()
        raise SystemExit(4)

    def hang():
        # Until the clock of file times shows that the job had begun.
        coarse = 5
        began = time.clock_gettime(coarse)
        while time.clock_gettime(coarse) == began:
            pass
        notes.rpush("test:hangs", os.getpid())
        time.sleep(600)
""")


def push(url: str, name: str, arguments: list[list[object]], **options: object) -> list[str]:
    client = Client(url)
    jids = client.push_bulk({"class": name, "args": arguments, **options})
    return [jid for jid in jids if jid is not None]


def ran(redis: redis_py.Redis) -> Counter[str]:
    jids: Any = redis.lrange("test:ran", 0, -1)
    return Counter(jid.decode() for jid in jids)


def buried(redis: redis_py.Redis) -> set[str]:
    """The jobs in the dead set, each because three processes died while they ran it."""
    dead: Any = redis.zrange("dead", 0, -1)
    jobs = [json.loads(raw) for raw in dead]
    assert all(job["error_class"].endswith("PoisonPill") and job["crashes"] == 3 for job in jobs)
    return {job["jid"] for job in jobs}


def ended(redis: redis_py.Redis) -> set[str]:
    return set(ran(redis)) | buried(redis)


def nothing_held(redis: redis_py.Redis) -> bool:
    return not any(list(redis.scan_iter(f"jobd:{kind}:*")) for kind in ("inflight", "claim"))


def wait_for_executions(running: Daemon, redis: redis_py.Redis, least: int) -> None:
    running.wait(lambda: redis.llen("test:ran") >= least, 30, f"{least} executions")


def test_01_a_worker_killed_in_the_middle_of_a_job_is_replaced_and_the_job_runs_once_more(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    app = APP.replace(
        "time.sleep(milliseconds / 1000)",
        'notes.rpush("test:begun", current_job().jid); time.sleep(milliseconds / 1000)',
    )
    running = daemon(app, "-w", "2", "-c", "1", env={"NOTES": server.url})
    jids = push(server.url, "note", [[1500], [1500]])
    running.wait(lambda: redis.llen("test:begun") == 2, 10, "both run")
    worker, other = running.workers()
    began = time.monotonic()
    os.kill(worker, signal.SIGKILL)
    running.wait(
        lambda: (
            len(running.state()["workers"]) == 2
            and worker not in [record["pid"] for record in running.state()["workers"]]
        ),
        5,
        "a new worker",
    )
    assert time.monotonic() - began < 2.0
    running.wait(lambda: set(ran(redis)) == set(jids) and nothing_held(redis), 15, "both are done")
    begun: Any = redis.lrange("test:begun", 0, -1)
    assert sorted(Counter(begun).values()) == [1, 2]
    assert set(ran(redis).values()) == {1}
    assert other in running.workers()
    deaths = [record for record in running.records() if record["event"] == "child_died"]
    assert [(death["child_pid"], death["cause"]) for death in deaths] == [
        (worker, "killed by signal 9 (SIGKILL)")
    ]
    assert "perhaps out of memory" in deaths[0]["reason"]


def booting_at_most(running: Daemon) -> int:
    """The most workers that were booting at one time, by the log."""
    booting: set[int] = set()
    most = 0
    for record in running.records():
        if record.get("child", "").startswith("worker"):
            if record["event"] == "child_forked":
                booting.add(record["child_pid"])
            elif record["event"] in ("child_ready", "child_died", "child_exited"):
                booting.discard(record["child_pid"])
        most = max(most, len(booting))
    return most


def kill_all_workers(running: Daemon, workers: int) -> None:
    """Kill *workers* at the same moment: their deaths are one SIGCHLD, or a few."""
    before = running.workers()
    assert len(before) == workers
    for worker in before:
        freeze(worker)
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    running.wait(
        lambda: (
            len(running.workers()) == workers
            and not set(before) & set(running.workers())
            and all(record["state"] == "ready" for record in running.state()["workers"])
        ),
        5 + workers,
        "all slots are filled again",
    )
    died = [r["child_pid"] for r in running.records() if r["event"] == "child_died"]
    assert sorted(died) == sorted(before), "each death is seen, once"
    assert booting_at_most(running) <= max(2, os.cpu_count() or 1)
    running.assert_flat()


def test_44_all_workers_are_killed_at_once(daemon: StartDaemon, redis: redis_py.Redis) -> None:
    running = daemon("", "-w", "8", "-c", "1")
    kill_all_workers(running, 8)


@pytest.mark.minutes
@pytest.mark.timeout(900)
def test_44_two_hundred_workers_are_killed_at_once(
    daemon: StartDaemon, redis: redis_py.Redis
) -> None:
    running = daemon("", "-w", "200", "-c", "1", "--start-timeout", "300", ready=False)
    running.wait_ready(300)
    kill_all_workers(running, 200)


@pytest.mark.timeout(180)
def test_01_ten_thousand_jobs_while_workers_are_killed(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    chance = random.Random(20261123)
    running = daemon(APP, "-w", "6", "-c", "4", env={"NOTES": server.url})
    jids = push(server.url, "note", [[chance.choice([1, 5, 10, 30])] for _ in range(10_000)])
    kills = 0
    while kills < 20:
        before = redis.llen("test:ran")
        if before >= 10_000:
            break
        workers = running.workers()
        if workers:
            os.kill(chance.choice(workers), signal.SIGKILL)
            kills += 1
        progress = min(10_000, before + chance.randrange(50, 400))
        wait_for_executions(running, redis, progress)
    # Well below the length of a lease: every death must have been seen by the master.
    running.wait(lambda: ended(redis) == set(jids) and nothing_held(redis), 30, "all jobs ended")
    assert kills >= 10
    # About one time in a hundred, chance has three kills hit the same jobs: those of a worker.
    pills = buried(redis)
    assert len(pills) <= 8
    executions = ran(redis)
    # Only what was running at a kill (5 threads) may have run twice, and what ended in the last
    # moments before it.
    assert sum(executions.values()) - 10_000 <= kills * 4 + kills * 200
    assert whereabouts(redis) == {jid: ["dead"] for jid in pills}
    assert running.stop() == 0


def test_04_the_whole_daemon_is_killed_and_started_again(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    first = daemon(APP, "-w", "2", "-c", "3", env={"NOTES": server.url})
    jids = push(server.url, "note", [[100]] * 100)
    first.wait(lambda: redis.llen("test:ran") >= 10, 10, "ten executions")
    first.kill()
    assert_conserved(redis, jids, ran_and_gone(redis, jids))
    held = len(jids) - len(ran(redis)) - redis.llen("queue:default")
    assert held >= 0
    # The same pidfile: the new master knows from the state file whose jobs to return at once.
    first.run(env={"NOTES": server.url})
    first.leaves_files = False
    first.wait_ready()
    first.wait(lambda: set(ran(redis)) == set(jids) and nothing_held(redis), 20, "all jobs ran")


def ran_and_gone(redis: redis_py.Redis, jids: list[str]) -> list[str]:
    """Jobs that Redis does not hold any more; each must have run."""
    gone = [jid for jid in jids if jid not in whereabouts(redis)]
    executions = ran(redis)
    assert all(jid in executions for jid in gone)
    return gone


@pytest.mark.parametrize(
    ("how", "cause"),
    [("exit", "exit code 3"), ("segfault", "signal 11"), ("kill", "signal 9")],
)
def test_31_a_job_that_kills_its_worker_is_buried_after_three_deaths(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer, how: str, cause: str
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", env={"NOTES": server.url})
    running.expect_in_log("Segmentation fault")
    [poison] = push(server.url, "deadly", [[how]])
    running.wait(lambda: redis.zcard("dead") == 1, 30, "the job is in the dead set")
    assert ran(redis)[poison] == 3
    [jid] = push(server.url, "note", [[0]])
    running.wait(lambda: ran(redis)[jid] == 1, 10, "the next job ran")
    buried = the_dead_job(redis)
    assert buried.error_class == "jobd.keeper.recovery.PoisonPill"
    assert cause in buried.error_message
    assert f"on host {hostname()} (" in buried.error_message
    running.wait(lambda: whereabouts(redis) == {poison: [Keys().dead]}, 10, "that one only is left")
    stack = "\n".join(buried.error_backtrace)
    if how == "segfault":
        assert stack.startswith("The thread of this job, which got the signal")
        assert re.search(r'File ".*app\.py", line \d+ in deadly\n', stack)
        assert len(stack) < 5000
        # The line of the application that crashed is in the log.
        deaths = [record for record in running.records() if record["event"] == "child_died"]
        assert all('app.py", line' in record["stack"] for record in deaths)
    else:
        assert stack == "", "nobody knows where it was"


def the_dead_job(redis: redis_py.Redis) -> JobRecord:
    members: Any = redis.zrange("dead", 0, -1)
    assert len(members) == 1
    return JobRecord(members[0])


def test_the_first_two_deaths_leave_a_small_mark(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", env={"NOTES": server.url})
    running.expect_in_log("Segmentation fault")
    # The successor has no code for it: the job comes back to rest in the retry set, with its mark.
    running.write_app(APP.replace('name="deadly"', 'name="harmless"'))
    push(server.url, "deadly", [["segfault"]])
    running.wait(lambda: redis.zcard("retry") == 1, 20, "the job is in the retry set")
    members: Any = redis.zrange("retry", 0, -1)
    fields = json.loads(members[0])
    assert fields["crashes"] == 1
    assert fields["recovered_from"].keys() == {"owner", "cause"}
    assert "error_backtrace" not in fields


def test_a_dump_taken_before_the_kill_is_the_last_known_stack(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", env={"NOTES": server.url})
    push(server.url, "deadly", [["hang"]])
    for death in (1, 2, 3):
        running.wait(lambda: redis.llen("test:hangs") == death, 20, "it hangs")  # noqa: B023
        hung: Any = redis.lindex("test:hangs", -1)
        worker = int(hung)
        if death == 3:
            os.kill(worker, signal.SIGTTIN)
            running.wait(lambda: "in hang" in running.log(), 10, "the stacks are in the log")
        os.kill(worker, signal.SIGKILL)
    running.wait(lambda: redis.zcard("dead") == 1, 20, "the job is in the dead set")
    buried = the_dead_job(redis)
    assert "signal 9" in buried.error_message
    heading, *calls = buried.error_backtrace
    assert re.fullmatch(
        r"The thread of this job, \d+\.\d s before the end of its process .*", heading
    )
    assert [call.rpartition(" in ")[2] for call in calls[:2]] == ["hang", "deadly"]


def test_a_keeper_that_dies_as_well_still_learns_the_stack(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "1", "-c", "1", env={"NOTES": server.url})
    running.expect_in_log("Segmentation fault")
    keeper = running.keeper()
    assert keeper is not None
    # It takes what the master says into its buffer, and never reads it.
    freeze(keeper)
    push(server.url, "deadly", [["segfault"]], crashes=2)
    running.wait_for_log('"event":"child_died"', 20)
    os.kill(keeper, signal.SIGKILL)
    running.wait(lambda: redis.zcard("dead") == 1, 20, "the job is in the dead set")
    assert any(line.endswith(" in deadly") for line in the_dead_job(redis).error_backtrace)


def test_31_a_poison_pill_that_waits_at_the_start_is_no_failed_start(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    [poison] = push(server.url, "deadly", [["exit"]])
    running = daemon(APP, "-w", "1", "-c", "2", env={"NOTES": server.url}, ready=False)
    running.wait(lambda: redis.zcard("dead") == 1, 30, "the job is in the dead set")
    running.wait_ready()
    assert ran(redis)[poison] == 3


def test_sys_exit_in_a_job_is_a_failure_like_any_other(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running = daemon(APP, "-w", "1", "-c", "2", env={"NOTES": server.url})
    before = running.workers()
    [jid] = push(server.url, "deadly", [["sys.exit"]])
    running.wait(lambda: redis.zcard("retry") == 1, 10, "the job is in the retry set")
    assert b'"error_class":"SystemExit"' in redis.zrange("retry", 0, 0)[0]
    assert running.workers() == before
    assert ran(redis)[jid] == 1


def test_the_keeper_is_killed_while_a_worker_dies(
    daemon: StartDaemon, redis: redis_py.Redis, server: EmbeddedServer
) -> None:
    running: Daemon = daemon(APP, "-w", "2", "-c", "2", env={"NOTES": server.url})
    jids = push(server.url, "note", [[300]] * 20)
    running.wait(lambda: redis.llen("test:ran") >= 2, 10, "two executions")
    keeper = running.keeper()
    assert keeper is not None
    for pid in (keeper, running.workers()[0]):
        os.kill(pid, signal.SIGKILL)
    running.wait(lambda: set(ran(redis)) == set(jids) and nothing_held(redis), 30, "all jobs ran")
    assert whereabouts(redis) == {}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_keeper_is_gone_while_several_promote_and_its_jobs_are_promoted_once(
    daemon: StartDaemon, redis: redis_py.Redis, how: signal.Signals
) -> None:
    """A stopped one as well, which goes on later with a batch that others have promoted."""
    running = [daemon("", "-q", "other") for _ in range(3)]
    jobs, queue, due = 40_000, "queue:default", time.time() + 1
    for first in range(0, jobs, 5_000):
        numbers = range(first, first + 5_000)
        payloads = [json.dumps({"class": "A", "args": [n], "jid": f"{n}"}) for n in numbers]
        redis.zadd("schedule", dict.fromkeys(payloads, due))
    keepers = [one.keeper() for one in running[:2]]
    running[0].wait(lambda: redis.llen(queue) > 0, 20, "they promote")
    for keeper in keepers:
        assert keeper is not None
        os.kill(keeper, how)
    running[0].wait(lambda: redis.zcard("schedule") == 0, 30, "all are promoted")
    if how == signal.SIGSTOP:
        for keeper in keepers:
            assert keeper is not None
            os.kill(keeper, signal.SIGCONT)
    else:
        for one in running[:2]:
            one.wait(lambda one=one: one.keeper() not in (None, *keepers), 20, "a new keeper")  # type: ignore[misc]
    found: Any = redis.lrange(queue, 0, -1)
    assert Counter(json.loads(raw)["args"][0] for raw in found) == Counter(range(jobs))
    redis.delete(queue, "queues")


def test_a_worker_is_in_the_state_file_before_it_can_claim(daemon: StartDaemon) -> None:
    """Else its jobs wait for the end of a lease if it is killed together with its master."""
    # The application is loaded before Redis is asked for anything.
    app = """
        import json, os, pathlib
        state = json.loads(pathlib.Path("jobd.state").read_text())
        known = os.getpid() in [worker["pid"] for worker in state["workers"]]
        pathlib.Path(f"{os.getpid()}.known").write_text(str(known))
    """
    running = daemon(app, "-w", "3")
    os.kill(running.workers()[0], signal.SIGKILL)

    def answers() -> list[str]:
        return [file.read_text() for file in running.directory.glob("*.known")]

    running.wait(lambda: len(answers()) == 4, 20, "four workers started")
    running.wait(lambda: answers() == ["True"] * 4, 1, "the state file knew all of them")
