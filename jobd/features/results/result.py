"""``jobd.Result``: the result of a job, by its id."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Never, cast

import redis

from jobd.errors import (
    JobdError,
    PayloadError,
    ResultTimeoutError,
    UnavailableError,
    no_attribute,
)
from jobd.features.results.listener import Listener, Waiter
from jobd.features.results.record import ResultInfo, State, ended, info_of, not_found, value_of
from jobd.jobs.app import default
from jobd.jobs.client import Client
from jobd.jobs.context import running_job
from jobd.jobs.transports import simulation
from jobd.store.connection import require_bytes
from jobd.store.keys import Keys
from jobd.store.trouble import reason, where
from jobd.wire import payload

_INSTEAD = {
    "id": "use jid",
    **dict.fromkeys(("status", "get_status"), "use state"),
    **dict.fromkeys(
        ("ready", "successful", "failed", "is_finished", "is_failed"),
        'compare state, as in state == "done"',
    ),
    **dict.fromkeys(("result", "return_value", "wait", "wait_result"), "use get, or aget"),
    **dict.fromkeys(("traceback", "date_done", "ended_at"), "see info"),
    **dict.fromkeys(("revoke", "abort", "cancel"), "use jobd.cancel(jid)"),
    "forget": "it ends by itself after keep_result seconds",
}
"""Names in other tools, and what to use here."""

LONGEST = 100 * 365 * 86400.0
"""Seconds; waiting for ever is waiting for so long."""


class Result:
    """The result of a job that was pushed with ``keep_result``.

    Reading it does not consume it. Waiting is not polling: all waits of a process share one
    connection to Redis, which is closed when nobody waits.

    Args:
        jid: the id that the push has returned.
        client: where the job was pushed; default: where the default application pushes.

    Raises:
        ArgumentError: *client* was given a client of Redis that decodes replies.

    Example:
        >>> jid = add.set(keep_result=600).perform_async(1, 2)  # doctest: +SKIP
        >>> jobd.Result(jid).get(timeout=5)  # doctest: +SKIP
        3
    """

    def __init__(self, jid: str, client: Client | None = None) -> None:
        self.jid = str(jid)
        self._client = default.client if client is None else client
        require_bytes(self._client.redis, "Result")
        self._keys = Keys(self._client.prefix)
        self._key = self._keys.result(self.jid)

    def __repr__(self) -> str:
        return f"<Result of job {self.jid}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, _INSTEAD.get(name, ""))

    def get(self, timeout: float | None = None, *, allow_in_job: bool = False) -> Any:
        """What the job has returned; waits until it has ended.

        Args:
            timeout: most seconds to wait; None to wait for ever, 0 not to wait.
            allow_in_job: wait also inside a job, which then occupies its thread: if all threads
                wait for jobs that wait for a thread, nothing moves any more.

        Raises:
            JobFailedError: it has failed for good; with class, message and traceback.
            JobCancelledError, JobExpiredError: it has ended without being run to its end.
            JobNotFoundError: nothing is kept for this id.
            ResultNotKeptError: it is done, but what it returned could not be stored.
            ResultTimeoutError: it has not ended in time.
            UnavailableError: Redis does not answer.
        """
        self._refuse_in_job(allow_in_job)
        found = self._read()
        if found is None and timeout != 0 and (world := simulation()) is not None:
            world.wait(lambda: self._read() is not None, timeout)
        elif found is None and timeout != 0:
            with self._waiting() as waiter:
                # Read again: it may have ended before the wait began.
                found = self._read() or waiter.wait(until(timeout))
        return self._value(found, timeout)

    async def aget(self, timeout: float | None = None, *, allow_in_job: bool = False) -> Any:
        """:meth:`get` for coroutines: other tasks run in the meantime."""
        self._refuse_in_job(allow_in_job)
        found = await asyncio.to_thread(self._read)
        if found is None and (world := simulation()) is not None:
            world.wait(lambda: self._read() is not None, timeout)
        elif found is None:
            with self._waiting() as waiter:
                waiting = waiter.future(asyncio.get_running_loop())
                found = await asyncio.to_thread(self._read)
                if found is None:
                    try:
                        async with asyncio.timeout(timeout):
                            found = await waiting
                    except TimeoutError:
                        found = None
        return self._value(found, timeout)

    @property
    def state(self) -> State:
        """Where the job is, or how it has ended.

        Raises:
            JobNotFoundError: nothing is kept for this id.
            UnavailableError: Redis does not answer.
        """
        return self.info.state

    @property
    def info(self) -> ResultInfo:
        """The state of the job, its times, and the error that ended it.

        Raises:
            JobNotFoundError: nothing is kept for this id.
            UnavailableError: Redis does not answer.
        """
        try:
            fields = cast("dict[bytes, bytes]", self._client.redis.hgetall(self._key))
            if not fields:
                raise not_found(self.jid)
            state = fields.get(b"state", b"").decode(errors="replace")
            if state == "queued" and self._in_flight():
                state = "running"
        except redis.RedisError as error:
            raise self._unavailable(error) from None
        return info_of(state, fields)

    def _read(self) -> tuple[str, bytes] | None:
        """State and detail of a job that has ended; None if it has not.

        Raises:
            JobNotFoundError: nothing is kept for this id.
        """
        try:
            state, detail = cast(
                "list[bytes | None]", self._client.redis.hmget(self._key, ["state", "detail"])
            )
        except redis.RedisError as error:
            raise self._unavailable(error) from None
        if state is None:
            raise not_found(self.jid)
        word = state.decode(errors="replace")
        return (word, detail or b"") if ended(word) else None

    def _waiting(self) -> Waiter:
        return Listener.of(self._client).waiter(self._key)

    def _value(self, found: tuple[str, bytes] | None, timeout: float | None) -> object:
        if found is None:
            found = self._read()  # a lost message must not look like a job that has not ended
        if found is None:
            raise ResultTimeoutError(f"job {self.jid} has not ended within {timeout:g} s")
        return value_of(self.jid, *found)

    def _refuse_in_job(self, allowed: bool) -> None:
        job = running_job()
        if job is not None and not allowed:
            raise JobdError(
                f"{job!r} waits for job {self.jid} and occupies its thread meanwhile: if all "
                "threads do that, nothing moves any more. Push the rest of the work from the other "
                "job, or say allow_in_job=True"
            )

    def _in_flight(self) -> bool:
        """Whether a worker has claimed the job."""
        client, wanted = self._client.redis, self.jid.encode(errors="replace")

        def is_it(raw: bytes) -> bool:
            with suppress(PayloadError):
                return wanted in raw and payload.parse(raw).jid == self.jid
            return False

        for owner in cast("list[bytes]", client.zrange(self._keys.owners, 0, -1)):
            key = self._keys.inflight(owner.decode(errors="replace"))
            if any(is_it(raw) for _, raw in client.hscan_iter(key, count=100)):
                return True
        return False

    def _unavailable(self, error: redis.RedisError) -> UnavailableError:
        place = where(self._client.redis)
        return UnavailableError(f"Redis at {place} does not tell a result: {reason(error)}")


def until(timeout: float | None) -> float:
    """The monotonic time at which a wait ends; that of event loops, too."""
    return time.monotonic() + (LONGEST if timeout is None else timeout)
