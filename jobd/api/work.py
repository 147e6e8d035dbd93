"""The jobs that run now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from jobd.api.reading import (
    MOST,
    MOST_HELD,
    answers,
    batches,
    decoded,
    hashes,
    integer,
    mapping,
    members,
    number,
    text,
)
from jobd.api.records import JobRecord, is_plain
from jobd.api.session import Session, session_or_default
from jobd.wire import progress
from jobd.wire.progress import Progress


@dataclass(frozen=True, slots=True)
class Work:
    """One running job.

    Attributes:
        process: identity of its process.
        thread: opaque name of its thread.
        run_at: when it was started, seconds since 1970 (whole ones, but from other writers).
        job: the job; its ``queue`` is the one it was taken from.
        progress: how far it says that it has come, half a second old at most; None if it has not
            said anything.
    """

    process: str
    thread: str
    queue: str
    run_at: float
    job: JobRecord
    progress: Progress | None = None

    @property
    def silent_since(self) -> float:
        """When it has reported last, or else was started (seconds since 1970)."""
        return self.run_at if self.progress is None else max(self.run_at, self.progress.at)

    def stalled(self, now: float) -> bool:
        """Whether it has reported nothing for longer than its ``stalled_after`` allows."""
        limit = self.job.stalled_after
        return limit is not None and now - self.silent_since > limit


class WorkSet:
    """All running jobs, of jobd and Sidekiq, at most ten seconds old.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> for work in WorkSet(api):  # doctest: +SKIP
        ...     print(work.process, work.job.display_class, work.run_at)
    """

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)

    @property
    def size(self) -> int:
        """How many there are, as the processes say; two round trips, O(processes)."""
        keys = self._api.keys
        identities = members(self._api.redis, keys.processes)
        total = 0
        for batch in batches(identities, size=MOST):
            with self._api.redis.pipeline(transaction=False) as pipe:
                for identity in batch:
                    pipe.hget(keys.process(text(identity)), "busy")
                total += sum(map(integer, answers(pipe)))
        return total

    def all(self, most: int | None = None) -> list[Work]:
        """All of them, the longest running first; of large ones about 64 MB.

        Cost: a script for each 125 processes or megabyte, or two where some of them run nothing or
        are Sidekiqs up to 6.4, and some for their list; O(running jobs), of which there are at most
        as many as there are threads.

        Args:
            most: processes that are looked at, any of them where there are more.
        """
        found = members(self._api.redis, self._api.keys.processes, most)
        return self.of(*map(text, found))

    def of(self, *identities: str) -> list[Work]:
        """Those of these processes, the longest running first; costs as :meth:`all`."""
        return sorted(self.each(identities), key=lambda work: work.run_at)

    def each(self, identities: Sequence[str]) -> Iterator[Work]:
        """Those of these processes in no particular order, read as they are needed; of large ones
        about 64 MB."""
        room = MOST_HELD
        for work in self._read(identities):
            if room <= 0:
                return
            room -= len(work.job.value)
            yield work

    def __iter__(self) -> Iterator[Work]:
        return iter(self.all())

    def find_work(self, jid: str) -> Work | None:
        """The running job with this id, None if there is none; costs as :meth:`all`."""
        return next((work for work in self.mentioning(jid) if work.job.jid == jid), None)

    def mentioning(self, jid: str) -> Iterator[Work]:
        """Those whose payloads may hold this id, in no particular order; costs as :meth:`all`."""
        # JSON may write other ids in other ways.
        hint = jid.encode() if is_plain(jid) else b""
        identities = [text(one) for one in members(self._api.redis, self._api.keys.processes)]
        return self._read(identities, hint)

    def _read(self, identities: Sequence[str], hint: bytes = b"") -> Iterator[Work]:
        """Those of these processes whose entries hold *hint*."""
        keys, redis = self._api.keys, self._api.redis
        missing = sorted(identities)
        # One name since Sidekiq 6.5, the other one before; jobd writes both.
        for name in (keys.work, keys.workers):
            asked, missing = missing, []
            pairs = [key(one) for one in asked for key in (keys.progress, name)]
            found = hashes(redis, pairs)
            for identity, reports, threads in zip(asked, found, found, strict=True):
                if not threads:
                    missing.append(identity)
                reported = _by_jid(reports)
                for thread, entry in threads.items():
                    if hint not in entry:
                        continue
                    work = self._work(identity, text(thread), entry, reported)
                    if work is not None:
                        yield work

    def _work(
        self, identity: str, thread: str, entry: bytes, reported: dict[str, Progress]
    ) -> Work | None:
        fields = mapping(decoded(entry))
        if not fields:
            return None
        payload, queue = fields.get("payload"), str(fields.get("queue") or "")
        # Text since Sidekiq 6.0.4, an object before.
        raw = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
        job = JobRecord(raw, queue, self._api)
        began = number(fields.get("run_at"))
        return Work(identity, thread, queue, began, job, reported.get(job.jid))


def _by_jid(reports: dict[bytes, bytes]) -> dict[str, Progress]:
    read = map(progress.read, reports.values())
    return {one.jid: one for one in read if one is not None}
