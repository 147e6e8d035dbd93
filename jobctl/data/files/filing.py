"""The file of ``jobctl export`` and ``import``: lines of JSON, from which every byte comes back.

The first line says what it is and has the id of the export, the last one how many jobs there were,
so that a file that was cut off is noticed. Between them is a line for each job.
"""

from __future__ import annotations

import base64

import msgspec

VERSION = 1

SETS = {"retries": "retry", "scheduled": "schedule", "dead": "dead"}
"""What people call the sets, and the names of their keys."""


class Header(msgspec.Struct, frozen=True):
    """The first line.

    Attributes:
        jobd_export: the version of the format.
        id: of this export; a second import of it is refused.
        at: when it was made (seconds since 1970).
    """

    jobd_export: int
    id: str
    at: float


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """A job.

    Attributes:
        place: ``retry``, ``schedule``, ``dead`` or ``queue:NAME``.
        score: of an entry of a set, as Redis has it.
        payload: its bytes, if they are UTF-8.
        base64: its bytes if they are not.
    """

    place: str
    score: str | None = None
    payload: str | None = None
    base64: str | None = None

    @property
    def raw(self) -> bytes:
        """Its bytes.

        Raises:
            ValueError: there are none.
        """
        if self.payload is not None:
            return self.payload.encode()
        if self.base64 is None:
            raise ValueError("neither payload nor base64")
        return base64.b64decode(self.base64, validate=True)


class End(msgspec.Struct, frozen=True):
    """The last line: how many jobs there are."""

    end: int


def stored(place: str, raw: bytes, score: float | None = None) -> Stored:
    """The line for a job.

    >>> stored("dead", b"{}", 7.0).raw, stored("queue:a", b"\\xff").raw
    (b'{}', b'\\xff')
    """
    at = None if score is None else repr(score)
    try:
        return Stored(place, at, raw.decode())
    except UnicodeDecodeError:
        return Stored(place, at, None, base64.b64encode(raw).decode())
