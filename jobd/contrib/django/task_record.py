"""What is stored of a task of ``django.tasks`` beside the result of its job, in the same hash.

The fields: ``task`` (the call), ``attempts`` (the workers that have begun it) and ``errors``, all
of them JSON, and ``begun`` while it runs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import msgspec
from redis import RedisError

from jobd.errors import JobdError
from jobd.jobs.client import Client
from jobd.jobs.transports import routes
from jobd.store.keys import Keys
from jobd.store.scripts import ANNOTATE
from jobd.store.trouble import reason
from jobd.wire.json_value import UNREADABLE, Array, Object

if TYPE_CHECKING:
    from redis import Redis

_log = logging.getLogger("jobd.contrib.django")

_LONGEST = 90 * 86400
"""Seconds that a record without an end is kept, as that of a result."""

MOST_ATTEMPTS, MOST_ERRORS = 1000, 10
"""That are kept, the last ones."""


class Called(msgspec.Struct):
    """The call: what the task was when it was enqueued."""

    path: str
    queue: str
    priority: int
    takes_context: bool
    run_after: float | None
    args: Array
    kwargs: Object
    enqueued_at: float


class Attempt(msgspec.Struct):
    """One start of the task."""

    worker: str
    at: float


class Failure(msgspec.Struct):
    """What an attempt has raised."""

    path: str
    traceback: str


class Record(msgspec.Struct):
    """All that is known of a task."""

    called: Called
    state: str
    ended_at: float | None
    attempts: list[Attempt]
    errors: list[Failure]
    begun: bool
    detail: bytes


class Records:
    """The records of the tasks that *client* pushes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._keys = Keys(client.prefix)

    def enqueued(self, jid: str, called: Called, *, pushed: bool) -> None:
        """Store the call of a task.

        Args:
            pushed: whether the push has been tried. Then nothing is stored without a result,
                which each one has that has not failed.
        """
        with self._logged(jid):
            self._set(jid, {"task": called}, new=not pushed)

    def begin(self, jid: str, called: Called, worker: str) -> Record:
        """Note that a worker begins it, before it does."""
        found = self.read(jid)
        attempts = [] if found is None else found.attempts
        attempts = [*attempts, Attempt(worker, time.time())][-MOST_ATTEMPTS:]
        fields: dict[str, object] = {"attempts": attempts, "begun": 1}
        if found is None:  # it has started before the other side could store the call
            fields["task"] = called
        self._set(jid, fields, new=True)
        errors = [] if found is None else found.errors
        original = called if found is None else found.called
        return Record(original, "running", None, attempts, errors, True, b"")

    def end(self, jid: str, errors: list[Failure]) -> None:
        """Note that the attempt has ended; how the job ends is for jobd to say."""
        with self._logged(jid):
            fields = {"errors": errors[-MOST_ERRORS:]} if errors else {}
            self._set(jid, fields, without="begun")

    def read(self, jid: str) -> Record | None:
        """The record of a task; None if there is none."""
        if (redis := self._redis()) is None:
            return None
        raw = cast("Mapping[bytes, bytes]", redis.hgetall(self._keys.result(jid)))
        try:
            called = msgspec.json.decode(raw[b"task"], type=Called)
        except (KeyError, *UNREADABLE):
            return None
        ended_at = raw.get(b"at")
        return Record(
            called,
            raw.get(b"state", b"queued").decode(errors="replace"),
            float(ended_at) if ended_at else None,
            msgspec.json.decode(raw.get(b"attempts", b"[]"), type=list[Attempt]),
            msgspec.json.decode(raw.get(b"errors", b"[]"), type=list[Failure]),
            b"begun" in raw,
            raw.get(b"detail", b""),
        )

    def _set(
        self, jid: str, fields: Mapping[str, object], *, without: str = "", new: bool = False
    ) -> None:
        if (redis := self._redis()) is None:
            return
        words = [
            word for name, value in fields.items() for word in (name, msgspec.json.encode(value))
        ]
        ANNOTATE(redis, [self._keys.result(jid)], [_LONGEST, "1" if new else "", without, *words])

    @contextmanager
    def _logged(self, jid: str) -> Iterator[None]:
        """For what is noted after the fact: the task is pushed, or has run, all the same."""
        try:
            yield
        except RedisError as error:
            _log.warning("not noted of task %s, which goes on: %s", jid, reason(error))

    def _redis(self) -> Redis | None:
        """None where a mode of :mod:`jobd.testing` has nothing but pushes in the place of Redis."""
        try:
            return self._client.redis
        except JobdError:
            if routes.special:
                return None
            raise
