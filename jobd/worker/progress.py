"""The progress of running jobs: what they report goes to Redis, and what reports nothing is logged.

Jobs report as often as they like; twice a second one command writes what is new, for all jobs of
the worker. The thread that does so is started by the first report, so workers whose jobs report
nothing have none. A report is kept beside the record of its job in flight, and removed when that
job has ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import msgspec
import redis

from jobd.ambient import clock
from jobd.jobs.context import CurrentJob
from jobd.runtime.log import log
from jobd.store import scripts
from jobd.store.keys import Keys
from jobd.store.loops import Loop
from jobd.store.protocol import Argument
from jobd.wire import job_name
from jobd.wire.json_value import UNREADABLE
from jobd.wire.options import STALLED_AFTER
from jobd.worker.run.pool import Working

EVERY = 0.5
"""Seconds between writes."""

TTL, REFRESH = 60, 20.0
"""Seconds after which reports vanish whose worker does not renew them, and between renewals."""

REST = 5.0
"""Seconds between turns while no running job has reported anything; a report ends it. Not longer,
in case the interruption of a job has swallowed the signal."""


class Progress(Loop):
    """Writes the reports of one worker.

    Args:
        working: returns the running jobs.
    """

    def __init__(
        self,
        client: redis.Redis,
        keys: Keys,
        identity: str,
        working: Callable[[], list[Working]],
    ) -> None:
        super().__init__("progress", client)
        self._client = client
        self._key = keys.progress(identity)
        self._inflight = keys.inflight(identity)
        self._working = working
        self._starting = threading.Lock()
        self._resting = True
        self._refresh_at = 0.0
        # Job threads add; all operations on it that several threads use are atomic.
        self._fresh: set[CurrentJob] = set()
        self._shown: dict[str, CurrentJob] = {}

    def report(self, job: CurrentJob) -> None:
        """Take over what *job* has reported, and have it written. Called in its thread."""
        self.take(job)
        if self._resting:
            if self.ident is None:
                self._start()
            # In this order: an exception of a time limit may come in between.
            self.wake()
            self._resting = False

    def take(self, job: CurrentJob) -> None:
        """Take over what *job* has reported; it is written with the next turn."""
        self._fresh.add(job)

    def _start(self) -> None:
        with self._starting:
            if self.ident is None:
                try:
                    self.start()
                except RuntimeError as error:
                    self.log.error("progress_not_written", error=str(error))

    def last(self, tag: str) -> float | None:
        """When the running job with this tag has reported last (seconds since 1970)."""
        job = self._shown.get(tag)
        seen = None if job is None else job.reported
        return None if seen is None else seen.at

    def turn(self) -> float:
        running = {id(one.job.payload): one.job.tag for one in self._working()}
        fresh = [self._fresh.pop() for _ in range(len(self._fresh))]
        # The job has the very bytes that were claimed; those of one that has ended are not running.
        reports = {tag: job for job in fresh if (tag := running.get(id(job.raw)))}
        ended = [tag for tag, job in self._shown.items() if running.get(id(job.raw)) != tag]
        now = time.monotonic()
        if reports or ended or (self._shown and now >= self._refresh_at):
            self._shown.update(reports)
            try:
                self._write(reports, ended)
            except redis.exceptions.OutOfMemoryError:
                pass  # the keeper logs that Redis is full
            except BaseException:
                self._fresh.update(fresh)
                raise
            self._refresh_at = now + REFRESH
            for tag in ended:
                del self._shown[tag]
        if self._shown:
            return EVERY
        self._resting = True
        return 0.0 if self._fresh else REST

    def _write(self, reports: dict[str, CurrentJob], ended: list[str]) -> None:
        call: list[Argument] = [TTL, len(ended), *ended]
        for tag, job in reports.items():
            call += (tag, msgspec.json.encode(job.reported))
        scripts.PROGRESS(self._client, [self._key, self._inflight], call)

    def leave(self, timeout: float) -> None:
        """Remove all reports, and end the thread: the jobs have ended.

        Raises:
            redis.RedisError: they stay until their TTL is over.
        """
        if self.ident is not None and self.stop(timeout):
            self._client.unlink(self._key)


class Stalls:
    """Logs running jobs that have reported no progress for longer than their ``stalled_after``,
    once each time. Used by the main thread only.

    Args:
        last: when the running job with a tag has reported last.
    """

    def __init__(self, last: Callable[[str], float | None]) -> None:
        self._last = last
        self._log = log.get("jobd.progress")
        # Of the running jobs, by tag: the limit, or None, and the report after which it was logged.
        self._limits: dict[str, float | None] = {}
        self._logged: dict[str, float] = {}

    def look(self, working: list[Working]) -> None:
        """Look at the running jobs; call it about once a second."""
        known, self._limits = self._limits, {}
        for one in working:
            tag = one.job.tag
            limit = known[tag] if tag in known else limit_of(one.job.payload)
            self._limits[tag] = limit
            if limit is not None:
                self._judge(one, limit)
        if self._logged:
            self._logged = {tag: at for tag, at in self._logged.items() if tag in self._limits}

    def _judge(self, one: Working, limit: float) -> None:
        started = clock.now() - (time.monotonic_ns() - one.started) / 1e9
        reported = self._last(one.job.tag)
        seconds = clock.now() - max(started, reported or 0.0)
        if seconds <= limit or self._logged.get(one.job.tag) == (reported or 0.0):
            return
        self._logged[one.job.tag] = reported or 0.0
        self._log.warning(
            "job_stalled",
            **job_name.log_fields(one.job.payload),
            seconds=round(seconds, 1),
            stalled_after=limit,
        )


_HINT = f'"{STALLED_AFTER}"'.encode()


class _Limited(msgspec.Struct, gc=False):
    stalled_after: float | None = None


_decode = msgspec.json.Decoder(_Limited).decode


def limit_of(payload: bytes) -> float | None:
    """The ``stalled_after`` of the job in *payload*; None if it has none.

    >>> limit_of(b'{"class":"A","stalled_after":30}'), limit_of(b'{"class":"A"}')
    (30.0, None)
    """
    if _HINT not in payload:
        return None
    try:
        limit = _decode(payload).stalled_after
    except UNREADABLE:
        return None
    return limit if limit is not None and limit > 0 else None
