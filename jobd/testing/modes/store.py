"""What is pushed in a test mode, in the memory of the process, as an empty Redis would keep it.

Nothing takes jobs away on its own, as with a Redis whose workers are stopped. Locks of unique jobs
follow the rules of ``store/lua/push.lua``; whoever runs a job says when it begins and ends.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobd.graphs.plan import Plan
from jobd.jobs.app import default
from jobd.jobs.inline import Application
from jobd.jobs.transports import Source
from jobd.store.conflict import Conflict
from jobd.testing.modes.batches import Batches, MemberState, Place
from jobd.testing.modes.pushed import PushedJob
from jobd.testing.modes.workflows import Filler, Flow
from jobd.wire.attachments import AttachedPush, Lock, Node
from jobd.wire.batches import Portion
from jobd.wire.transitions import with_enqueued

if TYPE_CHECKING:
    from jobd.store.batches import Added

Key = tuple[Place, str]
"""Which Redis, and the key of the lock there."""


@dataclass(slots=True)
class _Held:
    """A lock.

    Attributes:
        jid: of the job that holds it.
        since: when it was taken (seconds since 1970).
        until: when it ends in any case.
        first: when the first of the pushes came of which this one is the last.
        again: the job that runs when the holder has ended.
    """

    jid: str
    lock: Lock
    since: float
    until: float | None
    first: float
    again: PushedJob | None = None


class Store:
    """Jobs that were pushed. Thread-safe.

    Attributes:
        pushed: all of them, in their order, but those whose place another one has taken.
        waiting: those that have not begun.
    """

    def __init__(self) -> None:
        self.pushed: list[PushedJob] = []
        self.waiting: list[PushedJob] = []
        self._locks: dict[Key, _Held] = {}
        self._flows: dict[tuple[Place, str], Flow] = {}
        self._batches = Batches()
        self._guard = threading.RLock()

    def add(self, jobs: list[PushedJob]) -> None:
        with self._guard:
            self.pushed += jobs
            self.waiting += jobs
            for job in jobs:
                self._batches.join(job)

    def take(self, wanted: Callable[[PushedJob], bool], scheduled: bool) -> PushedJob | None:
        """The next job that is *wanted*, which then no longer waits: the first that was pushed; if
        *scheduled*, after those for now the one that is due first."""
        with self._guard:
            found = next((job for job in self.waiting if job.at is None and wanted(job)), None)
            if found is None and scheduled:
                later = [job for job in self.waiting if job.at is not None and wanted(job)]
                found = min(later, key=lambda job: job.at or 0.0, default=None)
            if found is not None:
                self.waiting.remove(found)
            return found

    def start(self, job: PushedJob) -> bool:
        """Let *job* no longer wait; returns whether it has waited."""
        with self._guard:
            if job not in self.waiting:
                return False
            self.waiting.remove(job)
            return True

    def next_of(self, ready: deque[PushedJob]) -> PushedJob | None:
        """The next of *ready* that still waits, then the next callback of a batch; it no longer
        waits."""
        with self._guard:
            while ready:
                if self.start(job := ready.popleft()):
                    return job
            return self.take(lambda job: job.attached.callback is not None, scheduled=False)

    def clear(self) -> None:
        with self._guard:
            self.pushed.clear()
            self.waiting.clear()
            self._locks.clear()
            self._flows.clear()
            self._batches.clear()

    # -- workflows -------------------------------------------------------------------------------

    def begin_flow(self, plan: Plan, client: Source) -> list[PushedJob]:
        """Store a workflow; returns its first jobs, none if there is one with its id."""
        with self._guard:
            key = ((client.url, client.prefix), plan.id)
            if key in self._flows:
                return []
            flow = self._flows[key] = Flow.of(plan)
            return self._begun(flow, flow.begin(), client.app or default, key[0])

    def filler(self, job: PushedJob) -> Filler | None:
        """What puts the results of other steps into the arguments of *job*."""
        flow, node = self._flow(job)
        return None if flow is None else flow.filler(node)

    def ended(
        self, job: PushedJob, result: object, error: BaseException | None, *, expired: bool
    ) -> list[PushedJob]:
        """*job* has returned *result*, or raised *error*; returns the steps that may begin now.

        Raises:
            ArgumentError: other steps take its result, and JSON cannot carry it.
        """
        self._end_member(job, "expired" if expired else "done" if error is None else "dead")
        flow, node = self._flow(job)
        if flow is None:
            return []
        with self._guard:
            if error is None and not expired:
                ready = flow.done(node, result)
            else:
                ready = flow.failed(node, job.jid, "expired" if expired else "failed", error)
            return self._begun(flow, ready, job.app, job.place)

    def goes_on(self, job: PushedJob) -> bool:
        """Whether the failure of *job* lets its workflow go on."""
        flow, node = self._flow(job)
        return flow is not None and flow.goes_on(node)

    def keep_after_failure(self, ready: deque[PushedJob], failed: PushedJob) -> None:
        """Leave in *ready* what runs although *failed* has failed: other steps of its workflow, and
        other members of its batch."""
        node = failed.attached.node
        if node is None and failed.attached.batch is None:
            ready.clear()
        if node is not None:
            with self._guard:
                left = ((one, one.attached.node) for one in self.waiting)
                ready.extend(
                    one for one, at in left if at is not None and at.workflow == node.workflow
                )

    def _flow(self, job: PushedJob) -> tuple[Flow | None, Node]:
        node = job.attached.node or Node("", 0)
        return self._flows.get((job.place, node.workflow)), node

    def _begun(
        self, flow: Flow, numbers: list[int], app: Application, place: Place
    ) -> list[PushedJob]:
        now, jobs = time.time(), []
        for number in numbers:
            ready = flow.plan.steps[number].job
            if ready is not None:
                raw = with_enqueued(ready.raw, now)[1]
                jobs.append(PushedJob.of(raw, None, app, place))
        self.add(jobs)
        return jobs

    # -- batches ---------------------------------------------------------------------------------

    def gather(self, portion: Portion, client: Source, now: float) -> tuple[Added, list[PushedJob]]:
        """Add to a batch; returns what that has brought about, and the jobs of the block if this
        was its end."""
        from jobd.store.batches import Added  # not needed by tests without any

        with self._guard:
            app, place = client.app or default, (client.url, client.prefix)
            batch, refusal = self._batches.begin(portion, app, place, now)
            if refusal:
                return Added(refusal, -1, []), []
            pushed = batch.blocks.setdefault(portion.block, [])
            batch.callbacks.update(portion.callbacks)
            queued = (with_enqueued(raw, now)[1] for run in portion.queued for raw in run.raws)
            jobs = [_job(client, raw, None) for raw in queued]
            jobs += [_job(client, one.raw, one.at) for one in portion.scheduled]
            self.add(jobs)
            stored = [self.attach(push, client, now) for push in portion.attached]
            if jobs or stored or portion.callbacks:
                batch.times["pushed_at"] = now
            reserved, batch.next = batch.next, batch.next + portion.reserve
            pushed += jobs
            pushed += [job for job, _ in stored if job is not None]
            if portion.closes:
                del batch.blocks[portion.block]
            self._push_callbacks(self._batches.settle(batch, now))
            added = Added("ok", reserved, [conflict for _, conflict in stored])
            return added, pushed if portion.closes else []

    def batch(self, place: Place, bid: str) -> Mapping[bytes, bytes]:
        """The record of a batch; empty if there is none."""
        with self._guard:
            found = self._batches.get(place, bid)
            return {} if found is None else found.record()

    def _end_member(self, job: PushedJob, state: MemberState) -> None:
        with self._guard:
            self._push_callbacks(self._batches.end(job, state, time.time()))

    def _push_callbacks(self, jobs: list[PushedJob]) -> None:
        """Callbacks are the next to run."""
        self.pushed += jobs
        self.waiting[:0] = reversed(jobs)

    # -- unique jobs -----------------------------------------------------------------------------

    def attach(
        self, push: AttachedPush, client: Source, now: float
    ) -> tuple[PushedJob | None, Conflict | None]:
        """Store a job with attachments.

        Returns:
            The job, if it may begin now or when it is due; and the one that has kept it out.
        """
        with self._guard:
            at, lock = push.pushed.at, push.pushed.lock
            if lock is None:
                job = _attached(client, push, at, now)
                self.add([job])
                return job, None
            key = ((client.url, client.prefix), lock.key)
            held = self._holding(key, now)
            if held is not None and push.jid in (held.jid, held.again and held.again.jid):
                return None, None  # it has been stored before
            first = now
            if held is not None:
                before = self._scheduled(held) if push.pushed.on_conflict == "replace" else None
                if before is None:
                    return self._kept_out(push, client, held, now)
                self._forget(before)
                first = held.first
            if at is not None and push.pushed.max_wait is not None:
                at = min(at, first + push.pushed.max_wait)
            job = _attached(client, push, at, now)
            self.add([job])
            until = None if lock.seconds is None else max(now, at or 0.0) + lock.seconds
            self._locks[key] = _Held(push.jid, lock, now, until, first)
            return job, None

    def holder(self, key: Key) -> str | None:
        with self._guard:
            held = self._holding(key, time.time())
            return None if held is None else held.jid

    def begin(self, job: PushedJob) -> None:
        """*job* begins: a lock that is held until then is free."""
        if job.attached.lock is not None and job.attached.lock.until in ("start", "due"):
            self._release(job, job.attached.lock)

    def end(self, job: PushedJob) -> PushedJob | None:
        """*job* has ended, however; returns the one that has waited for that, which waits no
        longer in vain."""
        if job.attached.lock is None or job.attached.lock.until == "expiry":
            return None
        again = self._release(job, job.attached.lock)
        if again is None or again.attached.lock is None:
            return None
        with self._guard:
            now, lock = time.time(), again.attached.lock
            until = None if lock.seconds is None else max(now, again.at or 0.0) + lock.seconds
            self._locks[again.place, lock.key] = _Held(again.jid, lock, now, until, now)
            self.waiting.append(again)
        return again

    def _release(self, job: PushedJob, lock: Lock) -> PushedJob | None:
        with self._guard:
            held = self._locks.get((job.place, lock.key))
            if held is None or held.jid != job.jid:
                return None
            del self._locks[job.place, lock.key]
            return held.again

    def _kept_out(
        self, push: AttachedPush, client: Source, held: _Held, now: float
    ) -> tuple[None, Conflict | None]:
        if push.pushed.on_conflict != "again" or held.lock.until == "expiry":
            return None, Conflict(held.jid, now - held.since)
        if held.again is not None:
            self._forget(held.again)  # it has waited itself; the newest arguments count
        held.again = _job(client, push.raw, push.pushed.at)
        held.until = None
        self.pushed.append(held.again)
        self._batches.join(held.again)
        return None, None

    def _holding(self, key: Key, now: float) -> _Held | None:
        held = self._locks.get(key)
        if held is not None and held.until is not None and held.until <= now:
            del self._locks[key]
            return None
        return held

    def _scheduled(self, held: _Held) -> PushedJob | None:
        """The job that holds a lock, if it waits for its time."""
        waiting = (job for job in self.waiting if job.jid == held.jid and job.at is not None)
        return next(waiting, None)

    def _forget(self, job: PushedJob) -> None:
        """Another one takes the place of *job*."""
        self._end_member(job, "cancelled")
        for jobs in (self.pushed, self.waiting):
            if job in jobs:
                jobs.remove(job)


class Collecting:
    """The transport of one client into a store."""

    def __init__(self, store: Store, client: Source) -> None:
        self._store = store
        self._client = client

    def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self.queued(queues)

    def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self.scheduled(due)

    def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        return [self._store.attach(job, self._client, now)[1] for job in jobs]

    def start(self, plan: Plan) -> None:
        self._store.begin_flow(plan, self._client)

    def add(self, portion: Portion, now: float) -> Added:
        return self._store.gather(portion, self._client, now)[0]

    def holder(self, key: str) -> str | None:
        return self._store.holder(((self._client.url, self._client.prefix), key))

    def queued(self, queues: Mapping[str, list[bytes]]) -> list[PushedJob]:
        raws = (raw for payloads in queues.values() for raw in payloads)
        return self._added([_job(self._client, raw, None) for raw in raws])

    def scheduled(self, due: list[tuple[float, bytes]]) -> list[PushedJob]:
        return self._added([_job(self._client, raw, at) for at, raw in due])

    def _added(self, jobs: list[PushedJob]) -> list[PushedJob]:
        self._store.add(jobs)
        return jobs


class ACollecting:
    """The same for pushes from coroutines."""

    def __init__(self, store: Store, client: Source) -> None:
        self._collecting = Collecting(store, client)

    async def enqueue(self, queues: Mapping[str, list[bytes]]) -> None:
        self._collecting.enqueue(queues)

    async def schedule(self, due: list[tuple[float, bytes]]) -> None:
        self._collecting.schedule(due)

    async def push(self, jobs: Sequence[AttachedPush], now: float) -> list[Conflict | None]:
        return self._collecting.push(jobs, now)

    async def start(self, plan: Plan) -> None:
        self._collecting.start(plan)

    async def add(self, portion: Portion, now: float) -> Added:
        return self._collecting.add(portion, now)


def _job(client: Source, raw: bytes, at: float | None) -> PushedJob:
    return PushedJob.of(raw, at, client.app or default, (client.url, client.prefix))


def _attached(client: Source, push: AttachedPush, at: float | None, now: float) -> PushedJob:
    raw = with_enqueued(push.raw, now)[1] if at is None else push.raw
    return _job(client, raw, at)


def enqueued(job: PushedJob) -> bytes:
    """The payload of a job that is due now."""
    return with_enqueued(job.raw, time.time())[1]
