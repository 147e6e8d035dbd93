"""What ``/api/v1`` and ``jobctl --json`` return of batches; as in :mod:`jobd.api.shapes`."""

from __future__ import annotations

from typing import Self

import msgspec
from msgspec import Struct

from jobd.features.batches.record import BatchStatus


class BatchSummary(Struct, kw_only=True, frozen=True):
    """A batch; the time of what has not happened is null."""

    bid: str
    description: str
    tags: list[str]
    state: str
    total: int
    pending: int
    done: int
    failed: int
    dead: int
    expired: int
    cancelled: int
    unconfirmed: int
    open: int
    strict: bool
    parent: str
    progress: float
    created_at: float
    pushed_at: float | None
    complete_at: float | None
    death_at: float | None
    success_at: float | None
    ended_at: float | None
    cancelled_at: float | None
    abandoned_at: float | None

    @classmethod
    def of(cls, one: BatchStatus, **more: float | None) -> Self:
        """The record of a batch; *more* are the fields that a subclass adds."""
        own = {name: getattr(one, name) for name in BatchSummary.__struct_fields__}
        return msgspec.convert({**own, **more}, cls)
