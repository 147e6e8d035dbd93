"""One stored job as a person wants to see it.

Redis may hold anything: jobs of any version of Sidekiq, and text that is no job at all. A record
never fails to be made or read; what cannot be read is empty, and :attr:`JobRecord.value` always has
the bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable
from functools import cached_property

import msgspec

from jobd.ambient import clock
from jobd.api import display
from jobd.api.iterations import IterableState, iterable_states
from jobd.api.queued import delete_queued
from jobd.api.reading import decoded, mapping, number, text, texts
from jobd.api.session import Change, Session, session_or_default
from jobd.wire import attachments
from jobd.wire.attachments import Attachments
from jobd.wire.json_value import UNREADABLE, UNWRITABLE, Array, JsonValue, Object

MOST_BACKTRACE = 1024 * 1024
"""Bytes of an unpacked backtrace that are read; a few packed ones can become gigabytes."""

MOST_JID = 64
"""Characters of an id that may stand for its job in a URL."""


def is_plain(jid: str) -> bool:
    """Whether *jid* is an id as everybody makes them, fit for a URL.

    >>> is_plain("1befef82961e0772dce5ae4d"), is_plain("<b>"), is_plain("a" * 1000)
    (True, False, False)
    """
    short = 0 < len(jid) <= MOST_JID and jid.isascii()
    return short and jid.replace("-", "").replace("_", "").isalnum()


def digest_of(raw: bytes) -> str:
    """Sixteen hexadecimal digits that stand for these bytes.

    >>> digest_of(b"{}")
    '44136fa355b3678a'
    """
    return hashlib.sha256(raw).hexdigest()[:16]


def seconds(value: object) -> float | None:
    """A stored time as seconds since 1970: floats are seconds, integers are milliseconds.

    >>> seconds(1795416072.5), seconds(1795416072500), seconds("x")
    (1795416072.5, 1795416072.5, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An integer beyond all floats is no time.
    return number(value / 1000 if abs(value) < 2**63 else 0) if isinstance(value, int) else value


class JobRecord:
    """A stored job.

    Args:
        value: the bytes in Redis.
        queue: name of the queue that it is in; by default what the payload says.
        api: the connection; the default one when None.

    Attributes:
        value: the bytes; by them alone the job is found again.

    Example:
        >>> record = JobRecord(b'{"class":"Mail","args":[7],"jid":"ab"}', "low")
        >>> record.display_class, record.args, record.jid, record.queue
        ('Mail', [7], 'ab', 'low')
    """

    def __init__(
        self,
        value: bytes,
        queue: str | None = None,
        api: Session | None = None,
        *,
        place: int | None = None,
    ) -> None:
        self.value = value
        self._queue = queue
        self._api = api
        self._place = place

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JobRecord):
            return NotImplemented
        return type(self) is type(other) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        return (self.value, self._queue)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.display_class!r}, jid={self.jid!r})"

    # -- the payload ---------------------------------------------------------------------------

    @cached_property
    def item(self) -> dict[str, JsonValue]:
        """All fields; empty when the bytes are no JSON object."""
        return mapping(decoded(self.value))

    @property
    def before(self) -> int | None:
        """Jobs of its queue that were to run before it when it was read; None if it was not read
        from a queue."""
        return self._place

    @property
    def malformed(self) -> bool:
        """Whether it is no job: show :attr:`display_raw` instead of the rest."""
        return not self.klass or not isinstance(self.item.get("args"), list)

    @property
    def raw(self) -> str:
        """The bytes as text; those that are none are replaced. Not for showing."""
        return text(self.value)

    @property
    def encrypted(self) -> bool:
        """Whether a part of it is not for showing; taken for granted of bytes that are no object of
        JSON and have the word."""
        return bool(self.item.get("encrypt")) if self.item else b'"encrypt"' in self.value

    @property
    def display_raw(self) -> str:
        """The bytes as text for showing; of a job with ``encrypt`` the fields, secrets hidden."""
        if not self.encrypted:
            return self.raw
        if not self.item:
            return display.ENCRYPTED
        try:
            return text(msgspec.json.encode(display.hidden(self.item)))
        except UNWRITABLE:
            return display.ENCRYPTED

    def matches(self, pattern: Callable[[bytes], object]) -> bool:
        """Whether the bytes match; of what is encrypted those that are shown as well, or searches
        would tell a secret letter by letter. What does not match is not decoded."""
        if not pattern(self.value):
            return False
        return not self.encrypted or bool(pattern(self.display_raw.encode(errors="replace")))

    @property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that stand for the bytes, e.g. in a URL."""
        return digest_of(self.value)

    def __getitem__(self, key: str) -> JsonValue:
        """A field of the payload; None if it has none of that name."""
        return self.item.get(key)

    def _text(self, key: str) -> str:
        value = self.item.get(key)
        return value if isinstance(value, str) else ""

    @property
    def jid(self) -> str:
        return self._text("jid")

    @property
    def bid(self) -> str:
        """Id of its batch."""
        return self._text("bid")

    @property
    def attachments(self) -> Attachments:
        """What hangs on the job: its expiry, its context, its parent. Those that this version does
        not know are left out."""
        return attachments.known(self[attachments.FIELD])

    @property
    def parent_jid(self) -> str:
        """Id of the job that pushed it; "" if none did, or nothing recorded it."""
        return self.attachments.parent or ""

    @property
    def root_jid(self) -> str:
        """Id of the job with which that began."""
        return self.attachments.root or ""

    @property
    def traceparent(self) -> str:
        """The trace that it belongs to, in the format of W3C Trace Context."""
        return self._text("traceparent")

    @property
    def klass(self) -> str:
        """The ``class`` field."""
        return self._text("class")

    @property
    def display_class(self) -> str:
        """What people call it: the wrapped job's name for Active Job, the mail's for a mailer."""
        return display.class_name(self.item)

    @property
    def queue(self) -> str:
        return self._text("queue") if self._queue is None else self._queue

    @property
    def args(self) -> Array:
        """Positional arguments as they are stored, encrypted ones too: not for showing."""
        value = self.item.get("args")
        return value if isinstance(value, list) else []

    @property
    def kwargs(self) -> Object:
        """Keyword arguments as they are stored."""
        return mapping(self.item.get("kwargs"))

    @property
    def display_args(self) -> list[JsonValue]:
        """Positional arguments for showing: unwrapped, secrets hidden. A malformed job has one,
        the text of its bytes, secrets hidden."""
        return [self.display_raw] if self.malformed else display.arguments(self.item)[0]

    @property
    def display_kwargs(self) -> dict[str, JsonValue]:
        """Keyword arguments for showing."""
        return {} if self.malformed else display.arguments(self.item)[1]

    @property
    def tags(self) -> tuple[str, ...]:
        return texts(self.item.get("tags"))

    @property
    def stalled_after(self) -> float | None:
        """Seconds without a report of progress after which it counts as stalled while it runs."""
        value = self.item.get("stalled_after")
        limit = number(value) if type(value) in (int, float) else 0.0
        return limit if limit > 0 else None

    # -- failures ------------------------------------------------------------------------------

    @property
    def error_class(self) -> str:
        return self._text("error_class")

    @property
    def error_message(self) -> str:
        return self._text("error_message")

    @property
    def error_backtrace(self) -> list[str]:
        """Lines of the backtrace, innermost first, however the writer has packed them; empty when
        none was kept. Of a huge one the first megabyte."""
        packed = self.item.get("error_backtrace")
        if isinstance(packed, list):
            return [line if isinstance(line, str) else repr(line)[:1000] for line in packed]
        return unpacked(packed) if isinstance(packed, str) else []

    @property
    def retry_count(self) -> int | None:
        """Zero-based number of the retry that runs next; None before the first failure, and where
        it is beyond signed 64 bits."""
        value = self.item.get("retry_count")
        return value if type(value) is int and -(2**63) <= value < 2**63 else None

    # -- times: seconds since 1970 ---------------------------------------------------------------

    @property
    def created_at(self) -> float | None:
        return seconds(self.item.get("created_at"))

    @property
    def enqueued_at(self) -> float | None:
        """None while it is scheduled."""
        return seconds(self.item.get("enqueued_at"))

    @property
    def failed_at(self) -> float | None:
        """First failure."""
        return seconds(self.item.get("failed_at"))

    @property
    def retried_at(self) -> float | None:
        """Last failure but the first."""
        return seconds(self.item.get("retried_at"))

    @property
    def latency(self) -> float:
        """Seconds since it was put into its queue; 0.0 where nobody noted that."""
        return self.waited(clock.now())

    def waited(self, now: float) -> float:
        """The latency at *now*."""
        since = self.enqueued_at or self.created_at
        return max(0.0, now - since) if since is not None else 0.0

    # -- asking and changing ---------------------------------------------------------------------

    def iterable_state(self) -> IterableState | None:
        """How far it has come, if it is an iterable job of Sidekiq that has begun; one command.

        Raises:
            UnavailableError: the server does not answer.
        """
        found = iterable_states(session_or_default(self._api), [self.jid])
        return found.get(self.jid)

    def delete(self) -> bool:
        """Take it out of its queue; costs as :meth:`jobd.api.Queue.delete`.

        Returns:
            Whether it was still there.
        """
        session = session_or_default(self._api)
        action = Change(session, "delete", f"queue:{self.queue}")
        return delete_queued(session, action, self.queue, [(self.before, self.value)]) == 1


def weight(record: JobRecord) -> int:
    """Its bytes."""
    return len(record.value)


def unpacked(packed: str) -> list[str]:
    """The lines of a packed backtrace, the first megabyte of them; empty if it is none."""
    try:
        raw = base64.b64decode(packed)
        unpacking = zlib.decompressobj()
        found = unpacking.decompress(raw, MOST_BACKTRACE)
    except (binascii.Error, ValueError, zlib.error):
        return []
    if not unpacking.eof:
        # Cut behind the last whole line.
        found = found[: found.rfind(b'",') + 1] + b"]"
    try:
        return msgspec.json.decode(found, type=list[str])
    except UNREADABLE:
        return []
