"""The settlement: how a job ends in Redis that does not simply succeed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from jobd.store.inflight import Claimed, End


class Outcome(StrEnum):
    """Its name in logs."""

    DONE = "done"
    DUPLICATE = "duplicate"
    RETRY = "retry"
    DEAD = "dead"
    DISCARDED = "discarded"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SNOOZED = "snoozed"
    ASIDE = "aside"
    POSTPONED = "postponed"

    @property
    def executed(self) -> bool:
        """Whether an execution has ended in failure, which is counted."""
        return self in (Outcome.RETRY, Outcome.DEAD, Outcome.DISCARDED)


class Settlement(msgspec.Struct, frozen=True, gc=False):
    """How *job* ends: by a packed script call that moves it out of flight, for the fetcher to send.

    Where *call* is empty, it is ended together with others that end in the same way.

    Attributes:
        detail: of its result (JSON), if that is kept.
    """

    job: Claimed
    call: bytes
    outcome: Outcome
    detail: bytes = b""


TOGETHER: Mapping[Outcome, End] = {
    Outcome.DONE: "done",
    Outcome.EXPIRED: "expired",
    Outcome.DUPLICATE: "duplicate",
    Outcome.CANCELLED: "cancelled",
}
"""The outcomes that end together, and how."""
