"""The jobs that run now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Work:
    """One running job.

    Attributes:
        process: identity of its process.
        thread: opaque name of its thread.
        run_at: when it was started, seconds since 1970 (whole ones, but from other writers).
        job: the job; its ``queue`` is the one it was taken from.
    """

    process: str
    thread: str
    queue: str
    run_at: float
    job: JobRecord


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

        Cost: a script for each 250 processes or megabyte, or two where some of them run nothing or
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
        # JSON may write other ids in other ways.
        hint = jid.encode() if is_plain(jid) else b""
        identities = [text(one) for one in members(self._api.redis, self._api.keys.processes)]
        return next((work for work in self._read(identities, hint) if work.job.jid == jid), None)

    def _read(self, identities: Sequence[str], hint: bytes = b"") -> Iterator[Work]:
        """Those of these processes whose entries hold *hint*."""
        keys, redis = self._api.keys, self._api.redis
        missing = sorted(identities)
        # One name since Sidekiq 6.5, the other one before; jobd writes both.
        for name in (keys.work, keys.workers):
            asked, missing = missing, []
            found = hashes(redis, list(map(name, asked)))
            for identity, threads in zip(asked, found, strict=True):
                if not threads:
                    missing.append(identity)
                for thread, entry in threads.items():
                    work = self._work(identity, text(thread), entry) if hint in entry else None
                    if work is not None:
                        yield work

    def _work(self, identity: str, thread: str, entry: bytes) -> Work | None:
        fields: dict[str, Any] = mapping(decoded(entry))
        if not fields:
            return None
        payload, queue = fields.get("payload"), str(fields.get("queue") or "")
        # Text since Sidekiq 6.0.4, an object before.
        raw = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
        job = JobRecord(raw, queue, self._api)
        return Work(identity, thread, queue, number(fields.get("run_at")), job)
