"""An entry of a sorted set: a job and its time."""

from __future__ import annotations

import datetime
import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jobd.api.records import JobRecord
from jobd.api.session import Session
from jobd.when import When

if TYPE_CHECKING:
    from jobd.api.jobset import JobSet

MOST_JID = 64
"""Characters of an id that may stand for its job in a URL."""


def is_plain(jid: str) -> bool:
    """Whether *jid* is an id as everybody makes them, fit for a URL.

    >>> is_plain("1befef82961e0772dce5ae4d"), is_plain("<b>"), is_plain("a" * 1000)
    (True, False, False)
    """
    short = 0 < len(jid) <= MOST_JID and jid.isascii()
    return short and jid.replace("-", "").replace("_", "").isalnum()


class SortedEntry(JobRecord):
    """A job that waits for its time, or that has died. Its set makes it.

    Attributes:
        score: when it runs next, or when it died: seconds since 1970.
        parent: the set that it is in.

    Example:
        >>> for entry in api.retries.page():  # doctest: +SKIP
        ...     print(entry.at, entry.display_class, entry.error_message)
    """

    def __init__(self, value: bytes, score: float, parent: JobSet, api: Session) -> None:
        super().__init__(value, None, api)
        self.score = score
        self.parent = parent

    def _identity(self) -> tuple[object, ...]:
        return (self.value, self.score, self.parent.name)

    @property
    def at(self) -> datetime.datetime | None:
        """The score as a time (UTC); None where it is none."""
        try:
            return datetime.datetime.fromtimestamp(self.score, datetime.UTC)
        except (OverflowError, ValueError, OSError):
            return None

    @property
    def waits(self) -> float:
        """Seconds until its time; below zero when that has passed."""
        return self.score - time.time() if math.isfinite(self.score) else self.score

    @property
    def key(self) -> str:
        """What stands for it in a URL, as on Sidekiq's pages: ``SCORE-JID``. One without a usable
        id has a digest of its bytes instead; see :meth:`JobSet.find`."""
        jid = self.jid
        plain = is_plain(jid)
        return f"{self.score!r}-{jid if plain else '~' + self.digest}"

    @property
    def failed(self) -> bool:
        """Whether it has failed before."""
        return bool(self.error_class or self.error_message)

    def delete(self) -> bool:
        """Delete it; one script. Returns whether it was still there, as do all of these."""
        return self.parent.delete(self) == 1

    def reschedule(self, when: When) -> bool:
        """Give it another time; one script.

        Args:
            when: as for ``perform_at``: seconds since 1970, seconds from now (below
                1,000,000,000), a timedelta or an aware datetime.
        """
        return self.parent.reschedule(when, self) == 1

    def add_to_queue(self) -> bool:
        """Put it into its queue now; one script. A malformed job stays where it is."""
        return self.parent.add_to_queue(self) == 1

    def retry(self, changes: Mapping[str, Any] | None = None) -> bool:
        """Put it into its queue now, without using up one of its retries; one script.

        Args:
            changes: fields of the payload to replace, e.g. ``{"args": [8]}``.

        Raises:
            ArgumentError: a change is not acceptable.
        """
        return self.parent.retry(self, changes=changes) == 1

    def replace(self, changes: Mapping[str, Any]) -> bool:
        """Put it into its queue now, with *changes*, and what it was into the trash; one script.
        See :meth:`JobSet.replace`."""
        return self.parent.replace(self, changes)

    def kill(self) -> bool:
        """Move it to the dead set; one script."""
        return self.parent.kill(self) == 1
