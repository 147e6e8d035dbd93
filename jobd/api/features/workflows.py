"""Workflows: which there are, what has become of their steps; cancelling them and going on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from jobd.api.features.cancellation import Cancelling
from jobd.api.search.scans import end_of
from jobd.api.session import Change, Session
from jobd.features.workflows import actions
from jobd.features.workflows.record import Summary, WorkflowInfo
from jobd.store.protocol import Argument
from jobd.store.scripts import Script

MOST = 1_000
"""Most workflows that are listed."""


class Workflows:
    """The workflows that run, or have ended a short time ago.

    Example:
        >>> from jobd.api import Api
        >>> for one in Api().workflows:  # doctest: +SKIP
        ...     print(one.id, one.state, one.done, one.size)
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def __iter__(self) -> Iterator[Summary]:
        """All of them, the newest first."""
        first = 0
        while part := self.newest(first, MOST):
            yield from part
            first += MOST

    def newest(self, first: int = 0, most: int = 100) -> list[Summary]:
        """So many of them, the newest first, from that place on. Cost: O(*most*), one round trip
        for each hundred.

        Raises:
            UnavailableError: the server does not answer, as for everything here.
        """
        keys, redis = self._session.keys, self._session.redis
        found = redis.zrange(keys.workflows, first, first + most - 1, desc=True)
        refs = [one.decode(errors="replace") for one in cast("list[bytes]", found)]
        return actions.summaries(redis, keys, refs)

    def __len__(self) -> int:
        """How many there are, with those that are forgotten soon."""
        return self._session.redis.zcard(self._session.keys.workflows)

    def __getitem__(self, ref: str) -> WorkflowInfo:
        """The one with this id. Cost: O(its steps), one round trip.

        Raises:
            KeyError: there is none.
        """
        found = actions.info(self._session.redis, self._session.keys, ref)
        if found is None:
            raise KeyError(ref)
        return found

    def cancel(self, ref: str, *, seconds: float | None = None) -> bool:
        """Cancel a workflow: no step begins any more, jobs of it that wait are taken out, and those
        that run are told. What is done is undone where a step says how. Cost: O(jobs).

        Args:
            seconds: stop after about so long; a keeper cancels the rest.

        Returns:
            Whether there was something to cancel.

        Raises:
            KeyError: there is none.
        """
        steps = self.cancelling(ref)
        if steps is not None:
            steps.until(end_of(seconds))
        return steps is not None

    def cancelling(self, ref: str) -> Cancelling | None:
        """The same in steps; no step of the workflow begins from now on. None if there is nothing
        to cancel."""
        if not actions.cancel(self._call("cancel", ref), self._session.keys, ref):
            return None
        return self.jobs_of(ref)

    def jobs_of(self, ref: str) -> Cancelling:
        """Cancels the jobs of a workflow that wait or run.

        Raises:
            KeyError: there is none.
        """
        ordinary = {one.jid for one in self[ref].steps if one.state == "pushed" and not one.role}
        found = Cancelling(self._session, lambda job: job.jid in ordinary)
        found.done = not ordinary
        return found

    def retry(self, ref: str) -> int:
        """Push the steps again that have failed for good and keep others from running; returns how
        many. Those that are done do not run again.

        Raises:
            KeyError: there is no such workflow.
            ConflictError: it was cancelled.
        """
        session = self._session
        return actions.retry(session.redis, self._call("retry", ref), session.keys, ref)

    def _call(self, name: str, ref: str) -> actions.Call:
        change = Change(self._session, name, f"workflow:{ref}")

        def call(script: Script, keys: list[str], arguments: list[Argument]) -> int:
            return int(change.call(script, keys, arguments))

        return call
