"""The settlement: how a job that did not succeed ends in Redis."""

from __future__ import annotations

from typing import NamedTuple

from jobd.store.inflight import Claimed


class Settlement(NamedTuple):
    """A packed script call that moves *job* out of flight, for the fetcher to send.

    *outcome* is its name in logs: ``retry``, ``dead`` or ``discarded``.
    """

    job: Claimed
    call: bytes
    outcome: str
