"""What a block adds to its batch: held until a thousand jobs, or a megabyte, travel in one step.

The first step registers the batch, so that nothing of it can end before it is known; the last one
ends the block. While a block is open no callback is pushed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, cast

from jobd.ambient import chance, clock
from jobd.errors import ArgumentError, BatchFinished
from jobd.features.batches.held import AsyncHeld, Held
from jobd.features.batches.numbers import AHEAD, Numbers
from jobd.features.batches.turns import Turns
from jobd.jobs.bulk import BATCH, BATCH_BYTES
from jobd.jobs.client import Client
from jobd.jobs.refusals import told_later
from jobd.jobs.transports import outside
from jobd.wire import attachments
from jobd.wire.attachments import AttachedPush
from jobd.wire.batches import Portion, Queued, Scheduled, member_jid
from jobd.wire.payload import Payload
from jobd.wire.transitions import up_to_enqueued

if TYPE_CHECKING:
    from jobd.jobs.transports import Adding, AsyncAdding, AsyncTransport, Source, Transport
    from jobd.store.batches import Added

FEW = 16
"""Numbers reserved for a block that begins in a batch that is there already; twice as many each
time that they do not suffice."""


class Block:
    """One block; the transport of what is pushed in it, by all threads and tasks that have begun
    in it.

    Args:
        bid: id of the batch.
        fields: of a new batch; None to open one that is there.
        parent: the block around it, and the number of the new batch there.

    Attributes:
        refused: ids of jobs that a lock has kept out.
        over: whether it has been left; tasks that have begun in it may go on.
    """

    def __init__(
        self,
        client: Client,
        bid: str,
        fields: Sequence[tuple[str, str]] | None,
        parent: tuple[Block, int] | None = None,
    ) -> None:
        # Without what holds pushes back: a batch is sent by its own rules.
        self._client = client.through(None)
        self._admitted: Source | None = None
        self.bid = bid
        self._id = chance.token(6)
        self._fields = fields
        self._parent = parent
        self._numbers = Numbers(alone=fields is not None)
        self._few = FEW
        self._calls = 0
        self._marker = f'"batch":["{bid}",'.encode()
        self._failed = ""
        self.refused: list[str] = []
        self.over = False
        self._turns = Turns()  # to send
        self._lock = threading.RLock()  # of what is in memory; nothing is sent meanwhile
        self._forget()

    def _forget(self) -> None:
        self._callbacks: list[tuple[str, bytes]] = []
        self._queued: list[Queued] = []
        self._scheduled: list[Scheduled] = []
        self._attached: list[AttachedPush] = []
        self._held = 0
        self._room = BATCH_BYTES

    # -- membership ----------------------------------------------------------------------------

    def admit(self, client: Source) -> None:
        if client is self._admitted:
            return
        if (client.url, client.prefix) != (self._client.url, self._client.prefix):
            raise ArgumentError(
                f"batch {self.bid} is in another Redis than this job; create it with the client of "
                "the job's application: Batch(client=app.client)"
            )
        self._admitted = client

    def join(self, made: Payload) -> None:
        number = self.number()
        made["jid"] = member_jid(self.bid, number)
        if attachments.FIELD in made:
            attachments.add(made, batch=(self.bid, number))
        else:
            made[attachments.FIELD] = {"v": attachments.VERSION, "batch": (self.bid, number)}

    def number(self) -> int:
        """The number of another member.

        Raises:
            BatchFinished: a step has failed.
        """
        self._refuse_more()
        while (number := self._taken()) is None:
            # Also in a coroutine, which this stops for one round trip: a job is given its number
            # and id where nothing can be awaited. So coroutines see to it before, by aroom().
            with self._turns.one():
                if self._numbers.dry:
                    self._send(self._portion(reserve=self._few))
                    self._few *= 2
        return number

    def _taken(self) -> int | None:
        with self._lock:
            return self._numbers.take()

    async def aroom(self) -> None:
        """Wait until there is a number for another member, and what it holds is not full."""
        while not self._failed and (self.full or self._numbers.dry):
            async with self._turns.aone():
                if self._numbers.dry:
                    await self._asend(self._portion(reserve=self._few))
                    self._few *= 2
                elif self.full:
                    await self._aflush()

    def callback(self, name: str, raw: bytes) -> None:
        """Hold a callback: ``event:number`` and its payload."""
        with self._lock:
            self._callbacks.append((name, raw))
            self._room -= len(raw)

    # -- pushes --------------------------------------------------------------------------------

    def transport(self, inner: Transport) -> Transport:
        return inner if self.over else Held(self, inner)

    def atransport(self, inner: AsyncTransport) -> AsyncTransport:
        return inner if self.over else AsyncHeld(self, inner)

    def holder(self, key: str) -> str | None:
        with outside():
            return self._client.transport.holder(key)

    # Each says whether it holds them: not once the block is over.

    def hold_queued(self, queues: Mapping[str, list[bytes]]) -> bool:
        with self._lock:
            if self.over:
                return False
            for queue, payloads in queues.items():
                first, last = self._number_of(payloads[0]), self._number_of(payloads[-1])
                if last - first == len(payloads) - 1:  # numbers are given in this order
                    self._hold(first, queue, payloads)
                    continue
                for raw in payloads:
                    self._hold(self._number_of(raw), queue, [raw])
        return True

    def _hold(self, first: int, queue: str, payloads: list[bytes]) -> None:
        if not (
            self._queued
            and (last := self._queued[-1]).queue == queue
            and last.first + len(last.heads) == first
        ):
            last = Queued(first, queue, [])
            self._queued.append(last)
        last.heads.extend(map(up_to_enqueued, payloads))
        self._held += len(payloads)
        self._room -= sum(map(len, payloads))

    def hold_scheduled(self, due: list[tuple[float, bytes]]) -> bool:
        with self._lock:
            if self.over:
                return False
            for at, raw in due:
                self._scheduled.append(Scheduled(self._number_of(raw), at, raw))
                self._room -= len(raw)
            self._held += len(due)
        return True

    def hold_attached(self, jobs: Sequence[AttachedPush]) -> bool:
        with self._lock:
            if self.over:
                return False
            self._attached += jobs
            self._held += len(jobs)
            self._room -= sum(len(job.raw) for job in jobs)
        return True

    def _number_of(self, raw: bytes) -> int:
        first = raw.rindex(self._marker) + len(self._marker)
        return int(raw[first : raw.index(b"]", first)])

    @property
    def full(self) -> bool:
        return self._held >= BATCH or self._room <= 0

    def leave(self) -> None:
        """Hold nothing more."""
        with self._lock:
            self.over = True

    # -- steps ---------------------------------------------------------------------------------

    @property
    def registered(self) -> bool:
        """Whether anything of it is in Redis."""
        return self._calls > 0

    def begin(self) -> None:
        """Open a batch that is there already."""
        self._send(self._portion(reserve=FEW))

    async def abegin(self) -> None:
        await self._asend(self._portion(reserve=FEW))

    def flush(self, *, closes: bool = False) -> None:
        """Store what is held.

        Raises:
            BatchFinished: the batch, or this block, has been ended by somebody else.
            UnavailableError: Redis did not accept it.
        """
        with self._turns.one():
            self._flush(closes=closes)

    def _flush(self, *, closes: bool = False) -> None:
        if self._parent is not None and not self.registered:
            self._parent[0].register()
        self._send(self._portion(closes=closes))

    async def aflush(self, *, closes: bool = False) -> None:
        async with self._turns.aone():
            await self._aflush(closes=closes)

    async def _aflush(self, *, closes: bool = False) -> None:
        if self._parent is not None and not self.registered:
            await self._parent[0].aregister()
        await self._asend(self._portion(closes=closes))

    def register(self) -> None:
        """Make the batch known, so that another one can be inside it."""
        with self._turns.one():
            if not self.registered:
                self._flush()

    async def aregister(self) -> None:
        async with self._turns.aone():
            if not self.registered:
                await self._aflush()

    def flush_full(self) -> None:
        # While a task sends, this stays held: that task, or the next push, sends it.
        if self.full and not self._turns.waits:
            with self._turns.one():
                if self.full:
                    self._flush()

    async def aflush_full(self) -> None:
        if self.full:
            async with self._turns.aone():
                if self.full:
                    await self._aflush()

    def _portion(self, *, closes: bool = False, reserve: int = 0) -> Portion:
        with self._lock:
            return self._cut(closes, reserve)

    def _cut(self, closes: bool, reserve: int) -> Portion:
        is_new = self._fields is not None and not self.registered
        how: Literal["new", "open", "go on"]
        how = "go on" if self.registered else "new" if is_new else "open"
        fields = list(self._fields or ()) if is_new else []
        if is_new:
            fields.append(("next", str(self._numbers.share())))
        elif not closes and not reserve and self._numbers.left < AHEAD:
            reserve = AHEAD
        self._calls += 1
        parent = self._parent if is_new else None
        portion = Portion(
            self.bid,
            self._id,
            how,
            self._calls,
            closes,
            reserve,
            None if parent is None else (parent[0].bid, parent[1]),
            fields,
            self._callbacks,
            self._queued,
            self._scheduled,
            self._attached,
        )
        self._forget()
        return portion

    def _send(self, portion: Portion) -> None:
        with outside(), self._once():
            transport = cast("Adding", self._client.transport)  # nothing is around it
            self._sent(portion, transport.add(portion, clock.now()))

    async def _asend(self, portion: Portion) -> None:
        with outside(), self._once():
            transport = cast("AsyncAdding", self._client.atransport)
            self._sent(portion, await transport.add(portion, clock.now()))

    def _refuse_more(self) -> None:
        if self._failed:
            raise BatchFinished(
                f"nothing more is added to batch {self.bid} by this block, as a part of its jobs "
                f"is lost: {self._failed}; end it, and push what is missing in another block"
            )

    @contextlib.contextmanager
    def _once(self) -> Iterator[None]:
        """A step that has failed is the last one: what it held is lost, and the batch must not
        succeed without it."""
        self._refuse_more()
        try:
            yield
        except BaseException as error:
            self._failed = str(error) or type(error).__name__
            if self._calls == 1:
                self._calls = 0
            raise

    def _sent(self, portion: Portion, added: Added) -> None:
        if added.state in ("finished", "closed"):
            if portion.closes and not _adds(portion):
                return  # somebody has ended the block before
            why = {
                "finished": "it has succeeded, been cancelled or deleted",
                "closed": "somebody has closed the block that adds to it",
            }[added.state]
            raise BatchFinished(f"nothing can be added to batch {self.bid}: {why}")
        if added.reserved >= 0:
            with self._lock:
                self._numbers.add(added.reserved, portion.reserve)
        if added.conflicts:
            told_later(portion.attached, added.conflicts)
            pairs = zip(portion.attached, added.conflicts, strict=True)
            self.refused += [job.jid for job, conflict in pairs if conflict is not None]


def _adds(portion: Portion) -> bool:
    return bool(portion.queued or portion.scheduled or portion.attached or portion.callbacks)
