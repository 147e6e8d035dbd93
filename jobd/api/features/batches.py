"""Batches for operators: listing, cancelling and closing them, and recounting their members."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from jobd.api.features.batch_parts import family, statuses
from jobd.api.features.cancellation import Cancelling, in_a_name
from jobd.api.features.lost import Lost, LostMembers
from jobd.api.records import JobRecord
from jobd.api.search.scans import end_of
from jobd.api.session import Change, Session, session_or_default
from jobd.errors import JobNotFoundError
from jobd.features.batches import batch as pushed
from jobd.features.batches.record import BatchStatus, status_of
from jobd.store import scripts
from jobd.wire.batches import STATES, states_of

MOST = 1_000
"""Numbers of members that a report names."""


@dataclass(frozen=True, slots=True)
class Recount:
    """What was wrong with a batch.

    Attributes:
        missing: numbers of pending members that are nowhere, at most a thousand.
        counters: those that differed from the members, each with what it said and what is right.
        repaired: whether that has been corrected, up to five thousand missing ones at a time.
        dead: pending members that a program which knows no batches has put into the dead set.
    """

    missing: tuple[int, ...]
    counters: dict[str, tuple[int, int]]
    repaired: bool
    dead: int = 0


class Batches:
    """The batches of one installation.

    Example:
        >>> [each.description for each in api.batches.newest(10)]  # doctest: +SKIP
        ['Invoices of May']
    """

    def __init__(self, session: Session | None = None) -> None:
        self._api = session_or_default(session)

    def __len__(self) -> int:
        return int(self._api.redis.zcard(self._api.keys.batches))

    def newest(self, count: int = 50, skip: int = 0) -> list[BatchStatus]:
        """Some of them, the newest first: O(count)."""
        keys = self._api.keys
        found = self._api.redis.zrange(keys.batches, skip, skip + count - 1, desc=True)
        bids = [bid.decode(errors="replace") for bid in cast("list[bytes]", found)]
        return statuses(self._api, bids)

    def get(self, bid: str) -> BatchStatus:
        """One of them.

        Raises:
            JobNotFoundError: it is not there.
        """
        fields = self._api.redis.hgetall(self._api.keys.batch(bid))
        found = status_of(bid, cast("dict[bytes, bytes]", fields))
        if found is None:
            raise JobNotFoundError(f"there is no batch {bid}")
        return found

    def close(self, bid: str) -> int:
        """End its open blocks, whose producers have died; returns how many there were."""
        return self._end_blocks(bid, "close")

    def cancel(self, bid: str, *, seconds: float | None = None) -> int:
        """Cancel a batch and those inside it: nothing can be added any more, members that wait are
        taken out, and the workers of those that run are told.

        Members move while they are looked for, so it goes through all places until a pass finds
        none that waits.

        Args:
            seconds: stop after about so long; :meth:`cancelling` goes on from where it has been.

        Returns:
            How many members were taken out or told.
        """
        found = self.cancelling(bid).until(end_of(seconds))
        return found.cancelled + found.cancelling

    def pending(self, bid: str) -> int:
        """How many jobs of a batch and of those inside it have not ended.

        Raises:
            JobNotFoundError: there is no such batch.
        """
        outer = self.get(bid)
        bids, found = set[str](), {bid}
        while bids != found:
            bids, found = found, family(self._api, found, outer.created_at)
        inner = statuses(self._api, bids - {bid})
        # One inside another one is a pending member there, but no job.
        members = sum(
            one.success_at is None and not one.dead and not (one.strict and one.dropped)
            for one in inner
        )
        return outer.pending + sum(one.pending for one in inner) - members

    def cancelling(self, bid: str, cursor: str = "") -> Cancelling:
        """The same in steps, until as many as there are have been taken; nothing can be added from
        now on. Cost: O(batches made since, jobs).

        Args:
            cursor: of a search that has not come to its end, to go on from there.

        Raises:
            ArgumentError: *cursor* is none.
            JobNotFoundError: there is no such batch.
        """
        bids = self._end_all_blocks(bid)
        session = in_a_name(self._api)
        return Cancelling(session, lambda job: _batch_of(job) in bids, again=True, cursor=cursor)

    def delete(self, bid: str) -> bool:
        """Forget a batch, with its callbacks; its members become ordinary jobs."""
        keys = self._api.keys
        names = [keys.queues, keys.batches, keys.batches_open]
        names += [keys.batch(bid), keys.batch_members(bid), keys.batch_callbacks(bid)]
        return bool(self._change("delete", bid).call(scripts.DELETE_BATCH, names, [bid]))

    def recount(self, bid: str, *, repair: bool = False) -> Recount:
        """Compare what is known of a batch with its members, and with what is anywhere.

        Cost: O(jobs), in bounded steps.

        Args:
            repair: pending members that two searches miss become ``unconfirmed``, those in the dead
                set are dead, and counters are corrected.

        Raises:
            JobNotFoundError: there is no such batch.
        """
        status = self.get(bid)
        counters = self._wrong_counters(status)
        search, none = LostMembers(self._api), Lost("", set())
        missing = Lost(search.expected(bid).moves, set())
        if first := search.missing([bid]).get(bid):
            again = search.missing([bid]).get(bid, none)
            missing = Lost(first.moves, first.numbers & again.numbers)
        shown = tuple(sorted(missing.numbers)[:MOST])
        dead, repaired = search.dead, False
        if repair and (missing.numbers or counters):
            repaired = search.give_up(bid, missing) >= 0
        if repair and dead:
            repaired = search.end_dead() > 0 or repaired
        return Recount(shown, counters, repaired, dead)

    def _states(self, bid: str) -> list[tuple[int, bool]]:
        raw = cast("bytes", self._api.redis.get(self._api.keys.batch_members(bid)) or b"")
        return states_of(raw)

    def _wrong_counters(self, status: BatchStatus) -> dict[str, tuple[int, int]]:
        members = self._states(status.bid)
        states = [state for state, _ in members]
        right = {name: states.count(number) for number, name in enumerate(STATES) if number}
        right["total"] = sum(right.values())
        right["failed"] = sum(failed for _, failed in members)
        told = {name: getattr(status, name) for name in right}
        return {name: (told[name], right[name]) for name in right if told[name] != right[name]}

    def _end_blocks(self, bid: str, how: str) -> int:
        keys = self._api.keys
        names = [keys.queues, keys.batches_open, keys.batch(bid)]
        changed, closed = self._change(how, bid).call(scripts.CLOSE_BATCH, names, [bid, how])
        if changed < 0:
            raise JobNotFoundError(f"there is no batch {bid}")
        return int(closed)

    def _end_all_blocks(self, bid: str) -> set[str]:
        """Let nothing be added any more to a batch and to those inside it, the outer ones first:
        then no further one can be made inside. Returns their ids."""
        since = self.get(bid).created_at
        ended, found = set[str](), {bid}
        while found:
            for each in found:
                with suppress(JobNotFoundError):
                    self._end_blocks(each, "cancel")
            ended |= found
            found = family(self._api, ended, since) - ended
        return ended

    def _change(self, name: str, bid: str) -> Change:
        return Change(self._api, f"{name} batch", f"batch:{bid}")


def _batch_of(job: JobRecord) -> str | None:
    found = job.attachments.batch
    return None if found is None else found[0]


class Batch(pushed.Batch):
    """:class:`jobd.features.batches.batch.Batch`, with what operators do to it."""

    __doc__ = pushed.Batch.__doc__

    def cancel(self, *, seconds: float | None = None) -> int:
        """Cancel it and the batches inside it: nothing can be added any more, members that wait are
        taken out, and those that run are told.

        Args:
            seconds: stop after about so long; call it again for the rest.

        Returns:
            How many members were taken out or told.

        Raises:
            JobNotFoundError: it is not there.
            UnavailableError: Redis does not answer.
        """
        return self._all().cancel(self.bid, seconds=seconds)

    def close(self) -> int:
        """End its open blocks, because their producers have died; returns how many there were."""
        return self._all().close(self.bid)

    def delete(self) -> bool:
        """Forget it, with its callbacks; its members become ordinary jobs. Returns whether it was
        there."""
        return self._all().delete(self.bid)

    def _all(self) -> Batches:
        return Batches(Session(self._client))
