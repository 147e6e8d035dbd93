"""What becomes of a job that failed: another attempt, the dead set, or nothing.

The life of most failing jobs: a deploy brings a bug, jobs raise, the retries spread out while
somebody mends it, the next attempt succeeds and nobody has lost any work. Twenty-five attempts take
about three weeks; what still fails then is kept in the dead set for a person to look at.
"""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from typing import Any

from jobd.errors import ArgumentError, JobdError
from jobd.jobs.app import App
from jobd.jobs.decorators import DISCARD, KILL
from jobd.jobs.functions import refuse_unrun
from jobd.jobs.registry import Definition
from jobd.settings.daemon import Config
from jobd.store.inflight import Claimed, InFlight
from jobd.text import exceptions
from jobd.wire import payload, transitions
from jobd.worker.run.pool import cut_short
from jobd.worker.run.settlement import Settlement

MILLISECONDS_FROM = 100_000_000_000
"""A time above this (the year 5138 in seconds) is in milliseconds, as Sidekiq 8 writes them."""

LAST_TIME = 1e16
"""No time, in milliseconds, is later."""

LONGEST_DELAY = 100 * 365 * 86400
"""Seconds; a ``retry_in`` that answers more is mistaken (infinity would mean never)."""

SLOWEST_COUNT = 200
"""Retries after which the delay, then of half a century, grows no more. What another program has
written as their number may be larger than any time."""

MOST_FRAMES = 1000
"""Lines of a backtrace that are kept of a job that wants all; the innermost."""

OnError = Callable[[BaseException, dict[str, Any]], None]


def default_delay(count: int) -> int:
    """Seconds before retry number *count* (from 0), before jitter: Sidekiq's ``count⁴ + 15``.

    >>> [default_delay(count) for count in (0, 1, 2, 24)]
    [15, 16, 31, 331791]
    """
    return int(count**4) + 15


def jitter(count: int) -> int:
    """Whole seconds from 0 to ``10 (count + 1) - 1``, so that a wave of failures spreads out."""
    return random.randrange(10 * (count + 1))


def backtrace_lines(error: BaseException, wanted: object) -> list[str] | None:
    """The innermost *wanted* lines of the traceback, innermost first as Ruby has them.

    Args:
        wanted: True for all, a number for so many; anything else keeps none.
    """
    if wanted is not True and (type(wanted) is not int or wanted <= 0):
        return None
    frames = traceback.extract_tb(exceptions.traceback_of(error), limit=-MOST_FRAMES)
    lines = [f"{frame.filename}:{frame.lineno}:in '{frame.name}'" for frame in reversed(frames)]
    return lines if wanted is True else lines[: int(wanted)]


class Retry:
    """Decides, and packs the decision for the fetcher.

    Args:
        app: whose death handlers are told.
        on_error: told exceptions of the application's own hooks.
    """

    def __init__(self, app: App, config: Config, inflight: InFlight, on_error: OnError) -> None:
        self._death_handlers = app.death_handlers
        self._config = config
        self._inflight = inflight
        self._on_error = on_error

    def malformed(self, job: Claimed, error: JobdError) -> Settlement:
        """For bytes that are no job: the dead set, with the error noted where there is a place."""
        return self._bury(
            job,
            transitions.noted(job.payload, error=error, queue=job.queue, now=time.time()),
            counted=False,
        )

    def unexplained(self, job: Claimed, why: str) -> Settlement:
        """For a job whose failure could not be dealt with: the dead set, for a person to look at.

        Args:
            why: what kept us from it.
        """
        error = JobdError(f"how it failed could not be noted: {why}; the worker's log has it")
        return self._bury(
            job,
            transitions.noted(job.payload, error=error, queue=job.queue, now=time.time()),
            counted=True,
        )

    def failed(
        self, job: Claimed, definition: Definition | None, error: BaseException
    ) -> Settlement:
        """For a job that raised. *definition* is None where its class is unknown here."""
        fields = payload.decode(job.payload)
        options = definition.options if definition is not None else {}
        retry = _option("retry", fields, options, default=True)
        if retry is False:
            return self._discard(job, fields, error)
        fields = transitions.with_failure(
            job.payload,
            error=error,
            queue=job.queue,
            now=time.time(),
            backtrace=backtrace_lines(error, _option("backtrace", fields, options)),
        )
        noted = transitions.rewritten(job.payload, fields)
        if self._exhausted(fields, retry):
            return self._die(job, definition, fields, noted, error)
        count = min(max(0, fields["retry_count"]), SLOWEST_COUNT)
        delay = self._delay(definition, count, fields, error)
        if delay is DISCARD:
            return self._discard(job, fields, error)
        if delay is KILL:
            return self._die(job, definition, fields, noted, error)
        at = time.time() + delay + jitter(count)
        call = self._inflight.retry(job, _encoded(fields, noted), at)
        return Settlement(job, call, "retry")

    def _exhausted(self, fields: dict[str, Any], retry: object) -> bool:
        """Whether there are no attempts left; a time window replaces the number of them."""
        window = fields.get("retry_for")
        if isinstance(window, int | float) and not isinstance(window, bool):
            first = fields.get("failed_at")
            if first is None:
                return False
            if not isinstance(first, int | float) or not abs(first) < LAST_TIME:
                return True  # What another program wrote there is no time.
            if first > MILLISECONDS_FROM:
                first /= 1000
            # As a sum it could be too large for a float.
            return bool(window < time.time() - first)
        most = retry if type(retry) is int else self._config.max_retries
        return bool(fields["retry_count"] >= most)

    def _delay(
        self,
        definition: Definition | None,
        count: int,
        fields: dict[str, Any],
        error: BaseException,
    ) -> Any:
        """Seconds, or one of the sentinels."""
        if definition is not None and definition.retry_in is not None:
            delay = self._ask("retry_in", fields, definition.retry_in, count, error, fields)
            if delay is DISCARD or delay is KILL:
                return delay
            if type(delay) in (int, float) and 0 < delay <= LONGEST_DELAY:
                return delay
        return default_delay(count)

    def _die(
        self,
        job: Claimed,
        definition: Definition | None,
        fields: dict[str, Any],
        noted: bytes,
        error: BaseException,
    ) -> Settlement:
        options = definition.options if definition is not None else {}
        keep = _option("dead", fields, options, default=True) is not False
        if definition is not None and definition.on_exhausted is not None:
            answer = self._ask("on_exhausted", fields, definition.on_exhausted, fields, error)
            keep = answer is not DISCARD and keep
        if not keep:
            return self._discard(job, fields, error)
        self._tell_death(fields, error)
        return self._bury(job, _encoded(fields, noted), counted=True)

    def _bury(self, job: Claimed, raw: bytes, *, counted: bool) -> Settlement:
        now = time.time()
        call = self._inflight.bury(
            job,
            raw,
            now,
            keep_from=now - self._config.dead_timeout,
            most=self._config.dead_max_jobs,
            counted=counted,
        )
        return Settlement(job, call, "dead")

    def _discard(self, job: Claimed, fields: dict[str, Any], error: BaseException) -> Settlement:
        self._tell_death(fields, error)
        return Settlement(job, self._inflight.discard(job), "discarded")

    def _tell_death(self, fields: dict[str, Any], error: BaseException) -> None:
        for handler in self._death_handlers:
            self._ask("death handler", fields, handler, fields, error)

    def _ask(
        self, what: str, fields: dict[str, Any], function: Callable[..., Any], *args: Any
    ) -> Any:
        """What a *function* of the application answers; None where it raises, which is reported:
        whatever it is, the job goes on."""
        try:
            answer = function(*args)
            refuse_unrun(what, answer)
        except BaseException as broken:
            if cut_short():
                raise
            self._on_error(broken, {"context": what, "job": fields})
            return None
        return answer


def _option(name: str, fields: dict[str, Any], options: Any, default: object = None) -> Any:
    """An option: as the payload says, else as the job's definition says, else *default*."""
    for source in (fields, options):
        value = source.get(name)
        if value is not None:
            return value
    return default


def _encoded(fields: dict[str, Any], noted: bytes) -> bytes:
    """*fields* as bytes, with what the application may have changed in them; as they were *noted*
    where it has put into them what is not JSON, or has left no job of them."""
    if not isinstance(fields.get("class"), str) or not isinstance(fields.get("args"), list):
        return noted
    try:
        return transitions.rewritten(noted, fields)
    except ArgumentError:
        return noted
