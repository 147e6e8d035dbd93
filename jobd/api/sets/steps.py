"""What one step of each action does to some entries of a sorted set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from jobd.ambient import clock
from jobd.api.records import JobRecord
from jobd.api.session import Change, Session
from jobd.errors import ArgumentError, ConflictError, PayloadError, RefusedError
from jobd.jobs.times import When, due_at
from jobd.store import scripts
from jobd.store.protocol import Argument
from jobd.text.translatable import Text
from jobd.wire.transitions import with_enqueued, with_retry_by_hand

SetAction = Literal["delete", "kill", "retry", "add_to_queue", "reschedule"]

FARTHEST = 100 * 365 * 86400
"""Seconds from now; beyond that it is a mistake."""

Step = Callable[[Change, Sequence[JobRecord]], int]
"""Does one step of an action to some entries; returns how many were still there, and notes in the
action how many of the others have to stay: that is no reason to stop."""


class Steps:
    """The steps for the set at *key*. Each is one script."""

    def __init__(self, session: Session, key: str) -> None:
        self._session = session
        self._key = key

    def named(self, name: SetAction, when: When | None) -> Step:
        """The one of that name.

        Args:
            when: the new time for ``reschedule``.

        Raises:
            ArgumentError: there is none, or it needs a time.
        """
        if name == "reschedule":
            if when is None:
                raise ArgumentError("rescheduling needs a time: sweep('reschedule', when=...)")
            return self.rescheduling(when)
        steps: dict[str, Step] = {
            "delete": self.delete,
            "kill": self.kill,
            "retry": self.retry,
            "add_to_queue": self.add_to_queue,
        }
        if name not in steps:
            known = ", ".join([*steps, "reschedule"])
            raise ArgumentError(f"there is no action {name!r}; the actions are {known}")
        return steps[name]

    def delete(self, action: Change, entries: Sequence[JobRecord]) -> int:
        """Delete them."""
        values = [entry.value for entry in entries]
        deleted: int = action.call_undoable(scripts.REMOVE, [self._key], values)
        return deleted

    def add_to_queue(self, action: Change, entries: Sequence[JobRecord]) -> int:
        """Put them into their queues."""
        return self._enqueue(action, entries, with_enqueued)

    def retry(
        self,
        action: Change,
        entries: Sequence[JobRecord],
        changes: Mapping[str, object] | None = None,
    ) -> int:
        """Put them into their queues, so that this attempt is none of their retries."""
        return self._enqueue(
            action, entries, lambda raw, now: with_retry_by_hand(raw, now, changes)
        )

    def kill(self, action: Change, entries: Sequence[JobRecord]) -> int:
        """Move them to the dead set.

        Raises:
            ArgumentError: they are there.
        """
        session, now = self._session, clock.now()
        if self._key == session.keys.dead:
            raise ArgumentError("these jobs are dead already")
        bounds = (repr(now), repr(now - session.dead_timeout), session.dead_max_jobs)
        values = [entry.value for entry in entries]
        killed: int = action.call_undoable(
            scripts.KILL,
            [self._key, session.keys.dead],
            [*bounds, *values],
            went_to="dead",
        )
        return killed

    def rescheduling(self, when: When) -> Step:
        """A step that gives them this time."""
        at = repr(time_of(when))

        def step(action: Change, entries: Sequence[JobRecord]) -> int:
            values = [entry.value for entry in entries]
            moved: int = action.call(scripts.RESCHEDULE, [self._key], [at, *values])
            return moved

        return step

    def _enqueue(
        self,
        action: Change,
        entries: Sequence[JobRecord],
        made: Callable[[bytes, float], tuple[str, bytes]],
    ) -> int:
        now, keys = clock.now(), self._session.keys
        queues: dict[str, int] = {}
        moves: list[Argument] = []
        for entry in entries:
            if entry.malformed:
                continue
            try:
                queue, pushed = made(entry.value, now)
            except PayloadError:
                continue
            moves += (entry.value, queues.setdefault(queue, len(queues) + 1), pushed)
        if not moves:
            return 0
        places = [self._key, keys.queues, keys.dead, keys.promoting(self._key)]
        moved: int
        moved, refused, _, _, holders = action.call(
            scripts.PROMOTE,
            [*places, *map(keys.queue, queues)],
            [repr(now), "", 0, 0, 0, len(queues), *queues, *moves],
        )
        if refused:
            names = ", ".join(map(keys.queue, queues))
            wrong = RefusedError(f"WRONGTYPE not a list, so these jobs stay: {names}")
            action.keep(len(refused), wrong)
        if holders:
            action.keep(len(holders), kept_out(holders[0]))
        return moved


def kept_out(holder: bytes) -> ConflictError:
    """The error where a job cannot come back: it is unique, and the job *holder* has taken its
    place, or it is a step of the workflow that *holder* names."""
    kind, _, workflow = holder.decode(errors="replace").partition(":")
    if kind == "workflow":
        return ConflictError(
            Text(
                "A step of workflow %(workflow)s cannot come back: the workflow was cancelled, or "
                "the step is done, or it runs again already.",
                workflow=workflow,
            )
        )
    return ConflictError(
        Text(
            "A unique job cannot come back while another one like it is there: %(jid)s.",
            jid=holder.decode(errors="replace"),
        )
    )


def time_of(when: When) -> float:
    """Seconds since 1970; now for what has passed.

    Raises:
        ArgumentError: it is no time, or more than a hundred years away.
    """
    now = clock.now()
    at = due_at(when, now) or now
    if at - now > FARTHEST:
        raise ArgumentError(Text("a job can be given a time within the next hundred years"))
    return at
