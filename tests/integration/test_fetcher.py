"""The fetcher with real threads against a real server, in good times and through every fault."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_py

from jobd.runtime.ipc.scoreboard import FETCHER_BEAT
from jobd.runtime.ipc.shared_memory import Workplace
from jobd.runtime.log import log
from jobd.runtime.log.file import LogFile
from jobd.runtime.process.wakeup import Bell
from jobd.store import scripts
from jobd.store.connection import connect
from jobd.store.inflight import InFlight
from jobd.store.pipeline import Wire
from jobd.store.scripts import OF_A_WORKER
from jobd.testing import EmbeddedServer
from jobd.worker.fetch import blocking as waits_module
from jobd.worker.fetch import fetcher as fetcher_module
from jobd.worker.fetch import stale as stale_module
from jobd.worker.fetch.blocking import Waits
from jobd.worker.fetch.fetcher import Fetcher
from tests.support import processes
from tests.support.engine import (
    KEYS,
    blocked,
    engine,
    gate,
    gates,
    held,
    kill_connections,
    payload,
    processed,
    push,
    ran,
    settled,
    until,
    waiting,
)
from tests.support.processes import freeze

ME = "host:1:engine"


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    ran.clear()
    held.clear()
    gates.clear()
    yield
    for one in gates.values():
        one.set()


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """A server that a test may stop, restart and starve."""
    with EmbeddedServer(options={"appendfsync": "always"}) as running:
        processes.servers.append(running)
        yield running
        processes.servers.remove(running)


# --- claiming -------------------------------------------------------------------------------


def test_20000_jobs_all_run_once(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    push(redis, "default", *(payload("Note", n) for n in range(20_000)))
    with engine(server.url, threads=5):
        until(lambda: processed(redis) == 20_000, "all jobs are acknowledged")
    assert Counter(ran) == Counter(range(20_000))
    assert settled(redis)
    assert not redis.exists(KEYS.failed)
    assert not redis.zcard(KEYS.owners)


def test_a_job_that_is_acknowledged_is_in_the_log(
    server: EmbeddedServer, redis: redis_py.Redis, tmp_path: Path
) -> None:
    """Lines of finished jobs are held for a moment, and never longer than their jobs."""
    file = LogFile.open(str(tmp_path / "log"))
    log.configure(file, "info", "console", "worker.0")
    push(redis, "default", *(payload("Note", n) for n in range(3000)))
    try:
        with engine(server.url, threads=4):
            while (acknowledged := processed(redis)) < 3000:
                assert Path(file.path).read_bytes().count(b"job_done") >= acknowledged
    finally:
        log.configure(LogFile.open(""), "info", "console", "jobd")
        os.close(file.fd)
    assert (tmp_path / "log").read_bytes().count(b"job_done") == 3000


def test_jobs_of_one_queue_start_in_the_order_of_their_pushes(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    push(redis, "default", *(payload("Note", n) for n in range(500)))
    with engine(server.url, threads=1):
        until(lambda: len(ran) == 500, "all jobs ran")
    assert list(ran) == list(range(500))


def test_a_claim_that_ends_at_its_bytes_is_not_taken_for_all_that_there_is(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would wait on all queues, and be given jobs of one whose turn has not come."""
    opened = gate("large")
    rest = Fetcher._rest

    def rest_when_the_threads_have_taken_theirs(self: Fetcher, *, emptied: bool) -> None:
        until(self.ends._pool.queue.empty, "every claimed job runs")
        rest(self, emptied=emptied)

    monkeypatch.setattr(Fetcher, "_rest", rest_when_the_threads_have_taken_theirs)
    pad = "x" * 2**20
    push(redis, "high", *(payload("Hold", "large", pad=pad) for _ in range(60)))
    push(redis, "low", *(payload("Note", n) for n in range(5)))
    with engine(server.url, queues=[("high", 0), ("low", 0)], threads=40):
        until(lambda: len(held) == 40, "all threads are busy")
        assert redis.llen(KEYS.queue("low")) == 5
        opened.set()
        until(lambda: processed(redis) == 65, "all jobs ran")


def test_200_large_jobs_all_run_once(server: EmbeddedServer, redis: redis_py.Redis) -> None:
    pad = "x" * 2**20
    for n in range(0, 200, 20):
        push(redis, "default", *(payload("Note", m, pad=pad) for m in range(n, n + 20)))
    with engine(server.url, threads=5):
        until(lambda: processed(redis) == 200, "all jobs are acknowledged")
    assert Counter(ran) == Counter(range(200))
    assert settled(redis)


def test_weighted_queues_share_a_batch(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine some of 40 threads may start so late that their jobs are given back.
    monkeypatch.setattr(stale_module, "LIMIT", 60.0)
    opened = gate("shares")
    for queue in ("often", "seldom"):
        push(redis, queue, *(payload("Hold", "shares") for _ in range(60)))
    with engine(server.url, queues=[("often", 3), ("seldom", 1)], threads=40):
        until(lambda: len(held) == 40, "all threads are busy")
        tags: Any = redis.hkeys(KEYS.inflight(ME))
        shares = Counter(tag.partition(b":")[2] for tag in tags)
        assert shares == {b"often": 30, b"seldom": 10}
        opened.set()
        until(lambda: processed(redis) == 120, "all jobs ran")


def test_a_push_wakes_exactly_one_idle_fetcher(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with (
        engine(server.url, identity="host:1:a") as a,
        engine(server.url, identity="host:1:b") as b,
        engine(server.url, identity="host:1:c") as c,
    ):
        until(lambda: blocked(redis) == 3, "three fetchers wait")
        before = calls(redis)
        for n in range(5):
            push(redis, "default", payload("Note", n))
            until(lambda: processed(redis) == len(ran) == n + 1, "the job ran")  # noqa: B023
            until(lambda: blocked(redis) == 3, "three wait again")
        evals = calls(redis)["evalsha"] - before["evalsha"]
        # For each job: its filing (with a claim), its acknowledgement (with another one).
        assert evals <= 5 * 5
        assert {a.fetcher.holding, b.fetcher.holding, c.fetcher.holding} == {0}
    assert sorted(ran) == [0, 1, 2, 3, 4]


def test_a_blocked_fetcher_acknowledges_at_once(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    opened = gate("blocked")
    with engine(server.url):
        push(redis, "default", payload("Hold", "blocked"))
        until(lambda: held, "the job runs")
        until(lambda: blocked(redis) == 1, "the fetcher waits")
        began = time.monotonic()
        opened.set()
        until(lambda: processed(redis) == 1, "the job is acknowledged")
        assert time.monotonic() - began < 1.0


def calls(client: redis_py.Redis) -> dict[str, int]:
    stats: Any = client.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()})


def test_an_idle_worker_costs_next_to_nothing(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with engine(server.url):
        until(lambda: blocked(redis) == 1, "the fetcher waits")
        redis.config_resetstat()
        # The one wait for time itself: how much it says in that time is what is measured.
        time.sleep(3.0)
        said = calls(redis)
        spent = sum(number for name, number in said.items() if name not in ("info", "config"))
        assert spent - said["config|resetstat"] - said["config"] <= 2 * 3


# --- giving back ----------------------------------------------------------------------------


def test_a_claimed_job_that_cannot_start_goes_back_at_once(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    opened = gate("long")
    stuck = payload("Note", "stuck")
    with engine(server.url, threads=1) as one:
        push(redis, "default", payload("Hold", "long"))
        until(lambda: held, "the long job runs")
        # As if it had been claimed when the pace was higher.
        one.fetcher._room.threads.ahead._pace = 1e9
        push(redis, "default", stuck)
        one.fetcher._bell.ring()
        until(lambda: one.fetcher.holding == 2 or ran, "the second job is claimed")
        began = time.monotonic()
        until(lambda: waiting(redis) == [stuck], "it is back in its queue, byte by byte")
        assert time.monotonic() - began < 1.0
        until(lambda: one.fetcher.holding == 1, "it holds the long one only")
        with engine(server.url, identity="host:1:other"):
            until(lambda: list(ran) == ["stuck"], "another worker runs it")
        opened.set()


def test_quiet_gives_back_what_has_not_started_and_claims_nothing(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    opened = gate("quiet")
    raws = [payload("Hold", "quiet", n) for n in range(1)] + [payload("Note", n) for n in range(9)]
    with engine(server.url, threads=1) as one:
        one.fetcher._room.threads.ahead._pace = 1e9
        push(redis, "default", payload("Hold", "quiet"), *raws[1:])
        until(lambda: held, "the first job runs")
        one.fetcher.quiet()
        until(lambda: waiting(redis) == raws[1:], "the others are back, in order")
        assert not one.fetcher.idle
        opened.set()
        until(lambda: one.idle.is_set() and one.fetcher.idle, "it is idle")
        push(redis, "default", payload("Note", "late"))
        until(lambda: redis.llen(KEYS.queue("default")) == 10, "nothing more is claimed")
        assert not ran
        assert settled(redis)
        one.fetcher.resume()
        until(lambda: len(ran) == 10, "everything runs after the resume")
    assert list(ran) == [*range(9), "late"]


def test_quiet_returns_everything_that_blocking_claims_delivered(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    """More than one may be there: those of connections that broke as well."""
    raws = [payload("Note", n) for n in range(3)]
    push(redis, "default", *raws)
    for _ in raws:
        redis.lmove("queue:default", KEYS.claim(ME, "default"), "RIGHT", "LEFT")
    one = engine(server.url)
    with one as running:
        running.fetcher.quiet()
        running.fetcher._intake.delivered.append("default")
        running.fetcher._bell.ring()
    assert sorted([*waiting(redis), *(payload("Note", n) for n in ran)]) == sorted(raws)
    assert not redis.exists(KEYS.claim(ME, "default"))
    assert not redis.zcard(KEYS.owners)


def test_surrender_returns_running_jobs_to_the_head_in_order(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("surrender")
    raws = [payload("Hold", "surrender", number=n) for n in range(4)]
    behind = payload("Note", "behind")
    with engine(server.url, threads=4) as one:
        push(redis, "default", *raws)
        until(lambda: len(held) == 4, "all four run")
        push(redis, "default", behind)
        assert one.fetcher.surrender(5)
        assert waiting(redis) == [*raws, behind]
        assert settled(redis)
        # An execution cut short is counted, as Sidekiq does.
        assert (redis.get(KEYS.processed), redis.get(KEYS.failed)) == (b"4", b"4")
        gates["surrender"].set()
        until(lambda: not one.pool.working(), "the jobs have ended all the same")
    assert waiting(redis) == [*raws, behind]
    assert (redis.get(KEYS.processed), redis.get(KEYS.failed)) == (b"4", b"4")


def test_surrender_in_the_middle_of_a_turn_returns_the_running_jobs(
    own_server: EmbeddedServer,
) -> None:
    """It was taken for done when it was asked for while the fetcher waited for an answer."""
    client = connect(own_server.url, timeout=30)
    gate("stays"), gate("ends")
    stays = payload("Hold", "stays")
    with engine(own_server.url, threads=2, timeout=30) as one:
        push(client, "default", payload("Hold", "ends"), stays)
        until(lambda: len(held) == 2, "both run")
        send, sent = one.fetcher._wire.send, threading.Event()

        def slow(packed: bytes) -> None:
            sent.set()
            send(packed)

        one.fetcher._wire.send = slow  # type: ignore[method-assign]
        freeze(own_server.pid)
        try:
            gates["ends"].set()
            assert sent.wait(5)
            results: list[bool] = []
            asking = threading.Thread(target=lambda: results.append(one.fetcher.surrender(20)))
            asking.start()
            until(lambda: one.fetcher._surrender.asked, "surrender is asked for")
        finally:
            own_server.send(signal.SIGCONT)
        asking.join()
        assert results == [True]
        assert waiting(client) == [stays]
    client.close()


def test_it_beats_while_redis_is_away(own_server: EmbeddedServer) -> None:
    """The master would take it for hung, and have its worker replaced because of an outage."""
    with engine(own_server.url, threads=1) as one:
        until(lambda: one.fetcher.registered, "it is connected")
        own_server.stop()
        for _ in range(4):
            last = one.page.last(FETCHER_BEAT)
            until(lambda: one.page.last(FETCHER_BEAT) > last, "it beats")  # noqa: B023


def test_surrender_repeated_after_a_lost_connection_still_counts(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate("again")
    raw = payload("Hold", "again")
    with engine(server.url) as one:
        push(redis, "default", raw)
        until(lambda: held, "it runs")
        exchange, failures = one.fetcher._exchange, iter([True])

        def fails_once(made: Any) -> None:
            if one.fetcher._ledger.returning and next(failures, False):
                raise redis_py.ConnectionError("cut")
            exchange(made)

        monkeypatch.setattr(one.fetcher, "_exchange", fails_once)
        assert one.fetcher.surrender(5)
        assert waiting(redis) == [raw]
        assert redis.get(KEYS.failed) == b"1"


def test_it_is_not_idle_while_a_claim_is_to_be_answered(own_server: EmbeddedServer) -> None:
    """Else a worker told to stop just then would leave a job in flight that nobody looks for."""
    client = connect(own_server.url, timeout=30)
    gate("race")
    with engine(own_server.url, timeout=30) as one:
        until(lambda: blocked(client) == 1, "it waits")
        claiming = threading.Event()
        send = one.fetcher._wire.send

        def tell(packed: bytes) -> None:
            send(packed)
            claiming.set()

        one.fetcher._wire.send = tell  # type: ignore[method-assign]
        blocker = client.pipeline(transaction=False)
        # The delivery and the stop of the server reach the fetcher as one: it finds a job and
        # asks for it, and has no answer.
        freeze(own_server.pid)
        try:
            one.fetcher._intake.delivered.append("default")
            one.fetcher._bell.ring()
            assert claiming.wait(5)
            one.fetcher.quiet()
            assert one.fetcher.holding == 0
            assert not one.fetcher.idle
        finally:
            own_server.send(signal.SIGCONT)
        until(lambda: one.fetcher.idle, "idle after the answer")
        blocker.reset()
    client.close()


# --- paused queues --------------------------------------------------------------------------


@pytest.mark.parametrize("queues", [["default"], ["other", "default"]], ids=["all", "one of two"])
def test_a_paused_queue_gives_nothing_until_it_is_not(
    server: EmbeddedServer, redis: redis_py.Redis, queues: list[str]
) -> None:
    redis.sadd(KEYS.paused, "default")
    push(redis, "default", payload("Note", "paused"))
    with engine(server.url, queues=[(name, 0) for name in queues]) as one:
        until(lambda: one.fetcher._intake.paused == {"default"}, "it has seen the pause")
        if "other" in queues:
            push(redis, "other", payload("Note", "other"))
            until(lambda: list(ran) == ["other"], "the other queue gives")
        assert redis.llen(KEYS.queue("default")) == 1
        redis.srem(KEYS.paused, "default")
        until(lambda: "paused" in ran, "the job runs soon after", 3.5)


def test_pausing_a_queue_that_is_waited_on_holds_for_the_next_push(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with engine(server.url) as one:
        until(lambda: blocked(redis) == 1, "it waits")
        redis.sadd(KEYS.paused, "default")
        raw = payload("Note", 1)
        push(redis, "default", raw)
        until(lambda: one.fetcher._intake.paused, "it has seen the pause")
        until(lambda: waiting(redis) == [raw], "the job is back")
        assert not ran
        redis.srem(KEYS.paused, "default")
        until(lambda: list(ran) == [1], "it runs after the pause", 3.5)


# --- faults ---------------------------------------------------------------------------------


def test_connections_killed_again_and_again_under_load(
    server: EmbeddedServer, redis: redis_py.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    queues = [("a", 0), ("b", 0), ("c", 0)]
    jobs = 1500
    with redis_py.Redis.from_url(server.url) as killer, engine(server.url, queues=queues) as one:
        errors = watch_bugs(one)
        busy = {redis.client_id(), killer.client_id()}
        for n in range(jobs):
            push(redis, "abc"[n % 3], payload("Note", n))
            if n % 50 == 0:
                clients: Any = killer.client_list()
                for entry in clients:
                    if int(entry["id"]) not in busy:
                        killer.client_kill_filter(_id=entry["id"])
        until(lambda: set(ran) == set(range(jobs)), "every job ran")
        until(lambda: settled(redis), "every job is acknowledged")
        assert not errors
    # A job whose acknowledgement was lost with its connection is not run again either.
    assert Counter(ran) == Counter(range(jobs))
    assert processed(redis) == jobs


def watch_bugs(one: Any) -> list[str]:
    """Errors that the fetcher calls bugs of its own, from now on."""
    found: list[str] = []

    class Watching:
        def exception(self, event: str, **_: Any) -> None:
            import traceback

            found.append(f"{event}\n{traceback.format_exc()}")

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    one.fetcher._log = Watching()
    return found


def test_a_broken_wait_costs_no_more_than_one_pause(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    """The waits of many queues broke one by one, each with a longer pause after it."""
    names = [f"q{n}" for n in range(8)]
    with engine(server.url, queues=[(name, 0) for name in names]) as one:
        errors = watch_bugs(one)
        until(lambda: blocked(redis) == 8, "it waits on all")
        for _ in range(3):
            kill_connections(redis)
            began = time.monotonic()
            until(lambda: blocked(redis) == 8, "it waits again")
            assert time.monotonic() - began < 1.0
        assert not errors


def test_a_restart_of_the_server_under_load_loses_nothing(own_server: EmbeddedServer) -> None:
    client = connect(own_server.url, timeout=30)
    jobs = 3000
    push(client, "default", *(payload("Nap", n, 0.001) for n in range(jobs)))
    with engine(own_server.url, threads=4):
        for mark in (300, 900):
            until(lambda: len(ran) > mark, "some have run")  # noqa: B023
            own_server.stop()
            own_server.start()
        until(lambda: len(set(ran)) == jobs, "every job ran")
        until(lambda: settled(client), "every job is acknowledged")
    assert Counter(ran) == Counter(range(jobs))
    assert processed(client) == jobs
    client.close()


def test_scripts_that_the_server_has_forgotten_are_loaded_again(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    push(redis, "default", *(payload("Nap", n, 0.001) for n in range(600)))
    with engine(server.url):
        for mark in (50, 200, 350):
            until(lambda: len(ran) > mark, "some have run")  # noqa: B023
            redis.script_flush()
        until(lambda: processed(redis) == 600, "every job ran")
    assert Counter(ran) == Counter(range(600))


def test_full_memory_costs_no_job_and_no_lease(own_server: EmbeddedServer) -> None:
    client = connect(own_server.url, timeout=30)
    push(client, "default", *(payload("Nap", n, 0.001) for n in range(600)))
    with engine(own_server.url) as one:
        until(lambda: len(ran) > 50, "some have run")
        client.config_set("maxmemory", "1")
        with pytest.raises(redis_py.exceptions.OutOfMemoryError):
            client.set("any", "thing")
        score: Any = client.zscore(KEYS.owners, ME)
        assert scripts.RENEW(client, [KEYS.owners, KEYS.clock], [60, 0, ME]) == [[], []]
        renewed: Any = client.zscore(KEYS.owners, ME)
        assert renewed >= score
        until(lambda: processed(client) == 600, "every job ran, with the memory full")
        # A new connection registers again, and a dead owner's jobs are returned.
        kill_connections(client)
        client.config_set("maxmemory", "0")
        push(client, "default", payload("Note", "after"))
        until(lambda: "after" in ran, "it goes on")
        assert one.fetcher.idle or one.fetcher.holding
    assert Counter(ran) == Counter([*range(600), "after"])
    client.close()


@pytest.mark.parametrize("finish", ["before the worker learns it", "after"])
def test_a_lost_lease_makes_late_acknowledgements_mean_nothing(
    server: EmbeddedServer, redis: redis_py.Redis, finish: str, capfd: pytest.CaptureFixture[str]
) -> None:
    opened = gate("lease")
    raw = payload("Hold", "lease")
    with engine(server.url, threads=1) as one:
        push(redis, "default", raw)
        until(lambda: held, "it runs")
        # A keeper takes it for dead, returns its job, and forgets it.
        recover(redis, ME, forget_after=0)
        assert waiting(redis) == [raw]
        redis.sadd(KEYS.paused, "default")
        if finish == "after":
            one.fetcher.doubt_lease()
            until(lambda: redis.zscore(KEYS.owners, ME), "it has a lease again")
        opened.set()
        until(lambda: one.fetcher.holding == 0, "it holds nothing any more")
        until(lambda: not one.pool.working(), "the job has ended")
        assert waiting(redis) == [raw]
        assert processed(redis) == 0
    assert "jobs_no_longer_ours" in capfd.readouterr().err


def test_a_job_that_is_not_ours_any_more_still_keeps_its_thread_busy(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    """Its thread counted as free: others were claimed for it and given back, over and over."""
    opened = gate("stranger")
    with engine(server.url, threads=1) as one:
        push(redis, "default", payload("Hold", "stranger"))
        until(lambda: held, "the job runs")
        redis.zrem(KEYS.owners, ME)
        redis.delete(KEYS.inflight(ME))
        one.fetcher.doubt_lease()
        until(lambda: redis.zscore(KEYS.owners, ME) and not one.fetcher.holding, "it is forgotten")
        before = one.fetcher._intake.numbers(1)
        push(redis, "default", payload("Note", "next"))
        time.sleep(2 * stale_module.LIMIT)  # nothing must happen, and that has no event
        assert one.fetcher._intake.numbers(1) == before + 1
        assert len(waiting(redis)) == 1
        opened.set()
        until(lambda: "next" in ran, "the thread is free again")
        until(lambda: settled(redis), "and its job is acknowledged")


def recover(client: redis_py.Redis, identity: str, *, forget_after: float) -> Any:
    """Return the jobs of *identity*, as a keeper does."""
    tags: Any = client.hkeys(KEYS.inflight(identity))
    jobs: list[Any] = []
    for tag in sorted(tags, reverse=True):
        jobs += [tag, 1, ""]
    return scripts.RECOVER(
        client,
        [
            *(KEYS.owners, KEYS.clock, KEYS.inflight(identity), KEYS.waits(identity)),
            *(KEYS.queues, KEYS.dead, KEYS.schedule),
            *(KEYS.queue("default"), KEYS.claim(identity, "default")),
        ],
        [identity, "dead", forget_after, 60, "1.0", 1, "default", *jobs],
    )


def test_a_condemned_worker_claims_nothing_until_it_is_forgotten(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    with engine(server.url):
        until(lambda: blocked(redis) == 1, "it waits")
        state, *_ = recover(redis, ME, forget_after=60)
        assert state == b"condemned"
        push(redis, "default", payload("Note", 1))
        # The blocking claim takes it; a keeper must return it.
        until(lambda: redis.llen(KEYS.claim(ME, "default")), "the job is in the claim list")
        until(lambda: blocked(redis) == 0, "it has noticed")
        state, moved, _ = recover(redis, ME, forget_after=60)
        assert (state, moved) == (b"condemned", 1)
        assert redis.llen(KEYS.queue("default")) == 1
        assert not ran
        assert recover(redis, ME, forget_after=0)[0] == b"forgotten"
        until(lambda: list(ran) == [1], "it registers again and runs the job")


def test_what_a_lost_answer_had_claimed_is_run_and_its_numbers_are_not_used_again(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next claim used the same numbers, and wrote over the records of these jobs."""
    opened = gate("lost")
    raws = [payload("Hold", "lost", number=n) for n in range(6)]
    with engine(server.url, threads=2) as one:
        until(lambda: blocked(redis) == 1, "it waits")
        claimed, lost = one.fetcher._intake._claimed, list[Any]()

        def lose(queues: list[str], *rest: Any) -> None:
            if not lost and rest[-1]:
                lost.append(rest[-1])
                raise redis_py.ConnectionError("the answer is lost")
            claimed(queues, *rest)

        monkeypatch.setattr(one.fetcher._intake, "_claimed", lose)
        redis.sadd(KEYS.paused, "default")
        push(redis, "default", *raws[:1])
        until(lambda: one.fetcher._intake.paused, "it waits for the end of the pause")
        lost.clear()
        push(redis, "default", *raws[1:])
        redis.srem(KEYS.paused, "default")
        until(lambda: lost and len(held) == 2, "what was claimed runs")
        assert redis.hlen(KEYS.inflight(ME)) == 2
        opened.set()
        until(lambda: processed(redis) == 6, "every job is acknowledged, once")
    assert len(held) == 6
    assert settled(redis)


def test_a_lost_claim_does_not_wait_behind_a_long_job(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    gate("in front")
    raw = payload("Note", "adopted")
    with engine(server.url, threads=1) as one:
        push(redis, "default", payload("Hold", "in front"))
        until(lambda: held, "the long job runs")
        redis.hset(KEYS.inflight(ME), "5000:default", raw)  # claimed, and the answer was lost
        one.fetcher.doubt_lease()
        until(lambda: waiting(redis) == [raw], "it goes back for others to run")


def test_what_a_broken_connection_still_does_is_found(
    server: EmbeddedServer, redis: redis_py.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A blocking claim of a connection whose end the server has not noticed yet."""
    monkeypatch.setattr(fetcher_module, "LOOK_AGAIN", 1.0)
    with engine(server.url, threads=1):
        until(lambda: blocked(redis) == 1, "it waits")
        # It has connected and looked into its claim list; only now the old claim delivers. No
        # push wakes the fetcher: it must look by itself.
        redis.lpush(KEYS.claim(ME, "default"), payload("Note", "late"))
        redis.hset(KEYS.inflight(ME), "4000:default", payload("Note", "later"))
        until(lambda: sorted(ran) == ["late", "later"], "both jobs run", 4)
        until(lambda: settled(redis), "both are acknowledged")


def test_calling_back_a_claim_that_the_server_has_not_read_yet(
    server: EmbeddedServer, redis: redis_py.Redis
) -> None:
    """Connections are not ordered: the call to end it came first, and it blocked for 5 s."""
    client = connect(server.url)
    workplace, bell = Workplace(1, "test"), Bell()
    inflight = InFlight(KEYS, ME, ["default"])
    waits = Waits(client, inflight, ["default"], bell, workplace.page)
    command = Wire(client)
    command.connect(OF_A_WORKER)
    command.send(waits._inflight.register())
    assert command.read()
    waits.arm((), lambda _most: 1)
    assert workplace.page.waits() == [1]
    assert waits.disarm(command) == []
    assert workplace.page.waits() == []
    [wait] = waits._waits
    wait.armed_at = time.monotonic()
    packed = waits._inflight.wait("default", waits_module.BLOCK)
    packed += waits._inflight.file(1, "default")
    late = threading.Timer(0.3, wait.wire.send, [packed])
    late.start()
    began = time.monotonic()
    assert waits.disarm(command) == []
    assert 0.2 < time.monotonic() - began < 2.0
    waits.close()
    bell.close()
    waits._selector.close()
    command.close()
    client.close()
    workplace.close()
