"""Admission: whether a claimed job on which something hangs may start.

It may be too late for it, another job may hold its lock, or it may have something that this version
does not know; a step of a workflow gets its arguments, and the context of the push is restored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import redis

from jobd.ambient import clock
from jobd.errors import JobdError, PayloadError
from jobd.jobs.propagation import propagation
from jobd.runtime.log import log
from jobd.store.inflight import Claimed
from jobd.text import exceptions
from jobd.wire import attachments, payload
from jobd.worker.run.inputs import StepInputs
from jobd.worker.run.locks import Locks
from jobd.worker.run.retry import Retries
from jobd.worker.run.settlement import Outcome, Settlement

_RETRIED = b'"retry_count"'

LOCK_AGAIN = 5.0
"""Seconds until a job starts whose lock could not be reached."""


class Admission:
    """Admits jobs, in any thread.

    Args:
        retry: decides how those end or wait that do not start.
        report: calls the application's error handlers.
        note: tells those who look at this worker what has happened to a job.
        verbose: whether lines of the level ``info`` are written.
    """

    def __init__(
        self,
        retry: Retries,
        locks: Locks,
        inputs: StepInputs,
        report: Callable[[BaseException, dict[str, object]], None],
        note: Callable[[str, Claimed], None],
        *,
        verbose: bool,
    ) -> None:
        self._retry = retry
        self._locks = locks
        self._inputs = inputs
        self._report = report
        self._note = note
        self._verbose = verbose
        self._log = log.get("jobd.job")

    def admit(self, job: Claimed, work: payload.Work) -> attachments.Attachments | Settlement:
        """What hangs on a job that may start, or how one ends that does not start because of it."""
        try:
            attached = attachments.read(work.jobd)
        except attachments.Unknown as unknown:
            self._log.warning("job_set_aside", queue=job.queue, reason=str(unknown))
            return self._retry.set_aside(job, work.jobd)
        except PayloadError as error:
            self._log.error("job_malformed", queue=job.queue, error=str(error))
            self._report(error, {"context": "Invalid attachments", "jobstr": job.payload})
            return self._retry.malformed(job, error)
        if attached.expires_at is not None and (late := clock.now() - attached.expires_at) >= 0:
            if self._verbose:
                self._log.info("job_expired", late=round(late, 3))
            self._note("expired", job)
            return Settlement(job, b"", Outcome.EXPIRED)
        if (lock := attached.lock) is not None and lock.acts_at_start:
            try:
                holder = self._locks.enter(work.jid, lock, first=_RETRIED not in job.payload)
            except redis.RedisError as error:
                # Not started: as if it had never been claimed.
                self._log.warning("lock_unreachable", error=str(error))
                return self._retry.postponed(job, LOCK_AGAIN)
            if holder is not None:
                self._log.info("job_duplicate", holder=holder)
                return Settlement(job, b"", Outcome.DUPLICATE)
        if (node := attached.node) is not None and node.takes:
            try:
                self._inputs.fill(work, node)
            except redis.RedisError as error:
                self._log.warning("results_unreachable", error=str(error))
                return self._retry.postponed(job, LOCK_AGAIN)
            except JobdError as error:
                return self.hopeless(job, error)
        if attached.context is not None:
            self._set_context(attached.context)
        return attached

    def hopeless(self, job: Claimed, error: JobdError) -> Settlement:
        """How a step of a workflow ends whose arguments or result cannot be passed on: trying it
        again would change nothing."""
        self._log.error("job_failed", error=f"{exceptions.class_of(error)}: {error}")
        about: dict[str, object] = {}
        with suppress(PayloadError):
            about = payload.decode(job.payload)
        self._report(error, {"context": "Step of a workflow", "job": about})
        return self._retry.hopeless(job, error)

    def _set_context(self, values: Mapping[str, object]) -> None:
        for name in propagation.restore(values):
            self._log.warning("context_not_carried", variable=name[:100])
