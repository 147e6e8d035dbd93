"""How far the iterable jobs of Sidekiq have come."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from jobd.api.reading import decoded, hashes, integer, number
from jobd.api.session import Session
from jobd.wire.json_value import JsonValue


@dataclass(frozen=True, slots=True)
class IterableState:
    """How far an iterable job of Sidekiq has come.

    Attributes:
        executions: how often it has been started.
        runtime: seconds that it has run in all.
        cursor: where it goes on, as decoded JSON.
        cancelled_at: seconds since 1970 when it was told to end; None if it was not.
    """

    executions: int
    runtime: float
    cursor: JsonValue
    cancelled_at: float | None


def iterable_states(session: Session, jids: Iterable[str]) -> dict[str, IterableState]:
    """The states of those of these jobs that are iterable and have begun, by their ids.

    Cost: a script for each 250 of them or megabyte.

    Raises:
        UnavailableError: the server does not answer.
    """
    asked = [jid for jid in dict.fromkeys(jids) if jid]
    read = hashes(session.redis, list(map(session.keys.iteration, asked)))
    return {jid: _state(fields) for jid, fields in zip(asked, read, strict=True) if fields}


def _state(fields: dict[bytes, bytes]) -> IterableState:
    cancelled = fields.get(b"cancelled")
    return IterableState(
        executions=integer(fields.get(b"ex")),
        runtime=number(fields.get(b"rt")),
        cursor=decoded(fields.get(b"c", b"null")),
        cancelled_at=None if cancelled is None else number(cancelled),
    )
