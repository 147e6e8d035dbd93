"""The jobs that processes of Sidekiq Pro have taken with ``super_fetch``: while one runs it is in a
list of its process for its queue, and it stays there if the process dies, until another one of
Sidekiq Pro puts it back."""

from __future__ import annotations

from collections.abc import Iterator

from jobd.api.reading import STEP, members, portion, text
from jobd.api.records import JobRecord, is_plain
from jobd.api.session import Session


def private(session: Session, mentioned: str = "") -> Iterator[JobRecord]:
    """Those whose payloads may hold this text, in no particular order. Cost: O(such jobs), in
    bounded steps; one round trip where no Sidekiq Pro is."""
    keys, redis = session.keys, session.redis
    # JSON may write other texts in other ways.
    hint = mentioned.encode() if is_plain(mentioned) else b""
    for process in map(text, members(redis, keys.super_processes)):
        for name in members(redis, keys.super_queues(process)):
            queue = text(name).split("|", 2)[-1]
            raws, place, size = list[bytes](), 0, 1
            while place < size and (place == 0 or raws):
                size, raws = portion(redis, keys.private(process, queue), "tail", place, STEP)
                place += len(raws)
                yield from (JobRecord(raw, queue, session) for raw in raws if hint in raw)
