"""The Lua scripts, as properties: whatever happens in whatever order, no job is lost or doubled.

Hypothesis plays several owners, keepers and operators on a real server, sends calls twice as a
client does whose answer was lost, and after every step counts where each job is.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import redis as redis_py
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobd.keeper.leases import Leases
from jobd.keeper.recovery import Death, Recovery
from jobd.keeper.scheduler import Scheduler
from jobd.store import scripts
from jobd.store.connection import connect
from jobd.store.enqueue import Transport
from jobd.store.inflight import DAY_TTL, LEASE, Claimed, InFlight, split_tag
from jobd.store.keys import Keys
from jobd.store.pipeline import Wire
from jobd.testing import EmbeddedServer
from jobd.wire.attachments import AttachedPush, Lock, Pushed

KEYS = Keys("{p}:")
QUEUES = ("a", "b:c")
OWNERS = ("host:1:x", "host:1:y", "host:2:z")


def number(raw: bytes) -> int:
    found: int = json.loads(raw)["number"]
    return found


class Owner:
    """What one worker believes: its numbers, and the jobs that it has been given."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.inflight = InFlight(KEYS, identity, QUEUES)
        self.next = 1
        self.given: dict[int, Claimed] = {}

    def take(self, queue: str, payloads: list[bytes]) -> None:
        for raw in payloads:
            self.given[self.next] = Claimed(self.next, queue, raw)
            self.next += 1


owners = st.sampled_from(OWNERS)
queues = st.sampled_from(QUEUES)
twice = st.booleans()
numbers = st.integers(0, 2**16)
mostly = st.sampled_from([False, True, True, True])


BYTES, FIRST, CHUNK = 4 * 1024 * 1024, 10, 100
"""The bounds of a claim; see claim.lua."""

SMALL_BYTES = 300
"""The same bound for :class:`FewBytes`, whose other two are 2 and 3."""


class Jobs(RuleBasedStateMachine):
    client: redis_py.Redis
    most_bytes = BYTES
    chunk = CHUNK

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.wire = Wire(self.client)
        self.wire.connect(scripts.OF_A_WORKER)
        self.owners = {identity: Owner(identity) for identity in OWNERS}
        self.pushed = 0
        self.ended: set[int] = set()
        self.processed = 0
        self.failed = 0
        self.expired = 0
        self.recovery = Recovery(
            self.client, KEYS, Leases(self.client, KEYS), lambda _identity, _jobs: None
        )
        self.scheduler = Scheduler(self.client, KEYS, 1.0)
        self.transport = Transport(self.client, KEYS.prefix)
        self.kinds: dict[int, str] = {}

    def teardown(self) -> None:
        self.wire.close()

    # -- tools ---------------------------------------------------------------------------------

    def say(self, call: bytes, again: bool = False) -> Any:
        self.wire.send(call)
        first = self.wire.read()
        if again:
            self.wire.send(call)
            self.wire.read()
        return first

    def queue(self, name: str) -> list[bytes]:
        """Its payloads, the next one first."""
        found: Any = self.client.lrange(KEYS.queue(name), 0, -1)
        return list(reversed(found))

    def lease(self, owner: Owner) -> float:
        return self.client.zscore(KEYS.owners, owner.identity) or 0.0

    def clock(self) -> float:
        return float(self.client.hget(KEYS.clock, "reachable") or 0)

    def really_held(self, owner: Owner) -> dict[int, tuple[str, bytes]]:
        held: Any = self.client.hgetall(KEYS.inflight(owner.identity))
        return {place[0]: (place[1], raw) for tag, raw in held.items() if (place := split_tag(tag))}

    def some(self, owner: Owner, data: st.DataObject) -> list[Claimed]:
        """Some of the jobs that it was ever given; mostly, but not only, such as are its own."""
        given = sorted(owner.given)
        mine = [sequence for sequence in given if sequence in self.really_held(owner)]
        its_own: bool = data.draw(mostly)
        if mine and its_own:
            given = mine
        # Drawn as numbers, since what is there depends on the clock, and draws must not.
        drawn = data.draw(st.lists(numbers, min_size=1, max_size=4))
        chosen = dict.fromkeys(given[one % len(given)] for one in drawn)
        return [owner.given[sequence] for sequence in chosen]

    @initialize(jobs=st.integers(0, 12))
    def begin(self, jobs: int) -> None:
        """Most of what matters happens to owners that have jobs."""
        for owner in self.owners.values():
            assert self.say(owner.inflight.register()) == 1
        for name in QUEUES:
            self.push(name, jobs)
        for identity in OWNERS[:2]:
            self.claim(identity, 4, [1, 3], False, False)

    # -- clients and operators -----------------------------------------------------------------

    @rule(name=queues, jobs=st.integers(1, 6), size=st.integers(0, 2 * SMALL_BYTES))
    def push(self, name: str, jobs: int, size: int = 0) -> None:
        for _ in range(jobs):
            fields = {"number": self.pushed, "class": "A", "args": ["x" * size], "queue": name}
            self.client.lpush(KEYS.queue(name), json.dumps(fields))
            self.pushed += 1

    @rule(name=queues, kind=st.integers(0, 2), due=st.sampled_from([None, 0.0, 1e12]), again=twice)
    def push_unique(self, name: str, kind: int, due: float | None, again: bool) -> None:
        """A job that keeps others of its kind out, and its result."""
        lock = Lock(str(kind), seconds=1e6, held=True)
        fields = {"number": self.pushed, "class": "A", "args": [], "queue": name}
        jobd = {"v": 1, "lock": msgspec.to_builtins(lock), "result": 600}
        raw = json.dumps({**fields, "jid": str(self.pushed), "jobd": jobd}).encode()
        one = AttachedPush(raw, str(self.pushed), name, Pushed(due, lock, 600))
        alive = self.alive().get(str(kind))
        [conflict] = self.transport.push([one], time.time())
        assert (conflict and conflict.holder) == (alive and str(alive[0]))
        if conflict is None:
            self.kinds[self.pushed] = str(kind)
            self.pushed += 1
        if again:
            [conflict] = self.transport.push([one._replace(jid="another")], time.time())
            assert conflict is not None

    def alive(self) -> dict[str, list[int]]:
        """The unique jobs that may still run, by their kinds."""
        dead: Any = self.client.zrange(KEYS.dead, 0, -1)
        gone = self.ended | set(map(number, dead))
        found: dict[str, list[int]] = {}
        for one, kind in self.kinds.items():
            if one not in gone:
                found.setdefault(kind, []).append(one)
        return found

    @rule()
    def retry_dead(self) -> None:
        """A dead job comes back, unless another one has taken its place."""
        dead: Any = self.client.zrange(KEYS.dead, 0, -1)
        for raw in dead:
            alive = self.alive().get(self.kinds.get(number(raw), ""))
            keys = [KEYS.dead, KEYS.queues, KEYS.dead, KEYS.promoting(KEYS.dead), KEYS.queue("a")]
            moved, _, _, _, holders = scripts.PROMOTE(
                self.client, keys, [repr(1.0), "", 0, 0, 0, 1, "a", raw, 1, raw]
            )
            if alive is None:
                assert (moved, holders) == (1, [])
            else:
                assert (moved, holders) == (0, [str(alive[0]).encode()])

    @rule(name=queues)
    def schedule(self, name: str) -> None:
        raw = json.dumps({"number": self.pushed, "class": "A", "args": [], "queue": name})
        self.client.zadd(KEYS.schedule, {raw: self.pushed % 2 * 1e12})
        self.pushed += 1

    @rule(name=queues, pause=st.booleans())
    def pause(self, name: str, pause: bool) -> None:
        if pause:
            self.client.sadd(KEYS.paused, name)
        else:
            self.client.srem(KEYS.paused, name)

    # -- workers -------------------------------------------------------------------------------

    @rule(identity=owners, again=twice)
    def register(self, identity: str, again: bool) -> None:
        owner = self.owners[identity]
        condemned = self.lease(owner) < 0
        done = self.say(owner.inflight.register(), again)
        assert done == (not condemned)
        assert (self.lease(owner) > 0) == bool(done)

    @rule(
        identity=owners,
        most=st.integers(1, 6),
        shares=st.lists(st.integers(0, 4), min_size=2, max_size=2),
        turned=st.booleans(),
        lost=st.booleans(),
    )
    def claim(self, identity: str, most: int, shares: list[int], turned: bool, lost: bool) -> None:
        owner = self.owners[identity]
        names = QUEUES[::-1] if turned else QUEUES
        before = {name: self.queue(name) for name in QUEUES}
        held = self.really_held(owner)
        paused = {name.decode() for name in self.client.smembers(KEYS.paused)}  # type: ignore[union-attr]
        plan = list(zip(names, shares, strict=True))
        reply = self.say(owner.inflight.claim(owner.next, most, plan))
        if self.lease(owner) <= 0:
            assert reply is None
            assert before == {name: self.queue(name) for name in QUEUES}
            assert held == self.really_held(owner)
            return
        first = owner.next
        got: Counter[str] = Counter()
        seen = set()
        for position, *payloads in reply:
            if position == 0:
                assert [position, *payloads] == reply[-1] == [0]
                continue
            name = names[abs(position) - 1]
            if position < 0:
                seen.add(name)
                assert not payloads
                continue
            assert payloads == before[name][got[name] : got[name] + len(payloads)]
            got[name] += len(payloads)
            owner.take(name, payloads)
        assert seen == paused & set(QUEUES)
        assert all(got[name] == 0 for name in paused)
        sizes = [len(owner.given[sequence].payload) for sequence in range(first, owner.next)]
        cut = [0] in reply
        assert cut == (sum(sizes) >= self.most_bytes and len(sizes) < most)
        assert sum(sizes[: -self.chunk]) < self.most_bytes, "one chunk too many at most"
        open_jobs = sum(len(before[name]) for name in QUEUES if name not in paused)
        full = len(sizes) == min(most, open_jobs)
        assert full or cut, "a claim is full whenever there is work"
        left = most
        for name, share in plan:
            if name not in paused:
                mine = min(share, left, len(before[name]))
                left -= mine
                small = sum(map(len, before[name][:mine])) < self.most_bytes * share / most
                assert got[name] >= mine or cut or not small, "every queue gives its share"
        after = self.really_held(owner)
        assert after.keys() - held.keys() == set(range(first, owner.next))
        if lost:  # the answer: its numbers are not used again
            for sequence in range(first, owner.next):
                del owner.given[sequence]
            owner.next = first + most

    @rule(identity=owners, name=queues)
    def wait(self, identity: str, name: str) -> None:
        """Even a condemned owner's blocking claim may be answered."""
        if self.queue(name):
            self.say(self.owners[identity].inflight.register())
            assert self.say(self.owners[identity].inflight.wait(name, 0.01)) is not None

    @rule(identity=owners, name=queues)
    def file(self, identity: str, name: str) -> None:
        owner = self.owners[identity]
        claimed: Any = self.client.lrange(KEYS.claim(identity, name), 0, -1)
        paused = self.client.sismember(KEYS.paused, name)
        before = self.queue(name)
        reply = self.say(owner.inflight.file(owner.next, name))
        if not claimed:
            assert reply == []
        elif self.lease(owner) <= 0:
            assert reply is None
            assert self.client.lrange(KEYS.claim(identity, name), 0, -1) == claimed
        elif paused:
            assert reply == []
            assert self.queue(name) == claimed[::-1] + before
        else:
            assert reply == claimed[::-1]
            owner.take(name, reply)

    @rule(identity=owners, name=queues, again=twice)
    def unclaim(self, identity: str, name: str, again: bool) -> None:
        self.say(self.owners[identity].inflight.file(1, name, wanted=False), again)

    @rule(identity=owners)
    def adopt(self, identity: str) -> None:
        """What a lost answer had claimed is found."""
        owner = self.owners[identity]
        for sequence, (name, raw) in self.really_held(owner).items():
            owner.given.setdefault(sequence, Claimed(sequence, name, raw))
            owner.next = max(owner.next, sequence + 1)

    @precondition(lambda self: any(owner.given for owner in self.owners.values()))
    @rule(data=st.data(), again=twice)
    def acknowledge(self, data: st.DataObject, again: bool) -> None:
        owner = self.busy(data)
        jobs = self.some(owner, data)
        held = self.really_held(owner)
        mine = [job for job in jobs if job.sequence in held]
        plain = [job for job in jobs if number(job.payload) not in self.kinds]
        others = [(job, b'{"value":1}') for job in jobs if job not in plain]
        removed = self.say(owner.inflight.acknowledge(plain), again) if plain else 0
        if others:
            removed += self.say(owner.inflight.end("done", others), again)
        assert removed == len(mine)
        self.ended |= {number(job.payload) for job in mine}
        self.processed += len(mine)

    def busy(self, data: st.DataObject) -> Owner:
        having = [owner for owner in self.owners.values() if owner.given]
        holding = [owner for owner in having if self.really_held(owner)]
        likely: bool = data.draw(mostly)
        if holding and likely:
            having = holding
        return having[data.draw(numbers) % len(having)]

    @precondition(lambda self: any(owner.given for owner in self.owners.values()))
    @rule(data=st.data(), how=st.sampled_from(["retry", "bury", "discard"]), again=twice)
    def fail(self, data: st.DataObject, how: str, again: bool) -> None:
        owner = self.busy(data)
        job = self.some(owner, data)[0]
        mine = job.sequence in self.really_held(owner)
        noted = json.dumps({**json.loads(job.payload), "failed": True}).encode()
        now = time.time()
        if how == "retry":
            call = owner.inflight.retry(job, noted, now - 1)
        elif how == "bury":
            counted = data.draw(st.booleans())
            call = owner.inflight.bury(
                *(job, noted, now),
                keep_from=now - 1e6,
                most=10_000,
                counted=counted,
                detail=b"",
            )
        else:
            call = owner.inflight.discard(job, b"")
        assert self.say(call, again) == int(mine)
        if mine:
            count = 1 if how != "bury" else int(counted)
            self.processed += count
            self.failed += count
            if how == "discard":
                self.ended.add(number(job.payload))

    @precondition(lambda self: any(owner.given for owner in self.owners.values()))
    @rule(data=st.data(), now=st.booleans(), again=twice)
    def snooze(self, data: st.DataObject, now: bool, again: bool) -> None:
        owner = self.busy(data)
        job = self.some(owner, data)[0]
        mine = job.sequence in self.really_held(owner)
        noted = json.dumps({**json.loads(job.payload), "snoozed": True}).encode()
        before = self.queue(job.queue)
        at = None if now else time.time() - 1
        call = owner.inflight.snooze(job, noted, at, job.queue)
        assert self.say(call, again) == int(mine)
        assert self.queue(job.queue) == [*before, *([noted] if mine and now else [])]

    @precondition(lambda self: any(owner.given for owner in self.owners.values()))
    @rule(data=st.data(), again=twice)
    def be_too_late(self, data: st.DataObject, again: bool) -> None:
        owner = self.busy(data)
        jobs = self.some(owner, data)
        held = self.really_held(owner)
        mine = [job for job in jobs if job.sequence in held]
        late = [(job, b"") for job in jobs]
        assert self.say(owner.inflight.end("expired", late), again) == len(mine)
        self.ended |= {number(job.payload) for job in mine}
        self.expired += len(mine)

    @precondition(lambda self: any(owner.given for owner in self.owners.values()))
    @rule(data=st.data(), again=twice)
    def give_back(self, data: st.DataObject, again: bool) -> None:
        owner = self.busy(data)
        jobs = self.some(owner, data)
        held = self.really_held(owner)
        before = {name: self.queue(name) for name in QUEUES}
        started = frozenset(job.sequence for job in jobs if data.draw(st.booleans()))
        mine = [job for job in sorted(jobs) if job.sequence in held]
        assert self.say(owner.inflight.give_back(jobs, started), again) == len(mine)
        for name in QUEUES:
            back = [job.payload for job in mine if job.queue == name]
            assert self.queue(name) == back + before[name]
        cut = sum(job.sequence in started for job in mine)
        self.processed += cut
        self.failed += cut

    @rule(identity=owners, again=twice)
    def release(self, identity: str, again: bool) -> None:
        owner = self.owners[identity]
        empty = not self.really_held(owner) and not any(
            self.client.llen(KEYS.claim(identity, name)) for name in QUEUES
        )
        lease = self.lease(owner)
        assert self.say(owner.inflight.release(), again) == int(empty)
        assert self.lease(owner) == (0.0 if empty else lease)

    # -- keepers -------------------------------------------------------------------------------

    @rule(identities=st.sets(owners))
    def renew(self, identities: set[str]) -> None:
        before = {identity: self.lease(self.owners[identity]) for identity in OWNERS}
        leases = Leases(self.client, KEYS)
        leases.vouch_for(sorted(identities))
        leases.renew()
        for identity, lease in before.items():
            now = self.lease(self.owners[identity])
            if lease <= 0 or identity not in identities:
                assert now == lease
            else:
                assert now == self.clock() + LEASE

    @rule(identity=owners)
    def expire(self, identity: str) -> None:
        if self.lease(self.owners[identity]) > 0:
            self.client.zadd(KEYS.owners, {identity: 1.0})

    @rule(seconds=st.sampled_from([-1e6, -1.0, 5.0, 61.0, 1e6]))
    def clock_is_set(self, seconds: float) -> None:
        """The server's, or it was away for so long."""
        self.client.hincrbyfloat(KEYS.clock, "seen", -seconds)

    @rule()
    def time_passes(self) -> None:
        for owner in self.owners.values():
            if (lease := self.lease(owner)) < 0:
                self.client.zadd(KEYS.owners, {owner.identity: lease + 10})

    @rule(identity=owners, certainty=st.sampled_from(["dead", "expired"]), again=twice)
    def recover(self, identity: str, certainty: str, again: bool) -> None:
        owner = self.owners[identity]
        lease, held = self.lease(owner), self.really_held(owner)
        claimed = {
            name: list(self.client.lrange(KEYS.claim(identity, name), 0, -1)) for name in QUEUES
        }
        before = {name: self.queue(name) for name in QUEUES}
        for _ in range(1 + again):
            self.recovery._return_jobs(Death(identity, frozenset(), "test"), certainty)
        if certainty == "expired" and lease > self.clock():
            assert self.really_held(owner) == held
            assert self.lease(owner) == lease
            return
        assert not self.really_held(owner)
        assert self.lease(owner) <= 0
        for name in QUEUES:
            back = [raw for _, (queue, raw) in sorted(held.items()) if queue == name]
            expected = back + claimed[name][::-1] + before[name]
            if lease or held:  # one that nobody lists and that holds nothing has left in order
                assert self.queue(name) == expected

    @rule()
    def promote(self) -> None:
        while self.scheduler.turn() == 0.0:
            pass
        assert not self.client.zcount(KEYS.retry, "-inf", time.time() - 1)

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def every_job_is_in_one_place_or_ended(self) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for name in QUEUES:
            pipeline.lrange(KEYS.queue(name), 0, -1)
            for identity in OWNERS:
                pipeline.lrange(KEYS.claim(identity, name), 0, -1)
        for identity in OWNERS:
            pipeline.hvals(KEYS.inflight(identity))
        for key in (KEYS.retry, KEYS.schedule, KEYS.dead):
            pipeline.zrange(key, 0, -1)
        places = Counter(number(raw) for found in pipeline.execute() for raw in found)
        assert places == Counter(set(range(self.pushed)) - self.ended)

    @invariant()
    def a_lock_is_held_if_and_only_if_its_job_may_still_run(self) -> None:
        alive = self.alive()
        for kind in ("0", "1", "2"):
            holder: Any = self.client.hget(KEYS.lock(kind), "jid")
            assert [int(holder)] == alive[kind] if holder else kind not in alive

    @invariant()
    def a_result_says_whether_its_job_may_still_run(self) -> None:
        alive = {one for jobs in self.alive().values() for one in jobs}
        for one in self.kinds:
            state: Any = self.client.hget(KEYS.result(str(one)), "state")
            assert (state in (b"queued", b"scheduled", b"retrying")) == (one in alive), state
            assert (state in (b"done", b"failed", b"expired")) == (one not in alive), state

    @invariant()
    def counters_are_what_has_ended(self) -> None:
        day = time.strftime("%Y-%m-%d", time.gmtime())
        values: Any = self.client.mget(
            *(KEYS.processed, KEYS.processed_on(day), KEYS.failed, KEYS.failed_on(day)),
            *(KEYS.expired, KEYS.expired_on(day)),
        )
        assert [int(value or 0) for value in values] == [
            *([self.processed] * 2),
            *([self.failed] * 2),
            *([self.expired] * 2),
        ]
        if self.processed:
            assert DAY_TTL - 60 < self.client.ttl(KEYS.processed_on(day)) <= DAY_TTL


class FewBytes(Jobs):
    """Every claim is short of bytes."""

    most_bytes = SMALL_BYTES
    chunk = 3


def claims_of_few_bytes() -> scripts.Script:
    """CLAIM with bounds so low that small jobs reach them."""
    made = scripts.Script("claim")
    bounds = f"BYTES, FIRST, CHUNK = {BYTES}, {FIRST}, {CHUNK}"
    assert bounds in made.source
    made.source = made.source.replace(bounds, f"BYTES, FIRST, CHUNK = {SMALL_BYTES}, 2, 3")
    made.digest = hashlib.sha1(made.source.encode(), usedforsecurity=False).hexdigest()
    return made


@pytest.mark.parametrize("machine", [Jobs, FewBytes])
def test_no_interleaving_loses_or_doubles_a_job(
    server: EmbeddedServer,
    redis: redis_py.Redis,
    machine: type[Jobs],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if machine is FewBytes:
        few = claims_of_few_bytes()
        of_a_worker = tuple(few if one is scripts.CLAIM else one for one in scripts.OF_A_WORKER)
        monkeypatch.setattr(scripts, "OF_A_WORKER", of_a_worker)
        monkeypatch.setattr(scripts, "CLAIM", few)
    Jobs.client = connect(server.url)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    Jobs.client.close()


@pytest.fixture
def worker(redis: redis_py.Redis) -> Any:
    wire = Wire(redis)
    wire.connect(scripts.OF_A_WORKER)

    def say(call: bytes) -> Any:
        wire.send(call)
        return wire.read()

    yield say
    wire.close()


@pytest.fixture
def places_of_another_type(redis: redis_py.Redis) -> None:
    """None of them can take a job."""
    redis.mset(dict.fromkeys((KEYS.retry, KEYS.schedule, KEYS.dead, KEYS.queue("a")), "?"))


RAW = b'{"queue":"a","class":"A","args":[]}'


@pytest.mark.parametrize("end", ["retry", "bury", "give_back", "return", "recover"])
def test_a_place_of_another_type_costs_no_job(
    redis: redis_py.Redis, worker: Any, places_of_another_type: None, end: str
) -> None:
    """A script that fails half way is not undone: the job had left its old place by then."""
    inflight = InFlight(KEYS, "host:1:x", ["a"])
    worker(inflight.register())
    job = Claimed(1, "a", RAW)
    redis.hset(KEYS.inflight("host:1:x"), job.tag, job.payload)
    redis.lpush(KEYS.claim("host:1:x", "a"), b"delivered")
    recovery = Recovery(redis, KEYS, Leases(redis, KEYS), lambda *_: None)
    bury = inflight.bury(job, b"new", 2.0, keep_from=1.0, most=9, counted=True, detail=b"")
    ends: dict[str, Callable[[], object]] = {
        "retry": lambda: worker(inflight.retry(job, b"new", 1.0)),
        "bury": lambda: worker(bury),
        "give_back": lambda: worker(inflight.give_back([job], frozenset())) or "0",
        "return": lambda: worker(inflight.file(2, "a", wanted=False)),
        "recover": lambda: recovery._return_jobs(Death("host:1:x", frozenset(), ""), "dead"),
    }
    if end in ("give_back", "return"):
        assert ends[end]() in ("0", [])
    else:
        with pytest.raises(redis_py.ResponseError, match=r"WRONGTYPE|stay in flight"):
            ends[end]()
    assert redis.hgetall(KEYS.inflight("host:1:x")) == {job.tag.encode(): job.payload}
    assert redis.lrange(KEYS.claim("host:1:x", "a"), 0, -1) == [b"delivered"]
    assert not redis.exists(KEYS.processed)


@pytest.mark.parametrize("why", ["another type", "no permission"])
@pytest.mark.parametrize("delivered", [False, True])
def test_what_cannot_be_recorded_as_in_flight_stays_where_it_was(
    redis: redis_py.Redis, worker: Any, why: str, delivered: bool
) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a", "b"])
    worker(inflight.register())
    place = KEYS.claim("host:1:x", "a") if delivered else KEYS.queue("a")
    redis.lpush(place, *(f"{n}" for n in range(20)))
    call = inflight.file(1, "a") if delivered else inflight.claim(1, 50, [("a", 25), ("b", 25)])
    if why == "another type":
        redis.set(KEYS.inflight("host:1:x"), "?")
    else:
        redis.acl_setuser("default", enabled=True, commands=["-hset"])
    try:
        with pytest.raises(redis_py.ResponseError, match=r"WRONGTYPE|permission|can't run"):
            worker(call)
    finally:
        redis.acl_setuser("default", enabled=True, categories=["+@all"])
    assert redis.lrange(place, 0, -1) == [b"%d" % n for n in reversed(range(20))]


def test_a_queue_that_was_cleared_is_known_again_when_jobs_come_back(
    redis: redis_py.Redis, worker: Any
) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a"])
    worker(inflight.register())
    job = Claimed(1, "a", RAW)
    redis.hset(KEYS.inflight("host:1:x"), job.tag, job.payload)
    assert worker(inflight.give_back([job], frozenset())) == 1
    assert redis.smembers(KEYS.queues) == {b"a"}


def test_one_look_recovers_a_whole_fleet(redis: redis_py.Redis) -> None:
    redis.hset(KEYS.clock, mapping={"reachable": 1000.0, "seen": time.time()})
    for number in range(250):
        redis.zadd(KEYS.owners, {f"host:{number}:x": 1.0 + number})
        redis.hset(KEYS.inflight(f"host:{number}:x"), "1:a", RAW)
    redis.zadd(KEYS.owners, {f"host:{number}:gone": -999.0 for number in range(250)})
    Recovery(redis, KEYS, Leases(redis, KEYS), lambda *_: None)._look()
    assert redis.llen(KEYS.queue("a")) == 250


@pytest.mark.parametrize("end", ["bury", "discard"])
def test_a_job_that_is_to_be_cancelled_does_not_die(
    redis: redis_py.Redis, worker: Any, end: str
) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a"])
    worker(inflight.register())
    job = Claimed(1, "a", RAW)
    redis.hset(KEYS.inflight("host:1:x"), job.tag, job.payload)
    redis.hset(KEYS.cancels("host:1:x"), job.tag, "1")
    call = (
        inflight.bury(job, b"new", 2.0, keep_from=1.0, most=9, counted=True, detail=b"")
        if end == "bury"
        else inflight.discard(job, b"")
    )
    assert worker(call) == 2
    assert redis.hlen(KEYS.inflight("host:1:x")) == redis.zcard(KEYS.dead) == 0
    assert redis.get(KEYS.failed) is None
    assert redis.get(KEYS.cancelled) == b"1"


def test_who_gives_up_a_lead_that_it_has_lost_changes_nothing(redis: redis_py.Redis) -> None:
    places = [KEYS.jobd_leader, KEYS.periodic]
    assert scripts.LEAD(redis, places, ["a", "10"])[1] == 1
    until = redis.hget(KEYS.jobd_leader, "until")
    scripts.LEAD(redis, places, ["b", "0"])
    assert redis.hget(KEYS.jobd_leader, "until") == until


def test_a_lock_that_changes_is_looked_at_again(redis: redis_py.Redis) -> None:
    lock, places = KEYS.lock("a"), [KEYS.contested, KEYS.lock("a")]
    redis.zadd(KEYS.contested, {lock: 1.0})
    assert scripts.LOOK_LATER(redis, places, ["7", "", ""]) == 1
    assert redis.zscore(KEYS.contested, lock) == 7.0
    redis.hset(lock, mapping={"jid": "new", "seen": "2"})
    assert scripts.LOOK_LATER(redis, places, ["", "old", "1"]) == 0
    assert scripts.LOOK_LATER(redis, places, ["", "", ""]) == 0
    assert redis.zscore(KEYS.contested, lock) == 7.0
    assert scripts.LOOK_LATER(redis, places, ["", "new", "2"]) == 1
    assert redis.zcard(KEYS.contested) == 0
    assert scripts.LOOK_LATER(redis, places, ["9", "new", "2"]) == 1
    assert redis.zcard(KEYS.contested) == 0, "nobody notes a lock that keeps no job out"


def test_what_its_queue_cannot_take_back_becomes_due_in_the_schedule(
    redis: redis_py.Redis, worker: Any
) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a", "b"])
    worker(inflight.register())
    redis.set(KEYS.queue("a"), "?")
    jobs = [Claimed(1, "a", b"1"), Claimed(2, "b", b"2"), Claimed(3, "a", b"3")]
    for one in jobs:
        redis.hset(KEYS.inflight("host:1:x"), one.tag, one.payload)
    redis.lpush(KEYS.claim("host:1:x", "a"), b"4")
    assert worker(inflight.give_back(jobs, frozenset([3]))) == 3
    assert worker(inflight.file(4, "a", wanted=False)) == []
    assert redis.lrange(KEYS.queue("b"), 0, -1) == [b"2"]
    assert redis.zrange(KEYS.schedule, 0, -1) == [b"1", b"3", b"4"]
    assert redis.zcount(KEYS.schedule, "-inf", time.time()) == 3
    assert redis.get(KEYS.failed) == b"1"


def test_a_queue_of_another_type_does_not_keep_a_claim_from_the_others(
    redis: redis_py.Redis, worker: Any
) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a", "b", "c"])
    worker(inflight.register())
    redis.lpush(KEYS.queue("a"), b"1")
    redis.set(KEYS.queue("b"), "?")
    redis.lpush(KEYS.queue("c"), b"2")
    first, broken, third = worker(inflight.claim(1, 9, [("a", 3), ("b", 3), ("c", 3)]))
    assert (first, third) == ([1, b"1"], [3, b"2"])
    assert broken[0] == -2
    assert broken[1].startswith(b"WRONGTYPE")


@pytest.mark.parametrize(
    ("high", "mid", "low", "taken"),
    [
        (0, 20, 20, [0, 4, 0]),
        (0, 3, 20, [0, 3, 1]),
        (2, 20, 20, [2, 2, 0]),
        (7, 20, 20, [7, 0, 0]),
        (20, 20, 20, [10, 0, 0]),
        (1, 1, 1, [1, 1, 1]),
    ],
)
def test_limits_say_how_much_there_may_be_in_all(
    redis: redis_py.Redis, worker: Any, high: int, mid: int, low: int, taken: list[int]
) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a", "b", "c"])
    worker(inflight.register())
    for name, jobs in zip("abc", (high, mid, low), strict=True):
        for number in range(jobs):
            redis.lpush(KEYS.queue(name), b"%d" % number)
    portions = worker(inflight.claim(1, 10, [("a", 10), ("b", 4), ("c", 4)], limits=True))
    found = {position: len(payloads) for position, *payloads in portions}
    assert [found.get(position, 0) for position in (1, 2, 3)] == taken


def test_large_jobs_of_a_later_queue_are_not_taken_for_all_that_there_is(
    redis: redis_py.Redis, worker: Any
) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a", "b"])
    worker(inflight.register())
    redis.lpush(KEYS.queue("b"), *large(*range(25)))
    [[_, *payloads], mark] = worker(inflight.claim(1, 500, [("a", 500), ("b", 20)], limits=True))
    assert len(payloads) == FIRST
    assert mark == [0], "there may be more"


@pytest.mark.parametrize("jobs", [999, 1000, 1001, 2500, 5000])
def test_large_claims_and_acknowledgements(redis: redis_py.Redis, worker: Any, jobs: int) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a"])
    assert worker(inflight.register()) == 1
    raws = [b"%d" % n for n in range(jobs)]
    redis.lpush(KEYS.queue("a"), *raws)
    [[position, *payloads]] = worker(inflight.claim(1, jobs, [("a", jobs)]))
    assert (position, payloads) == (1, raws)
    claimed = [Claimed(n + 1, "a", raw) for n, raw in enumerate(raws)]
    held: Any = redis.hgetall(KEYS.inflight("host:1:x"))
    assert held == {job.tag.encode(): job.payload for job in claimed}
    assert worker(inflight.give_back(claimed, frozenset())) == jobs
    assert redis.lrange(KEYS.queue("a"), 0, -1) == raws[::-1]
    worker(inflight.claim(1, jobs, [("a", jobs)]))
    assert worker(inflight.acknowledge(claimed)) == jobs
    assert redis.get(KEYS.processed) == b"%d" % jobs


MEGABYTE = 2**20


def large(*numbers: int) -> list[bytes]:
    return [b"%d:" % n + b"x" * MEGABYTE for n in numbers]


def test_a_claim_of_large_jobs_is_bounded_in_bytes(redis: redis_py.Redis, worker: Any) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a"])
    worker(inflight.register())
    raws = large(*range(25))
    redis.lpush(KEYS.queue("a"), *raws)
    taken: list[bytes] = []
    while len(taken) < 20:
        [[_, *payloads], mark] = worker(inflight.claim(len(taken) + 1, 200, [("a", 200)]))
        assert len(payloads) == FIRST
        assert mark == [0], "there may be more"
        taken += payloads
    [[_, *payloads], mark] = worker(inflight.claim(21, 200, [("a", 200)]))
    assert (taken + payloads, mark) == (raws, [0])
    assert worker(inflight.claim(26, 200, [("a", 200)])) == []
    assert redis.hlen(KEYS.inflight("host:1:x")) == 25


def test_small_jobs_before_large_ones_do_not_lift_the_bound(
    redis: redis_py.Redis, worker: Any
) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a"])
    worker(inflight.register())
    redis.lpush(KEYS.queue("a"), *[b"small"] * 500, *large(*range(120)))
    [[_, *payloads], mark] = worker(inflight.claim(1, 2000, [("a", 2000)]))
    assert 500 < len(payloads) < 500 + CHUNK
    assert mark == [0]


def test_jobs_of_no_bytes_are_claimed_as_well(redis: redis_py.Redis, worker: Any) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a"])
    worker(inflight.register())
    redis.lpush(KEYS.queue("a"), *[b""] * 300)
    assert worker(inflight.claim(1, 250, [("a", 250)])) == [[1, *[b""] * 250]]


def test_queues_of_large_jobs_share_a_claim_too(redis: redis_py.Redis, worker: Any) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a", "b"])
    worker(inflight.register())
    middling = [b"x" * 40_000] * 200
    for name in ("a", "b"):
        redis.lpush(KEYS.queue(name), *middling)
    first, second, mark = worker(inflight.claim(1, 400, [("a", 300), ("b", 100)]))
    assert (first[0], second[0], mark) == (1, 2, [0])
    assert abs((len(first) - 1) / (len(second) - 1) - 3) < 0.2
    assert (len(first) + len(second) - 2) * 40_000 < BYTES + 3 * 40_000


def test_numbers_beyond_a_billion_are_written_out(redis: redis_py.Redis, worker: Any) -> None:
    inflight = InFlight(KEYS, "host:1:x", ["a"])
    worker(inflight.register())
    redis.lpush(KEYS.queue("a"), b"1", b"2")
    far = 2**53 - 10
    worker(inflight.claim(far, 2, [("a", 2)]))
    assert redis.hkeys(KEYS.inflight("host:1:x")) == [b"%d:a" % far, b"%d:a" % (far + 1)]


def test_every_script_names_its_keys_and_what_it_returns() -> None:
    for script in (
        *scripts.OF_A_WORKER,
        *(scripts.RENEW, scripts.RECOVER, scripts.PROMOTE),
    ):
        for heading in ("-- KEYS", "-- ARGV", "-- Returns"):
            assert heading in script.source, script.name
