"""The settlement: how a job that did not succeed ends in Redis."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from jobd.store.inflight import Claimed


class Outcome(StrEnum):
    """Its name in logs."""

    RETRY = "retry"
    DEAD = "dead"
    DISCARDED = "discarded"
    EXPIRED = "expired"
    SNOOZED = "snoozed"
    ASIDE = "aside"

    @property
    def executed(self) -> bool:
        """Whether an execution has ended in failure, which is counted."""
        return self in (Outcome.RETRY, Outcome.DEAD, Outcome.DISCARDED)


class Settlement(NamedTuple):
    """How *job* ends: by a packed script call that moves it out of flight, for the fetcher to send.

    Of those that have expired, *call* is empty: they are ended together.
    """

    job: Claimed
    call: bytes
    outcome: Outcome
