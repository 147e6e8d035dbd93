"""One stored job as a person wants to see it.

Redis may hold anything: jobs of any version of Sidekiq, and text that is no job at all. A record
never fails to be made; what cannot be read is empty, and :attr:`Record.raw` always has the bytes.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass, field
from typing import Any

import msgspec

# Active Job wraps the real job; both names of the wrapper are in use.
_WRAPPERS = frozenset(
    {
        "Sidekiq::ActiveJob::Wrapper",
        "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper",
    }
)


def seconds(value: object) -> float | None:
    """A stored time as seconds since 1970: floats are seconds, integers are milliseconds.

    >>> seconds(1795416072.5), seconds(1795416072500), seconds("x")
    (1795416072.5, 1795416072.5, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value / 1000 if isinstance(value, int) else value


@dataclass(frozen=True, slots=True)
class Record:
    """A stored job.

    Attributes:
        raw: the bytes in Redis; by them alone an entry is found again.
        payload: the decoded object; empty when *raw* is none.
    """

    raw: bytes
    payload: dict[str, Any] = field(repr=False)

    @classmethod
    def read(cls, raw: bytes) -> Record:
        """The record of *raw*, whatever it is."""
        try:
            payload = msgspec.json.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            payload = None
        return cls(raw, payload if isinstance(payload, dict) else {})

    def _text(self, key: str) -> str:
        value = self.payload.get(key)
        return value if isinstance(value, str) else ""

    @property
    def jid(self) -> str:
        return self._text("jid")

    @property
    def class_(self) -> str:
        """Name of the job's class; of the wrapped one for Active Job."""
        wrapped = self._text("wrapped") if self._text("class") in _WRAPPERS else ""
        return self._text("display_class") or wrapped or self._text("class")

    @property
    def args(self) -> list[Any]:
        """Arguments; the raw text as the only one where there are none to be read."""
        value = self.payload.get("args")
        return value if isinstance(value, list) else [self.raw.decode(errors="replace")]

    @property
    def kwargs(self) -> dict[str, Any]:
        value = self.payload.get("kwargs")
        return value if isinstance(value, dict) else {}

    @property
    def queue(self) -> str:
        return self._text("queue")

    @property
    def error_class(self) -> str:
        return self._text("error_class")

    @property
    def error_message(self) -> str:
        return self._text("error_message")

    @property
    def error_backtrace(self) -> list[str]:
        """Lines of the backtrace, however the writer packed them; empty when none was kept."""
        packed = self.payload.get("error_backtrace")
        if isinstance(packed, list):
            return [str(line) for line in packed]
        if not isinstance(packed, str):
            return []
        try:
            text = zlib.decompress(base64.b64decode(packed))
            return msgspec.json.decode(text, type=list[str])
        except (binascii.Error, zlib.error, msgspec.DecodeError):
            return []

    @property
    def retry_count(self) -> int | None:
        """Zero-based number of the retry that runs next; None before the first failure."""
        value = self.payload.get("retry_count")
        return value if isinstance(value, int) else None

    @property
    def created_at(self) -> float | None:
        """Seconds since 1970."""
        return seconds(self.payload.get("created_at"))

    @property
    def enqueued_at(self) -> float | None:
        """Seconds since 1970; None while scheduled."""
        return seconds(self.payload.get("enqueued_at"))

    @property
    def failed_at(self) -> float | None:
        """First failure, seconds since 1970."""
        return seconds(self.payload.get("failed_at"))

    @property
    def retried_at(self) -> float | None:
        """Last failure but the first, seconds since 1970."""
        return seconds(self.payload.get("retried_at"))

    def latency(self, now: float) -> float:
        """Seconds that the job has waited in its queue at *now*."""
        since = self.enqueued_at or self.created_at
        return max(0.0, now - since) if since is not None else 0.0
