"""``jobd.Batch``: jobs that are pushed together, and callbacks for when they have ended."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self, cast

import redis

from jobd.errors import (
    ArgumentError,
    BatchFinished,
    JobNotFoundError,
    ResultTimeoutError,
    UnavailableError,
)
from jobd.features.batches.block import Block
from jobd.features.batches.callback import AnyJob, Capture, ready
from jobd.features.batches.record import BatchStatus, status_of
from jobd.features.results.waiting import awaited, waited
from jobd.jobs.app import default
from jobd.jobs.client import Client
from jobd.jobs.membership import membership
from jobd.jobs.transports import collection
from jobd.store.keys import Keys
from jobd.store.trouble import reason, where
from jobd.wire.batches import Event, is_bid, new_bid

_log = logging.getLogger("jobd.batches")

MOST_CALLBACKS = 100
"""Callbacks that one block adds: the script that ends a batch pushes them all at once."""


class Batch:
    """Jobs that are pushed together, and callbacks for when they have ended.

    What is pushed in its ``with`` block (or ``async with``) are its members: each gets an id made
    from that of the batch. They are sent a thousand at a time, each time in one step; no callback
    is pushed before the block has ended. If the block raises, what has not been sent is not.

    Args:
        description: for people.
        tags: likewise.
        strict: members that expire, or are cancelled or deleted, count as dead, so that the batch
            does not succeed.
        callback_queue: of all callbacks, in place of their own.
        client: where to push; by default where the default application does.

    Attributes:
        bid: its id.

    Example:
        >>> with Batch(description="Invoices of May") as batch:  # doctest: +SKIP
        ...     batch.on_success(send_report, 5)
        ...     for number in numbers:
        ...         create_invoice.perform_async(number)
        >>> batch.wait(timeout=60).done  # doctest: +SKIP
        1200
    """

    def __init__(
        self,
        description: str = "",
        tags: Sequence[str] = (),
        *,
        strict: bool = False,
        callback_queue: str | None = None,
        client: Client | None = None,
    ) -> None:
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in tags):
            raise ArgumentError(f"the tags of a batch must be a list of strings, not {tags!r}")
        self._client = default.client if client is None else client
        self._keys = Keys(self._client.prefix)
        self._queue = callback_queue
        self._fields: list[tuple[str, str]] | None = [
            ("description", str(description)),
            ("tags", json.dumps(list(tags), ensure_ascii=False)),
            *([("strict", "1")] if strict else []),
        ]
        self.bid = new_bid()
        self._block: Block | None = None
        self._parent: Block | None = None
        self._inside: AbstractContextManager[None] | None = None
        self._events: list[tuple[Event, AnyJob, tuple[object, ...], dict[str, object]]] = []
        self._callbacks = 0

    @classmethod
    def open(
        cls, bid: str | None, *, callback_queue: str | None = None, client: Client | None = None
    ) -> Self:
        """A batch that is there already: its status; and with a block, to add to it. That is
        possible until it has succeeded, from its members, from callbacks of ``complete`` and
        ``death``, and from where another block of it is open.

        Raises:
            ArgumentError: *bid* is not the id of a batch.

        Example:
            >>> with Batch.open(current_job().bid):  # doctest: +SKIP
            ...     create_page.perform_async(2)
        """
        if bid is None:
            raise ArgumentError("there is no id of a batch: this job was pushed outside of one")
        if not isinstance(bid, str) or not is_bid(bid):
            raise ArgumentError(f"the id of a batch has 16 hexadecimal digits; {bid!r} is none")
        made = cls(callback_queue=callback_queue, client=client)
        made.bid, made._fields = bid, None
        return made

    def __repr__(self) -> str:
        return f"<Batch {self.bid}>"

    # -- the block -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        block = self._made()
        if self._fields is None:
            block.begin()
        self._entered(block)
        return self

    async def __aenter__(self) -> Self:
        await membership.aroom()  # for its number in the batch around it
        block = self._made()
        if self._fields is None:
            await block.abegin()
        self._entered(block)
        return self

    def _made(self) -> Block:
        if self._block is not None:
            raise ArgumentError(f"batch {self.bid} has had its block; use Batch.open(bid) for more")
        outer = membership.enclosing
        parent = None
        if self._fields is not None and isinstance(outer, Block):
            outer.admit(self._client)
            parent = (outer, outer.number())
            self._parent = outer
        return Block(self._client, self.bid, self._fields, parent)

    def _entered(self, block: Block) -> None:
        self._block = block
        events, self._events = self._events, []
        for event, job, args, kwargs in events:
            self._add_callback(block, event, job, args, kwargs)
        self._inside = membership.inside(block)
        self._inside.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if (block := self._left(kind)) is not None:
            block.flush(closes=True)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if (block := self._left(kind)) is not None:
            await block.aflush(closes=True)

    def _left(self, kind: type[BaseException] | None) -> Block | None:
        """The block, if it is to be ended."""
        assert self._inside is not None
        self._inside.__exit__(None, None, None)
        self._inside = None
        block = self._block
        if block is not None:
            block.leave()
        if kind is None or block is None:
            return block
        if block.registered:
            _log.warning(
                "the block of batch %s has raised %s after a part of its jobs was sent: it stays "
                "open, and no callback is pushed, until it is closed or cancelled",
                self.bid,
                kind.__name__,
            )
        return None

    @property
    def refused(self) -> list[str]:
        """Ids of jobs of the block that a lock has kept out, as far as it has been sent: they are
        no members. Nor are those that client middleware has stopped."""
        return [] if self._block is None else list(self._block.refused)

    # -- callbacks -----------------------------------------------------------------------------

    def on_success(self, job: AnyJob, /, *args: object, **kwargs: object) -> None:
        """Push *job* once all members are done or have been dropped; never, as long as one is
        dead.

        Raises:
            ArgumentError: it is no job, the arguments do not fit, or it cannot be a callback.
            BatchFinished: the block has ended.
        """
        self._on("success", job, args, kwargs)

    def on_complete(self, job: AnyJob, /, *args: object, **kwargs: object) -> None:
        """Push *job* once each member has ended or failed for the first time; see
        :meth:`on_success`."""
        self._on("complete", job, args, kwargs)

    def on_death(self, job: AnyJob, /, *args: object, **kwargs: object) -> None:
        """Push *job* once a member has died or was discarded; see :meth:`on_success`."""
        self._on("death", job, args, kwargs)

    def _on(
        self, event: Event, job: AnyJob, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> None:
        self._callbacks += 1
        if self._callbacks > MOST_CALLBACKS:
            raise ArgumentError(f"a block adds at most {MOST_CALLBACKS} callbacks to its batch")
        if self._block is None:
            self._events.append((event, job, args, kwargs))
            return
        if self._inside is None:
            raise BatchFinished(f"the block of batch {self.bid} has ended; open it again")
        self._add_callback(self._block, event, job, args, kwargs)

    def _add_callback(
        self,
        block: Block,
        event: Event,
        job: AnyJob,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> None:
        number = block.number()
        parent = None
        if self._parent is not None and event == "success":
            # The batch around this one waits for it.
            parent = (self._parent.bid, self._parent.number())
        capture = Capture(self._client, self.bid, event, number, parent, self._queue)
        block.callback(f"{event}:{number}", ready(self._client, capture, job, args, kwargs))

    # -- what becomes of it --------------------------------------------------------------------

    @property
    def status(self) -> BatchStatus:
        """How far it has come. One command, whatever its size.

        Raises:
            JobNotFoundError: it is not there: it was never pushed, or it ended a day ago.
            UnavailableError: Redis does not answer.
        """
        found = status_of(self.bid, self._record())
        if found is None:
            raise JobNotFoundError(
                f"there is no batch {self.bid}: it was not pushed, was deleted, or ended more than "
                "a day ago"
            )
        return found

    def _record(self) -> Mapping[bytes, bytes]:
        if (known := collection()) is not None:
            return known.batch(self._client, self.bid)
        try:
            found = self._client.redis.hgetall(self._keys.batch(self.bid))
        except redis.RedisError as error:
            place = where(self._client.redis)
            raise UnavailableError(
                f"Redis at {place} does not tell of a batch: {reason(error)}"
            ) from None
        return cast("dict[bytes, bytes]", found)

    def wait(self, timeout: float | None = None) -> BatchStatus:
        """Wait until nothing of it is pending; returns its status.

        Args:
            timeout: most seconds to wait; None to wait for ever.

        Raises:
            ResultTimeoutError: it has not ended in time.
            JobNotFoundError, UnavailableError: see :attr:`status`.
        """
        found = waited(self._client, self._keys.batch(self.bid), self._ended, timeout)
        return self._in_time(found, timeout)

    async def await_ended(self, timeout: float | None = None) -> BatchStatus:
        """:meth:`wait` for coroutines; ``await batch`` is the same without a timeout."""
        found = await awaited(self._client, self._keys.batch(self.bid), self._ended, timeout)
        return await asyncio.to_thread(self._in_time, found, timeout)

    def __await__(self) -> Generator[object, None, BatchStatus]:
        return self.await_ended().__await__()

    def _ended(self) -> BatchStatus | None:
        return status if (status := self.status).ended else None

    def _in_time(self, found: BatchStatus | None, timeout: float | None) -> BatchStatus:
        if found is None:
            status = self.status
            raise ResultTimeoutError(
                f"batch {self.bid} has not ended within {timeout:g} s: "
                f"{status.pending:,} of {status.total:,} jobs are pending"
            )
        return found
