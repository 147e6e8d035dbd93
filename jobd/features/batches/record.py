"""The record of a batch in Redis, as ``lua/batches.lua`` writes it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from jobd.wire.json_value import UNREADABLE


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """How far a batch has come.

    Attributes:
        bid: its id.
        total: how many members it has had; jobs that were refused are none.
        pending: members that wait or run, retries included.
        done, dead: those that have succeeded, and those that have died or were discarded.
        expired, cancelled: members that were dropped: too late to start; cancelled or deleted.
        unconfirmed: members that were found nowhere: a program that knows no batches has run or
            deleted them.
        failed: how many members have failed at least once.
        open: how many blocks add to it at the moment.
        strict: whether dropped members count as dead.
        parent: the id of the batch around it; "" if there is none.
        created_at, pushed_at: seconds since 1970, in the time of the server, here and below.
        success_at, complete_at, death_at: when each event was; None before.
        ended_at: when it last had no pending members; None while it has.
        abandoned_at: since when its producer has been taken for dead: a block is open that has
            pushed nothing for an hour.
    """

    bid: str
    description: str
    tags: tuple[str, ...]
    total: int
    pending: int
    done: int
    dead: int
    expired: int
    cancelled: int
    unconfirmed: int
    failed: int
    open: int
    strict: bool
    parent: str
    created_at: float
    pushed_at: float | None
    success_at: float | None
    complete_at: float | None
    death_at: float | None
    ended_at: float | None
    cancelled_at: float | None
    abandoned_at: float | None

    @property
    def dropped(self) -> int:
        """Members that have ended without being run to their end."""
        return self.expired + self.cancelled + self.unconfirmed

    @property
    def progress(self) -> float:
        """The share of its members that have ended, from 0 to 1; 1 for none."""
        return 1.0 - self.pending / self.total if self.total else 1.0

    @property
    def ended(self) -> bool:
        """Whether nothing is pending, and nobody adds to it."""
        return self.ended_at is not None

    @property
    def state(self) -> str:
        """``abandoned``, ``open``, ``running``, ``cancelled``, ``succeeded`` or ``failed``."""
        if self.abandoned_at is not None:
            return "abandoned"
        if self.open:
            return "open"
        if not self.ended:
            return "running"
        if self.cancelled_at is not None:
            return "cancelled"
        return "succeeded" if self.success_at is not None else "failed"


def status_of(bid: str, fields: Mapping[bytes, bytes]) -> BatchStatus | None:
    """What the *fields* of a record say; None if there is no such batch.

    >>> status_of("00c0ffee00c0ffee", {b"total": b"4", b"pending": b"1"}).progress
    0.75
    """
    if b"total" not in fields:
        return None

    def number(name: bytes) -> int:
        with suppress(ValueError):
            return int(fields.get(name, b"0"))
        return 0

    def time(name: bytes) -> float | None:
        with suppress(ValueError):
            value = float(fields[name]) if name in fields else math.nan
            return value if math.isfinite(value) else None
        return None

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    return BatchStatus(
        bid,
        text(b"description"),
        _tags(fields.get(b"tags", b"[]")),
        number(b"total"),
        number(b"pending"),
        number(b"done"),
        number(b"dead"),
        number(b"expired"),
        number(b"cancelled"),
        number(b"unconfirmed"),
        number(b"failed"),
        number(b"open"),
        b"strict" in fields,
        text(b"parent").partition(" ")[0],
        time(b"created_at") or 0.0,
        time(b"pushed_at"),
        time(b"success_at"),
        time(b"complete_at"),
        time(b"death_at"),
        time(b"ended_at"),
        time(b"cancelled_at"),
        time(b"abandoned_at"),
    )


def _tags(raw: bytes) -> tuple[str, ...]:
    with suppress(*UNREADABLE):
        found = json.loads(raw)
        if isinstance(found, list):
            return tuple(each for each in found if isinstance(each, str))
    return ()
