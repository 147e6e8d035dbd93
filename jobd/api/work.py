"""The jobs that run now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from jobd.api.entries import is_plain
from jobd.api.reading import answers, batches, decoded, integer, mapping, members, number, text
from jobd.api.records import JobRecord
from jobd.api.session import Session, session_or_default

MOST_PROCESSES = 100
"""Processes whose jobs are read in one round trip."""


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
        if not identities:
            return 0
        with self._api.redis.pipeline(transaction=False) as pipe:
            for identity in identities:
                pipe.hget(keys.process(text(identity)), "busy")
            return sum(map(integer, answers(pipe)))

    def all(self) -> list[Work]:
        """All of them, the longest running first.

        Cost: a round trip for each 100 processes, or two where some of them run nothing or are
        Sidekiqs up to 6.4, and one for their list; O(running jobs), of which there are at most as
        many as there are threads.
        """
        identities = [text(one) for one in members(self._api.redis, self._api.keys.processes)]
        return self.of(*identities)

    def of(self, *identities: str) -> list[Work]:
        """Those of these processes, the longest running first; a round trip or two for each 100."""
        return sorted(self._read(identities), key=lambda work: work.run_at)

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
        for batch in batches(sorted(identities), size=MOST_PROCESSES):
            for identity, threads in self._threads(batch).items():
                for thread, entry in threads.items():
                    if hint not in entry:
                        continue
                    work = self._work(identity, text(thread), entry)
                    if work is not None:
                        yield work

    def _threads(self, identities: list[str]) -> dict[str, dict[bytes, bytes]]:
        """The busy threads by process, as they are stored."""
        keys = self._api.keys
        found: dict[str, Any] = {}
        # One name since Sidekiq 6.5, the other one before; jobd writes both.
        for name in (keys.work, keys.workers):
            missing = [identity for identity in identities if not found.get(identity)]
            with self._api.redis.pipeline(transaction=False) as pipe:
                for identity in missing:
                    pipe.hgetall(name(identity))
                found |= dict(zip(missing, answers(pipe) if missing else (), strict=True))
        return {identity: found[identity] or {} for identity in identities}

    def _work(self, identity: str, thread: str, entry: bytes) -> Work | None:
        fields: dict[str, Any] = mapping(decoded(entry))
        if not fields:
            return None
        payload, queue = fields.get("payload"), str(fields.get("queue") or "")
        # Text since Sidekiq 6.0.4, an object before.
        raw = payload.encode() if isinstance(payload, str) else msgspec.json.encode(payload)
        job = JobRecord(raw, queue, self._api)
        return Work(identity, thread, queue, number(fields.get("run_at")), job)
