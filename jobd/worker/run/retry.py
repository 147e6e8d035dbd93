"""Retries: a failed job is retried, moved to the dead set, or discarded.

A typical case: a deploy introduces a bug, jobs raise, the retries spread out while the bug is
fixed, the next attempt succeeds, and no work is lost. Twenty-five attempts take about three weeks;
jobs that still fail are kept in the dead set for inspection.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping

from msgspec.structs import replace

from jobd.ambient import chance, clock
from jobd.errors import ArgumentError, JobdError
from jobd.jobs.app import App
from jobd.jobs.decorators import DISCARD, Verdict
from jobd.jobs.hooks import Await
from jobd.jobs.registry import Definition
from jobd.jobs.unrun import finished, refuse_unrun
from jobd.settings.daemon import Config
from jobd.store.inflight import Claimed, InFlight
from jobd.text import exceptions
from jobd.wire import attachments, payload, results, transitions
from jobd.worker.run.pool import cut_short
from jobd.worker.run.settlement import Outcome, Settlement

MILLISECONDS_FROM = 100_000_000_000
"""A time above this (the year 5138 in seconds) is in milliseconds, as Sidekiq 8 writes them."""

LAST_TIME = 1e16
"""The latest valid time, in milliseconds."""

LONGEST_DELAY = 100 * 365 * 86400
"""Seconds; a larger result of ``retry_in`` is invalid (infinity would mean never)."""

SLOWEST_COUNT = 200
"""Retry count after which the delay, then half a century, stops growing. Other programs may have
written any number."""

MOST_SNOOZES = 1000
"""Of a job that has not ended in between; then it fails: it waits for what does not come."""

ASIDE, LONGEST_ASIDE = 10.0, 600.0
"""Seconds for which a job is set aside: at first, doubled each time, and at most."""

MOST_FRAMES = 1000
"""Most lines of a backtrace kept for a job that wants all; the innermost."""

DEATH = "death handler"
"""What may be a coroutine, unlike the other functions that decide about a failed job."""

OnError = Callable[[BaseException, dict[str, object]], None]


def default_delay(count: int) -> int:
    """Seconds before retry number *count* (from 0), before jitter: Sidekiq's ``count⁴ + 15``.

    >>> [default_delay(count) for count in (0, 1, 2, 24)]
    [15, 16, 31, 331791]
    """
    return int(count**4) + 15


def jitter(count: int) -> int:
    """Random whole seconds from 0 to ``10 (count + 1) - 1``, to spread out a wave of failures."""
    return chance.below(10 * (count + 1))


def backtrace_lines(error: BaseException, wanted: object) -> list[str] | None:
    """The innermost *wanted* lines of the traceback, innermost first as in Ruby.

    Args:
        wanted: True for all, or a number of lines; anything else keeps none.
    """
    if wanted is not True and (type(wanted) is not int or wanted <= 0):
        return None
    frames = traceback.extract_tb(exceptions.traceback_of(error), limit=-MOST_FRAMES)
    lines = [f"{frame.filename}:{frame.lineno}:in '{frame.name}'" for frame in reversed(frames)]
    return lines if wanted is True else lines[: int(wanted)]


class Retries:
    """Decides how a failed job ends, and packs that as a call for the fetcher.

    Args:
        app: whose death handlers are called.
        on_error: called with exceptions of the application's own hooks.
        run: runs an awaitable to its end.
    """

    def __init__(
        self, app: App, config: Config, inflight: InFlight, on_error: OnError, run: Await
    ) -> None:
        self._death_handlers = app.death_handlers
        self._cancel_handlers = app.cancel_handlers
        self._config = config
        self._inflight = inflight
        self._on_error = on_error
        self._run = run

    def malformed(self, job: Claimed, error: JobdError) -> Settlement:
        """Move a malformed payload to the dead set, with the error noted if possible."""
        return self._bury(
            job,
            transitions.noted(job.payload, error=error, queue=job.queue, now=clock.now()),
            counted=False,
        )

    def unexplained(self, job: Claimed, why: str) -> Settlement:
        """Move a job whose failure could not be handled to the dead set.

        Args:
            why: the reason.
        """
        error = JobdError(f"the failure could not be recorded: {why}; see the worker's log")
        return self._bury(
            job,
            transitions.noted(job.payload, error=error, queue=job.queue, now=clock.now()),
            counted=True,
        )

    def snoozed(self, job: Claimed, field: object, delay: float) -> Settlement:
        """Run a job again after *delay* seconds that has asked for it; *field* is what hangs on it.

        Raises:
            JobdError: it has done so too often.
        """
        before = attachments.read(field)
        if before.snoozes >= MOST_SNOOZES:
            raise JobdError(f"the job has snoozed {MOST_SNOOZES:,} times in a row")
        after = attachments.written(replace(before, snoozes=before.snoozes + 1))
        return self._again(job, after, delay, Outcome.SNOOZED)

    def postponed(self, job: Claimed, delay: float) -> Settlement:
        """Start a job that could not be started now after *delay* seconds, unchanged."""
        call = self._inflight.snooze(job, job.payload, clock.now() + delay, job.queue)
        return Settlement(job, call, Outcome.POSTPONED)

    def set_aside(self, job: Claimed, field: object) -> Settlement:
        """Keep a job for workers that know what hangs on it, which is in *field*."""
        times, changed = attachments.aside(field)
        delay = min(ASIDE * 2 ** min(times, 20), LONGEST_ASIDE)
        return self._again(job, changed, delay, Outcome.ASIDE)

    def _again(
        self, job: Claimed, field: Mapping[str, object] | None, delay: float, outcome: Outcome
    ) -> Settlement:
        now = clock.now()
        changes: dict[str, object] = {"queue": job.queue, attachments.FIELD: field}
        if not delay:
            changes["enqueued_at"] = now
        raw = transitions.with_fields(job.payload, changes)
        call = self._inflight.snooze(job, raw, now + delay if delay else None, job.queue)
        return Settlement(job, call, outcome)

    def failed(
        self,
        job: Claimed,
        definition: Definition | None,
        error: BaseException,
        asked: float | None = None,
    ) -> Settlement:
        """Retry, bury or discard a job that raised. *definition* is None for an unknown class.

        Args:
            asked: the seconds until the next attempt, where the job itself has chosen them.
        """
        fields = payload.decode(job.payload)
        options = definition.options if definition is not None else {}
        retry = _option("retry", fields, options, default=True)
        if retry is False:
            return self._discard(job, fields, error)
        fields = transitions.with_failure(
            job.payload,
            error=error,
            queue=job.queue,
            now=clock.now(),
            backtrace=backtrace_lines(error, _option("backtrace", fields, options)),
        )
        noted = transitions.rewritten(job.payload, fields)
        if self._exhausted(fields, retry):
            return self._die(job, definition, fields, noted, error)
        count = min(max(0, fields["retry_count"]), SLOWEST_COUNT)
        if asked is not None:
            delay = asked
        else:
            chosen = self._delay(definition, count, fields, error)
            if chosen is DISCARD:
                return self._discard(job, fields, error)
            if isinstance(chosen, Verdict):
                return self._die(job, definition, fields, noted, error)
            delay = chosen + jitter(count)
        call = self._inflight.retry(job, _encoded(fields, noted), clock.now() + delay)
        return Settlement(job, call, Outcome.RETRY)

    def hopeless(self, job: Claimed, error: BaseException) -> Settlement:
        """Bury or discard a job that no other attempt would help."""
        now = clock.now()
        fields = transitions.with_failure(
            job.payload, error=error, queue=job.queue, now=now, backtrace=None
        )
        noted = transitions.rewritten(job.payload, fields)
        return self._die(job, None, fields, noted, error)

    def _exhausted(self, fields: payload.Payload, retry: object) -> bool:
        """Whether no attempts are left; a time window (``retry_for``) replaces their number."""
        window = fields.get("retry_for")
        if isinstance(window, int | float) and not isinstance(window, bool):
            first = fields.get("failed_at")
            if first is None:
                return False
            if not isinstance(first, int | float) or not abs(first) < LAST_TIME:
                return True  # another program has written an invalid time
            if first > MILLISECONDS_FROM:
                first /= 1000
            # As a sum it could be too large for a float.
            return bool(window < clock.now() - first)
        most = retry if type(retry) is int else self._config.max_retries
        return bool(fields["retry_count"] >= most)

    def _delay(
        self,
        definition: Definition | None,
        count: int,
        fields: payload.Payload,
        error: BaseException,
    ) -> float | Verdict:
        """The delay in seconds, or DISCARD or KILL."""
        if definition is not None and definition.retry_in is not None:
            delay = self._ask("retry_in", fields, definition.retry_in, count, error, fields)
            if isinstance(delay, Verdict):
                return delay
            if (type(delay) is int or type(delay) is float) and 0 < delay <= LONGEST_DELAY:
                return delay
        return default_delay(count)

    def _die(
        self,
        job: Claimed,
        definition: Definition | None,
        fields: payload.Payload,
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
        return self._bury(job, _encoded(fields, noted), counted=True, detail=_detail(fields, error))

    def _bury(self, job: Claimed, raw: bytes, *, counted: bool, detail: bytes = b"") -> Settlement:
        now = clock.now()
        call = self._inflight.bury(
            job,
            raw,
            now,
            keep_from=now - self._config.dead_timeout,
            most=self._config.dead_max_jobs,
            counted=counted,
            detail=detail,
        )
        return Settlement(job, call, Outcome.DEAD)

    def _discard(self, job: Claimed, fields: payload.Payload, error: BaseException) -> Settlement:
        self._tell_death(fields, error)
        call = self._inflight.discard(job, _detail(fields, error))
        return Settlement(job, call, Outcome.DISCARDED)

    def _tell_death(self, fields: payload.Payload, error: BaseException) -> None:
        for handler in self._death_handlers:
            self._ask(DEATH, fields, handler, fields, error)

    def tell_cancelled(self, job: Claimed, definition: Definition | None) -> None:
        """Call the application's handlers of a job that was cancelled while it ran."""
        own = definition.on_cancel if definition is not None else None
        if own is None and not self._cancel_handlers:
            return
        try:
            fields = payload.decode(job.payload)
        except JobdError as error:
            self._on_error(error, {"context": "cancel handler", "jobstr": job.payload})
            return
        for handler in (*self._cancel_handlers, *([own] if own else [])):
            self._ask("cancel handler", fields, handler, fields)

    def _ask(
        self, what: str, fields: payload.Payload, function: Callable[..., object], *args: object
    ) -> object:
        """Call a *function* of the application. If it raises, report that and return None: the job
        must still be ended."""
        try:
            answer = function(*args)
            if what == DEATH:
                answer = finished(what, answer, self._run)
            else:
                refuse_unrun(what, answer)
        except BaseException as broken:
            if cut_short():
                raise
            self._on_error(broken, {"context": what, "job": fields})
            return None
        return answer


def _detail(fields: Mapping[str, object], error: BaseException) -> bytes:
    """The detail of the result of a job that has failed for good; empty for most jobs."""
    return results.failed(error) if attachments.FIELD in fields else b""


def _option(
    name: str, fields: payload.Payload, options: Mapping[str, object], default: object = None
) -> object:
    """An option: from the payload, else from the job's definition, else *default*."""
    for source in (fields, options):
        value = source.get(name)
        if value is not None:
            return value
    return default


def _encoded(fields: payload.Payload, noted: bytes) -> bytes:
    """*fields* as bytes, including changes by the application; *noted* if those left invalid JSON
    or no valid job."""
    if not isinstance(fields.get("class"), str) or not isinstance(fields.get("args"), list):
        return noted
    try:
        return transitions.rewritten(noted, fields)
    except ArgumentError:
        return noted
