"""Batches: how far each is and how fast, what one is made of; cancel, close and delete."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from jobd.api.features import batch_parts
from jobd.api.features.batch_actions import BATCH_ACTIONS
from jobd.api.features.batch_shapes import BatchSummary
from jobd.api.search.scans import end_of
from jobd.errors import JobNotFoundError
from jobd.features.batches.record import BatchStatus
from jobd.web.http_errors import NotFound
from jobd.web.v1.operations import Body, Call, Query, Table
from jobd.web.v1.reading import Many, Resumed, Start

Bid = Annotated[str, Meta(pattern="^[0-9a-f]{16}(?![\\s\\S])", description="Id of the batch.")]

FAILED = 100
"""Members that have failed which one answer names."""

CANCELLING = 10.0
"""Seconds that one call goes on cancelling; another one with its cursor cancels the rest."""


class Batch(BatchSummary, kw_only=True, frozen=True):
    """A batch; *rate* in jobs a second and *left* in seconds are null where they are not known, and
    so is the time of what has not happened."""

    rate: float | None
    left: float | None


class BatchDetail(Batch, kw_only=True, frozen=True):
    """The same with its callbacks, the first 100 members that have failed, and the batches inside
    it; ``all_inside`` is false where there may be more of these than were looked at."""

    callbacks: list[batch_parts.BatchCallback]
    failures: list[batch_parts.BatchFailure]
    inside: list[Batch]
    all_inside: bool


class BatchPage(Query, frozen=True):
    start: Start = 0
    count: Many = 25


class OfBatch(Query, frozen=True):
    bid: Bid


class OnBatch(Body, frozen=True):
    bid: Bid


class CancelBatch(OnBatch, frozen=True):
    cursor: Resumed = ""


class BatchChanged(Struct, frozen=True):
    """How many blocks were closed; 1 for a batch that is deleted."""

    changed: int


class BatchCancelled(Struct, frozen=True):
    """How many jobs were taken out or told; where not all were looked at, the same call with its
    cursor goes on."""

    changed: int
    done: bool
    cursor: str


OPERATIONS = Table()


@OPERATIONS.add("GET", "/batches", "Batches, the newest first.")
def batches(call: Call, query: BatchPage) -> list[Batch]:
    return _shown(call, call.api.batches.newest(query.count, query.start))


@OPERATIONS.add("GET", "/batches/{bid}", "One batch, with what it is made of.")
def batch(call: Call, query: OfBatch) -> BatchDetail:
    try:
        one = call.api.batches.get(query.bid)
    except JobNotFoundError:
        raise _gone() from None
    parts = batch_parts.parts(call.api, one, FAILED)
    return BatchDetail(
        **msgspec.structs.asdict(_shown(call, [one])[0]),
        callbacks=parts.callbacks,
        failures=parts.failures,
        inside=_shown(call, parts.inside),
        all_inside=parts.all_inside,
    )


@OPERATIONS.act("POST", "/batches/cancel", BATCH_ACTIONS["cancel"], finds=True)
def cancel_batch(call: Call, body: CancelBatch) -> BatchCancelled:
    try:
        found = call.api.batches.cancelling(body.bid, body.cursor).until(end_of(CANCELLING))
    except JobNotFoundError:
        raise _gone() from None
    return BatchCancelled(found.cancelled + found.cancelling, found.done, found.cursor)


@OPERATIONS.act("POST", "/batches/close", BATCH_ACTIONS["close"], finds=True)
def close_batch(call: Call, body: OnBatch) -> BatchChanged:
    return _act(call, "close", body.bid)


@OPERATIONS.act("DELETE", "/batches/{bid}", BATCH_ACTIONS["delete"])
def delete_batch(call: Call, query: OfBatch) -> BatchChanged:
    return _act(call, "delete", query.bid)


def _act(call: Call, name: str, bid: str) -> BatchChanged:
    try:
        changed = BATCH_ACTIONS[name].do(call.api.batches, bid)
    except JobNotFoundError:
        raise _gone() from None
    if name == "delete" and not changed:
        raise _gone()
    return BatchChanged(changed)


def _gone() -> NotFound:
    return NotFound("there is no such batch")


def _shown(call: Call, found: list[BatchStatus]) -> list[Batch]:
    paces = call.state.batch_rates.look(found)
    return [Batch.of(each, rate=paces[each.bid].rate, left=paces[each.bid].left) for each in found]
