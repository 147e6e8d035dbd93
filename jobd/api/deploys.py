"""Deploys, as marks in the charts: what changed when the failures began."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from jobd.ambient import clock
from jobd.api.reading import hashes, text
from jobd.api.session import Change, Session, session_or_default
from jobd.errors import ArgumentError
from jobd.store import scripts
from jobd.store.protocol import Argument

KEPT = 90 * 86_400
"""Seconds that a deploy is remembered, from the last one of its day."""

MOST_DAYS = 90

MOST_MARKS, MOST_LABEL = 2_000, 1_000
"""Deploys of one look, and bytes of a label."""

_TOLD = 200
"""Characters of a label in the audit log."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A deploy.

    Attributes:
        at: when that was, to the minute.
        label: what was deployed.
    """

    at: datetime.datetime
    label: str


class Deploys:
    """The deploys that have been marked.

    Args:
        api: the connection; the default one when None.

    Example:
        >>> api.deploys.mark("a1b2c3d Send mails twice")  # doctest: +SKIP
        True
    """

    def __init__(self, api: Session | None = None) -> None:
        self._api = session_or_default(api)

    def mark(self, label: str, at: float | None = None) -> bool:
        """Note a deploy; one script. Call it from the script that deploys, on any host.

        Args:
            label: what it is, e.g. the hash and subject of the commit.
            at: seconds since 1970; now by default.

        Returns:
            Whether it is noted. Each host may call this: a label is noted once within 60 seconds.
            And a minute has one mark, in the form of Sidekiq: the first one stays.

        Raises:
            ArgumentError: the label is empty.
        """
        if not label:
            raise ArgumentError("a deploy needs a label, such as the hash and subject of a commit")
        at = clock.now() if at is None else at
        minute = datetime.datetime.fromtimestamp(at // 60 * 60, datetime.UTC)
        keys = [self._api.keys.marks(at), self._api.keys.deploy_lock(label)]
        arguments: list[Argument] = [f"{minute:%Y-%m-%dT%H:%M:%SZ}", label, KEPT]
        action = Change(self._api, "mark", f"deploy:{label[:_TOLD]}")
        return bool(action.call(scripts.DEPLOY, keys, arguments))

    def fetch(self, days: int = 1, last: datetime.date | None = None) -> list[Mark]:
        """The deploys of some UTC days, oldest first, the last 2,000 of them; a script for each
        megabyte.

        Args:
            days: how many, from 1 to 90.
            last: the last one; today by default.

        Raises:
            ArgumentError: *days* is out of bounds.
        """
        if not 1 <= days <= MOST_DAYS:
            raise ArgumentError(f"days must be between 1 and {MOST_DAYS}, not {days}")
        last = last or datetime.datetime.fromtimestamp(clock.now(), datetime.UTC).date()
        midnight = datetime.datetime.combine(last, datetime.time(), datetime.UTC).timestamp()
        keys = [self._api.keys.marks(midnight - back * 86_400) for back in range(days)]
        marks: list[Mark] = []
        for day in hashes(self._api.redis, keys):
            for stamp, label in day.items():
                if (at := _time(text(stamp))) is not None:
                    marks.append(Mark(at, text(label[:MOST_LABEL])))
            if len(marks) > MOST_MARKS:
                break
        return sorted(marks, key=lambda mark: mark.at)[-MOST_MARKS:]


def _time(stamp: str) -> datetime.datetime | None:
    try:
        at = datetime.datetime.fromisoformat(stamp)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
