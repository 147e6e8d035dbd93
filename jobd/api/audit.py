"""The audit log: who did what to how many jobs, and when.

An entry is written by the same script that makes the change, so there is no change without its
entry and no entry without its change. The log keeps about the last 10,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

from jobd.api.reading import BYTES, Stride, check_bounds, integer, text, unsigned
from jobd.api.session import Session, session_or_default
from jobd.errors import ArgumentError


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that somebody did.

    Attributes:
        id: its place in the log; older entries have smaller ones.
        ref: id of the action; that of the deletion in the trash, if there is one.
        who, action: by whom, and what was done, e.g. ``retry``.
        target: to what: ``queue:NAME``, the name of a set, the identity of a process, or
            ``deploy:LABEL`` …
        jobs: to how many jobs (or queues, or processes).
        at: when it ended, seconds since 1970.
    """

    id: str
    ref: str
    who: str
    action: str
    target: str
    jobs: int
    at: float

    @property
    def place(self) -> tuple[int, int]:
        """Its place in the log as numbers, which can be compared."""
        milliseconds, _, sequence = self.id.partition("-")
        return int(milliseconds), int(sequence)


class Audit:
    """The log.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> for entry in Audit(api).page():  # doctest: +SKIP
        ...     print(entry.at, entry.who, entry.action, entry.jobs, "in", entry.target)
    """

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)

    @property
    def size(self) -> int:
        """How many entries there are; one command, O(1)."""
        size = self._api.redis.xlen(self._api.keys.audit)
        return int(size)

    def page(self, count: int = 25, *, before: str = "") -> list[AuditEntry]:
        """The last entries; some commands, O(*count*). Where entries are large it ends after about
        4 MB, so the page is shorter.

        The steps of one long action are one entry, if they are on the page together: what has the
        same id, and was done by the same one to the same target.

        Args:
            count: how many, up to 1,000.
            before: only those before the entry with this id; the last one's of the page before.

        Raises:
            ArgumentError: *count* is out of bounds, or *before* is no id.
        """
        check_bounds(0, count)
        milliseconds, _, sequence = before.partition("-")
        place = unsigned(milliseconds), unsigned(sequence)
        if before and None in place:
            raise ArgumentError(f"{before[:50]!r} is no id of an entry of the audit log")
        if before and place == (0, 0):
            return []  # there is nothing before the first one, and Redis refuses to look
        end = f"({before}" if before else "+"
        merged: dict[tuple[str, ...], AuditEntry] = {}
        for entry in (_entry(text(ident), fields) for ident, fields in self._read(end, count)):
            action = (entry.ref, entry.who, entry.action, entry.target)
            newer = merged.get(action)
            if newer is not None:
                # The id is the older one, for the next page.
                entry = replace(entry, jobs=newer.jobs + entry.jobs, at=newer.at)
            merged[action] = entry
        return list(merged.values())

    def _read(self, end: str, count: int) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        """The entries before *end*, about :data:`BYTES` of them."""
        stride, room = Stride(), BYTES
        while count > 0 and room > 0:
            read = self._api.redis.xrevrange(
                self._api.keys.audit, end, "-", count=min(count, stride.entries)
            )
            found = cast("list[tuple[bytes, dict[bytes, bytes]]]", read)
            if not found:
                break
            yield from found
            sizes = [sum(map(len, fields.values())) for _, fields in found]
            stride.took(sizes)
            end, count, room = f"({text(found[-1][0])}", count - len(found), room - sum(sizes)

    def __iter__(self) -> Iterator[AuditEntry]:
        """All entries, the last one first, read in bounded steps as they are needed."""
        page = self.page(1000)
        while page:
            yield from page
            page = self.page(1000, before=min(page, key=lambda one: one.place).id)


def _entry(ident: str, fields: dict[bytes, bytes]) -> AuditEntry:
    return AuditEntry(
        id=ident,
        ref=text(fields.get(b"id", b"")),
        who=text(fields.get(b"who", b"")),
        action=text(fields.get(b"action", b"")),
        target=text(fields.get(b"target", b"")),
        jobs=integer(fields.get(b"jobs")),
        at=int(ident.partition("-")[0]) / 1000,
    )
