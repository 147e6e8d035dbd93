"""The detail of a result as it is stored: JSON with the value, or with what went wrong."""

from __future__ import annotations

import traceback

import msgspec

from jobd.errors import ArgumentError
from jobd.text import exceptions
from jobd.text.printable import cut
from jobd.wire.arguments import refuse_foreign
from jobd.wire.json_value import UNREADABLE, UNWRITABLE
from jobd.wire.payload import to_json

MAX_RESULT = 1_048_576
"""Most bytes of a result."""

MAX_TRACEBACK = 20_000
"""Characters of a traceback that are kept, the last ones."""

MAX_MESSAGE = 10_000


class Detail(msgspec.Struct, omit_defaults=True):
    """What became of a job.

    Attributes:
        value: what the function has returned.
        lost: why there is no value although the function has returned one.
        error_class, message, traceback: of the exception of a job that failed.
    """

    value: object = None
    lost: str | None = None
    error_class: str | None = msgspec.field(default=None, name="class")
    message: str | None = None
    traceback: str | None = None


def done(value: object) -> bytes:
    """The detail of a job that has returned *value*.

    Raises:
        ArgumentError: JSON cannot carry it, or it is too large.

    >>> done([1, None]), done(None)
    (b'{"value":[1,null]}', b'{}')
    """
    if value is None:
        return b"{}"
    try:
        refuse_foreign("the result", value)
        detail = to_json(Detail(value))
    except UNWRITABLE as error:
        raise ArgumentError(f"the result is not JSON: {error}") from None
    if len(detail) > MAX_RESULT:
        raise ArgumentError(
            f"the result has {len(detail):,} bytes, but at most {MAX_RESULT:,} are kept. Store the "
            "data elsewhere and return a reference to it"
        )
    return detail


def done_if_possible(value: object) -> bytes:
    """The same, without an error: for a result that nobody has asked for."""
    try:
        return done(value)
    except ArgumentError as error:
        return not_kept(str(error))


def not_kept(why: str) -> bytes:
    """The detail of a job whose result cannot be kept."""
    return to_json(Detail(lost=why))


def failed(error: BaseException) -> bytes:
    """The detail of a job that has failed for good."""
    try:
        lines = traceback.format_exception(error)
    except Exception:  # noqa: BLE001 - a property of the application's exception
        lines = []
    return to_json(
        Detail(
            error_class=exceptions.class_of(error),
            message=cut(exceptions.message_of(error), MAX_MESSAGE),
            traceback="".join(lines)[-MAX_TRACEBACK:].encode(errors="replace").decode(),
        )
    )


def read(raw: bytes) -> Detail:
    """A stored detail; an empty one if a program has written something else.

    >>> read(b'{"value":3}').value, read(b"?").value
    (3, None)
    """
    try:
        return msgspec.json.decode(raw, type=Detail)
    except UNREADABLE:
        return Detail()
