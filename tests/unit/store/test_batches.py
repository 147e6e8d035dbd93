"""The scripts of batches as properties: whatever happens in whatever order, every counter is the
states of the members, and every callback has been pushed exactly once.

A model beside it knows what became of each member and which events are due; calls are sent twice,
as a client does whose answer was lost.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

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

from jobd.store import scripts
from jobd.store.batches import Added
from jobd.store.connection import connect
from jobd.store.enqueue import Transport
from jobd.store.inflight import Claimed, InFlight
from jobd.store.keys import Keys
from jobd.store.pipeline import Wire
from jobd.store.protocol import Argument
from jobd.testing import EmbeddedServer
from jobd.wire.attachments import AttachedPush, Lock, Pushed
from jobd.wire.batches import (
    EVENTS,
    STATES,
    Portion,
    Queued,
    Scheduled,
    callback_jid,
    member_jid,
    states_of,
)

KEYS = Keys("{p}:")
OWNER = "host:1:x"
QUEUE = "a"
CALLBACKS = "calls"
OK = Added("ok", -1, [])
MEMBERS, LATER = range(2), 1000
NOTHING = ("", 0, "", "", "", "")
"""The arguments of scripts that keep nothing in the trash."""

numbers = st.integers(0, 2**16)
twice = st.booleans()


def payload(bid: str, number: int, **more: Any) -> bytes:
    field = {"v": 1, "batch": [bid, number], **more.pop("hangs", {})}
    about = {"class": "Job", "args": [], "queue": QUEUE, "jid": member_jid(bid, number)}
    return json.dumps({**about, "jobd": field, **more}, separators=(",", ":")).encode()


def callback(bid: str, event: str, number: int, parent: tuple[str, int] | None) -> bytes:
    hangs: dict[str, Any] = {"v": 1, "callback": [bid, event]}
    if parent is not None:
        hangs["batch"] = parent
    about = {"class": "Call", "args": [], "queue": CALLBACKS, "jobd": hangs}
    about["jid"] = callback_jid(bid, event, number)
    return json.dumps(about, separators=(",", ":")).encode()


@dataclass
class Batch:
    """What the model knows of a batch."""

    bid: str
    strict: bool
    parent: tuple[str, int] | None
    calls: dict[str, str] = field(default_factory=dict)  # event:number to jid
    numbers: dict[str, int] = field(default_factory=dict)  # of success callbacks in the parent
    members: dict[int, str] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    blocks: dict[str, int] = field(default_factory=dict)
    fired: set[str] = field(default_factory=set)
    died: bool = False
    cancelled: bool = False
    next: int = 0

    def count(self, *states: str) -> int:
        return sum(state in states for state in self.members.values())

    @property
    def fresh(self) -> int:
        return sum(s == "pending" and n not in self.failed for n, s in self.members.items())

    @property
    def bad(self) -> int:
        dropped = self.count("expired", "cancelled", "unconfirmed") if self.strict else 0
        return self.count("dead") + dropped


class Batches(RuleBasedStateMachine):
    client: redis_py.Redis

    def __init__(self) -> None:
        super().__init__()
        self.client.flushall()
        self.wire = Wire(self.client)
        self.wire.connect(scripts.OF_A_WORKER)
        self.inflight = InFlight(KEYS, OWNER, (QUEUE, CALLBACKS))
        self.transport = Transport(self.client, KEYS.prefix)
        self.sequence = 0
        self.batches: dict[str, Batch] = {}
        self.expected: set[str] = set()
        self.ended: set[str] = set()
        self.trashed = 0

    def teardown(self) -> None:
        self.wire.close()

    # -- the model -----------------------------------------------------------------------------

    def settle(self, batch: Batch) -> None:
        """What is due of a batch after a step, and of those around it."""
        batch.died = batch.died or batch.bad > 0
        if not batch.blocks:
            due = {
                "success": batch.count("pending") == 0 and batch.bad == 0,
                "complete": batch.fresh == 0,
                "death": batch.died,
            }
            for event in EVENTS:
                if due[event] and event not in batch.fired:
                    batch.fired.add(event)
                    self.fire(batch, event)
        if batch.parent is None:
            return
        parent, number = self.batches[batch.parent[0]], batch.parent[1]
        if "success" in batch.fired:
            parent.members[number] = "done"
        elif not batch.blocks and batch.bad:
            parent.members[number] = "dead"
            parent.failed.add(number)
        else:
            parent.members[number] = "pending"
            if not batch.blocks and not batch.fresh:
                parent.failed.add(number)
        self.settle(parent)

    def fire(self, batch: Batch, event: str) -> None:
        for name, jid in batch.calls.items():
            if name.startswith(f"{event}:"):
                self.expected.add(jid)
                if name in batch.numbers:
                    assert batch.parent is not None
                    parent = self.batches[batch.parent[0]]
                    parent.members[batch.numbers[name]] = "pending"

    def became(self, raw: bytes, state: str, *, failed: bool = False) -> None:
        """A job is in another state."""
        job = json.loads(raw)
        about = job["jobd"]
        if state != "pending" and job["jid"] not in self.live():
            self.ended.add(job["jid"])
        if "batch" not in about:
            return
        bid, number = about["batch"]
        batch = self.batches[bid]
        batch.members[number] = state
        if failed:
            batch.failed.add(number)
        self.settle(batch)

    # -- tools ---------------------------------------------------------------------------------

    def add(self, portion: Portion, again: bool) -> Added:
        """Sends it; sent again it changes nothing."""
        found = self.transport.add(portion, time.time())
        if again and found.state == "ok":
            before = self.everything()
            second = self.transport.add(portion, time.time())
            assert second.state in ("again", "closed", "finished")
            assert self.everything() == before
        return found

    def everything(self) -> dict[bytes, bytes | None]:
        found: dict[bytes, bytes | None] = {}
        for key in self.client.scan_iter():
            found[key] = self.client.dump(key)
        return found

    def say(self, call: bytes, again: bool = False) -> Any:
        self.wire.send(call)
        first = self.wire.read()
        if again:
            self.wire.send(call)
            assert self.wire.read() == 0
        return first

    def some(self, key: str, number: int) -> bytes | None:
        """One of the jobs at a place."""
        is_list = key.startswith(KEYS.queue(""))
        found: Any = self.client.lrange(key, 0, -1) if is_list else self.client.zrange(key, 0, -1)
        found = sorted(found)
        return found[number % len(found)] if found else None

    def open_batches(self) -> list[Batch]:
        return [batch for batch in self.batches.values() if batch.blocks]

    def running(self, number: int) -> Claimed | None:
        """One of the jobs in flight; one is claimed if there is none."""
        for _ in range(2):
            held: Any = self.client.hgetall(KEYS.inflight(OWNER))
            if held:
                tag = sorted(held)[number % len(held)]
                sequence, queue = tag.decode().split(":", 1)
                return Claimed(int(sequence), queue, held[tag])
            shares = [(QUEUE, 1), (CALLBACKS, 2)]
            for [_, *raws] in self.say(self.inflight.claim(self.sequence + 1, 2, shares)):
                self.sequence += len(raws)
        return None

    # -- pushes --------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        assert self.say(self.inflight.register()) == 1

    @precondition(lambda self: len(self.batches) < 4)
    @rule(
        strict=st.booleans(),
        inside=st.integers(0, 3),
        calls=st.tuples(*[st.integers(0, 2)] * 3),
        jobs=st.integers(0, 3),
        closes=st.booleans(),
        again=twice,
    )
    def create(
        self,
        strict: bool,
        inside: int,
        calls: tuple[int, ...],
        jobs: int,
        closes: bool,
        again: bool,
    ) -> None:
        bid = f"{len(self.batches):016x}"
        around = self.open_batches()
        outer = around[inside % len(around)] if around and inside else None
        parent = None if outer is None else (outer.bid, self.number(outer))
        batch = Batch(bid, strict, parent)
        stored = []
        for event, many in zip(EVENTS, calls, strict=True):
            for number in range(many):
                name = f"{event}:{number}"
                place = None
                if outer is not None and event == "success":
                    batch.numbers[name] = self.number(outer)
                    place = (outer.bid, batch.numbers[name])
                batch.calls[name] = callback_jid(bid, event, number)
                stored.append((name, callback(bid, event, number, place)))
        queued = self.queued(batch, jobs)
        portion = Portion(
            bid,
            "b0",
            "new",
            1,
            closes,
            0,
            parent,
            [("strict", "1")] if strict else [],
            stored,
            queued,
        )
        assert self.add(portion, again) == OK
        self.batches[bid] = batch
        if outer is not None and parent is not None:
            outer.members[parent[1]] = "pending"
        if not closes:
            batch.blocks["b0"] = 1
        self.settle(batch)

    @staticmethod
    def number(batch: Batch) -> int:
        batch.next += 1 + (batch.next % 5 == 4)  # there may be gaps
        return batch.next - 1

    def queued(self, batch: Batch, jobs: int) -> list[Queued]:
        made = []
        for _ in range(jobs):
            number = self.number(batch)
            batch.members[number] = "pending"
            made.append(Queued(number, QUEUE, [payload(batch.bid, number)[:-1]]))
        return made

    @precondition(lambda self: self.open_batches())
    @rule(
        which=numbers, jobs=st.integers(0, 3), unique=twice, later=twice, closes=twice, again=twice
    )
    def go_on(
        self, which: int, jobs: int, unique: bool, later: bool, closes: bool, again: bool
    ) -> None:
        batches = self.open_batches()
        batch = batches[which % len(batches)]
        block, calls = sorted(batch.blocks.items())[which % len(batch.blocks)]
        scheduled = []
        if later:
            number = self.number(batch)
            batch.members[number] = "pending"
            scheduled.append(Scheduled(number, time.time() + LATER, payload(batch.bid, number)))
        attached = []
        if unique:
            number = self.number(batch)
            lock = Lock("k", held=True)
            raw = payload(batch.bid, number, hangs={"lock": {"key": "k", "held": True}})
            jid = member_jid(batch.bid, number)
            attached.append(AttachedPush(raw, jid, QUEUE, Pushed(None, lock, None)))
            if not self.client.exists(KEYS.lock("k")):
                batch.members[number] = "pending"
        queued = self.queued(batch, jobs)
        found = self.add(
            Portion(
                batch.bid,
                block,
                "go on",
                calls + 1,
                closes,
                queued=queued,
                scheduled=scheduled,
                attached=attached,
            ),
            again,
        )
        assert found.state == "ok"
        batch.blocks[block] += 1
        if closes:
            del batch.blocks[block]
        self.settle(batch)

    @precondition(lambda self: self.batches)
    @rule(which=numbers, again=twice)
    def open_again(self, which: int, again: bool) -> None:
        batch = list(self.batches.values())[which % len(self.batches)]
        block = f"b{len(batch.blocks) + 1}x{which}"
        if block in batch.blocks:
            return
        found = self.add(Portion(batch.bid, block, "open", 1, reserve=8), again)
        if batch.cancelled or "success" in batch.fired:
            assert found.state == "finished"
            return
        assert found.state == "ok"
        assert found.reserved >= 0
        batch.blocks[block] = 1
        self.settle(batch)

    @precondition(lambda self: self.open_batches())
    @rule(which=numbers, cancel=st.sampled_from([False, False, True]))
    def close_by_hand(self, which: int, cancel: bool) -> None:
        batches = self.open_batches()
        batch = batches[which % len(batches)]
        names = [KEYS.queues, KEYS.batches_open, KEYS.batch(batch.bid)]
        how = "cancel" if cancel else "close"
        assert scripts.CLOSE_BATCH(self.client, names, [batch.bid, how])[1] == len(batch.blocks)
        block, calls = batch.blocks.popitem()
        batch.blocks.clear()
        batch.cancelled = batch.cancelled or cancel
        self.settle(batch)
        late = Portion(batch.bid, block, "go on", calls + 1, queued=[Queued(999, QUEUE, [b"{}"])])
        assert self.add(late, False).state in ("closed", "finished")

    # -- what workers do -----------------------------------------------------------------------

    @rule(which=numbers, state=st.sampled_from(["done", "expired", "cancelled"]), again=twice)
    def end(self, which: int, state: Any, again: bool) -> None:
        if (job := self.running(which)) is not None:
            assert self.say(self.inflight.end(state, [(job, b"")]), again) == 1
            self.became(job.payload, state)

    @rule(which=numbers, how=st.sampled_from(["retry", "bury", "discard"]), again=twice)
    def fail(self, which: int, how: str, again: bool) -> None:
        if (job := self.running(which)) is None:
            return
        now = time.time()
        if how == "retry":
            self.say(self.inflight.retry(job, job.payload, now + LATER), again)
            self.became(job.payload, "pending", failed=True)
            return
        if how == "bury":
            self.say(
                self.inflight.bury(
                    job,
                    job.payload,
                    now,
                    keep_from=now - 1e6,
                    most=10_000,
                    counted=True,
                    detail=b"",
                ),
                again,
            )
        else:
            self.say(self.inflight.discard(job, b""), again)
        self.became(job.payload, "dead", failed=True)

    @rule(which=numbers, back=twice, again=twice, cancel=st.sampled_from([False, False, True]))
    def put_off(self, which: int, back: bool, again: bool, cancel: bool) -> None:
        if (job := self.running(which)) is None:
            return
        if cancel:
            self.client.hset(KEYS.cancels(OWNER), job.tag, "1")
        if back:
            self.say(self.inflight.give_back([job], frozenset()), again)
        else:
            self.say(self.inflight.snooze(job, job.payload, None, job.queue), again)
        self.became(job.payload, "cancelled" if cancel else "pending")

    # -- what keepers and people do ------------------------------------------------------------

    @rule(source=st.sampled_from(["schedule", "retry", "dead"]), which=numbers)
    def promote(self, source: str, which: int) -> None:
        key = f"{KEYS.prefix}{source}"
        if (raw := self.some(key, which)) is None:
            return
        names = [key, KEYS.queues, KEYS.dead, KEYS.promoting(key), KEYS.queue(QUEUE)]
        words: list[Argument] = [time.time(), "", 0, 0, 60, 1, QUEUE, raw, 1, raw]
        moved, *_ = scripts.PROMOTE(self.client, names, words)
        if moved:
            self.became(raw, "pending")

    def trash(self, keeps: bool, origin: str, went: str = "") -> tuple[list[str], list[Any]]:
        if not keeps:
            return [KEYS.trash, "x", "y"], [*NOTHING]
        self.trashed += 1
        ref = f"t{self.trashed}"
        names = [KEYS.trash, KEYS.trashed(ref), KEYS.trashed_jobs(ref)]
        return names, [ref, 1000, "me", "delete", origin, went]

    @rule(source=st.sampled_from(["queue", "schedule", "retry"]), which=numbers, keeps=twice)
    def delete(self, source: str, which: int, keeps: bool) -> None:
        key = KEYS.queue(QUEUE) if source == "queue" else f"{KEYS.prefix}{source}"
        if (raw := self.some(key, which)) is None:
            return
        origin = f"queue:{QUEUE}" if source == "queue" else source
        names, words = self.trash(keeps, origin)
        if source == "queue":
            place = next(
                i for i, each in enumerate(reversed(self.client.lrange(key, 0, -1))) if each == raw
            )
            scripts.UNQUEUE(self.client, [*names, key], [*words, "gone", place, raw])
        else:
            scripts.REMOVE(self.client, [*names, key], [*words, raw])
        self.became(raw, "cancelled")

    @rule(source=st.sampled_from(["schedule", "retry"]), which=numbers, keeps=twice)
    def kill(self, source: str, which: int, keeps: bool) -> None:
        key = f"{KEYS.prefix}{source}"
        if (raw := self.some(key, which)) is not None:
            names, words = self.trash(keeps, source, "dead")
            now = time.time()
            scripts.KILL(
                self.client, [*names, key, KEYS.dead], [*words, now, now - 1e6, 10_000, raw]
            )
            self.became(raw, "dead", failed=True)

    @rule(which=numbers)
    def restore(self, which: int) -> None:
        refs: Any = self.client.zrange(KEYS.trash, 0, -1)
        if not refs:
            return
        ref = refs[which % len(refs)].decode()
        about: Any = self.client.hgetall(KEYS.trashed(ref))
        origin, went = about[b"origin"].decode(), about.get(b"went_to", b"").decode()
        jobs = KEYS.trashed_jobs(ref)
        is_queue = origin.startswith("queue:")
        before: Any = (
            self.client.lrange(jobs, 0, -1) if is_queue else self.client.zrange(jobs, 0, -1)
        )
        names = [KEYS.trash, KEYS.trashed(ref), jobs, f"{KEYS.prefix}{origin}", KEYS.queues]
        names.append(KEYS.dead if went else KEYS.retry)
        words = [ref, QUEUE if is_queue else "", "set" if went else "", 100, 0, "gone", 0]
        restored, left, *_ = scripts.RESTORE(self.client, names, words)
        assert len(before) == 1
        if restored and not left:
            self.became(before[0], "pending")

    # -- what holds ----------------------------------------------------------------------------

    @invariant()
    def counters_are_the_states_of_the_members(self) -> None:
        for batch in self.batches.values():
            raw: Any = self.client.hgetall(KEYS.batch(batch.bid))
            told = {name.decode(): value.decode() for name, value in raw.items()}
            for state in STATES[1:]:
                assert int(told.get(state, 0)) == batch.count(state), (batch, told)
            assert int(told["total"]) == len(batch.members)
            assert int(told["fresh"]) == batch.fresh
            assert int(told.get("failed", 0)) == len(batch.failed & batch.members.keys())
            assert int(told.get("open", 0)) == len(batch.blocks)
            bits: Any = self.client.get(KEYS.batch_members(batch.bid)) or b""
            found = {
                number: (STATES[state], failed)
                for number, (state, failed) in enumerate(states_of(bits))
                if state
            }
            assert found == {n: (s, n in batch.failed) for n, s in batch.members.items()}
            assert {event for event in EVENTS if f"{event}_at" in told} == batch.fired

    @invariant()
    def each_callback_is_pushed_exactly_once(self) -> None:
        calls = {jid for batch in self.batches.values() for jid in batch.calls.values()}
        live = Counter(jid for jid in self.live() if jid in calls)
        assert not live or max(live.values()) == 1
        assert not live.keys() & self.ended
        assert live.keys() | (self.ended & calls) == self.expected

    def live(self) -> list[str]:
        """The ids of the jobs that are anywhere."""
        found: list[Any] = []
        for key in (KEYS.queue(QUEUE), KEYS.queue(CALLBACKS)):
            found += self.client.lrange(key, 0, -1)
        for key in (KEYS.schedule, KEYS.retry, KEYS.dead):
            found += self.client.zrange(key, 0, -1)
        found += self.client.hvals(KEYS.inflight(OWNER))
        for key in self.client.scan_iter(f"{KEYS.trash}:*:jobs"):
            if self.client.hget(key.decode().removesuffix(":jobs"), "went_to"):
                continue  # killed jobs: they are in the dead set, or where they went from there
            is_list = self.client.type(key) == b"list"
            found += self.client.lrange(key, 0, -1) if is_list else self.client.zrange(key, 0, -1)
        return [json.loads(raw)["jid"] for raw in found]

    @invariant()
    def a_batch_ends_with_its_last_member(self) -> None:
        for batch in self.batches.values():
            over = not batch.blocks and not batch.count("pending")
            lives = self.client.ttl(KEYS.batch(batch.bid))
            assert (lives > 0) == (over and not batch.count("dead")), batch
            assert bool(self.client.zscore(KEYS.batches_open, batch.bid)) == bool(batch.blocks)


def test_every_counter_is_right_and_every_callback_comes_once(server: EmbeddedServer) -> None:
    Batches.client = connect(server.url)
    run_state_machine_as_test(
        Batches,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
