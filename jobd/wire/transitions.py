"""Changes of a payload: enqueued, failed, recovered, moved, edited.

Unchanged values keep their exact bytes: Sidekiq's dashboard cannot find a job whose numbers are
written differently.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from jobd.errors import ArgumentError, JobdError, PayloadError
from jobd.text.exceptions import class_of, message_of
from jobd.text.printable import cut
from jobd.wire import attachments
from jobd.wire.arguments import check_arguments
from jobd.wire.json_value import UNREADABLE, UNWRITABLE, Object
from jobd.wire.options import DEFAULT_QUEUE, opened
from jobd.wire.payload import Payload, decode, encode, new_jid, reason_of, to_json, validate
from jobd.wire.ruby_json import as_ruby

MAX_LINE = 1000
"""Characters of a backtrace line that are kept."""

_decode_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def rewritten(raw: bytes, payload: Payload) -> bytes:
    """The bytes of *payload*; values unchanged since *raw* keep their bytes.

    Raises:
        PayloadError: *raw* is not a JSON object.
        ArgumentError: a value in *payload* is not valid JSON.
    """
    before = decode(raw)
    try:
        if encode(before) == raw:  # written by jobd: a faster way to the same bytes
            known = before.get
            return encode({k: v if known(k) == v else as_ruby(v) for k, v in payload.items()})
    except RecursionError as error:
        raise ArgumentError("the payload is nested too deeply") from error
    fields = _raw_fields(raw)
    return encode({key: _kept(fields.get(key), value) for key, value in payload.items()})


def _kept(before: msgspec.Raw | None, value: object) -> object:
    """*value* for the encoder: its bytes *before*, if they decode to the same value."""
    try:
        if before is not None and to_json(msgspec.json.decode(before)) == to_json(value):
            return before
        return as_ruby(value)
    except UNWRITABLE as error:
        raise ArgumentError(f"the payload is not JSON: {error}") from error


def _raw_fields(raw: bytes) -> Object:
    try:
        return _decode_raw_fields(raw)
    except UNREADABLE as error:
        raise PayloadError(f"Invalid JSON for job: {reason_of(error)}") from error


def with_enqueued(raw: bytes, now: float) -> tuple[str, bytes]:
    """The payload of a scheduled or failed job that is moved to its queue.

    All values except ``enqueued_at`` keep their bytes.

    Returns:
        The queue's name, and the new bytes.

    Raises:
        PayloadError: *raw* is not a JSON object, or its queue is not a string.
    """
    fields = _raw_fields(raw)
    queue = _field(fields, "queue", DEFAULT_QUEUE)
    if type(queue) is int:
        queue = str(queue)  # as in Ruby, where it becomes part of the key's name
    if type(queue) is not str or not queue:
        raise PayloadError(f"the queue of a job must be a non-empty string, not {queue!r}")
    fields["enqueued_at"] = now
    return queue, to_json(fields)


_STAMP = b',"enqueued_at":'


def without_enqueued(raw: bytes) -> bytes:
    """The payload of a push that is held back: a script writes the time when it goes on.

    >>> without_enqueued(b'{"args":[],"enqueued_at":17.5}')
    b'{"args":[]}'
    """
    return up_to_enqueued(raw) + b"}"


def up_to_enqueued(raw: bytes) -> bytes:
    """The same without the brace at its end, where the script writes the time.

    >>> up_to_enqueued(b'{"args":[],"enqueued_at":17.5}')
    b'{"args":[]'
    """
    head, stamp, tail = raw.rpartition(_STAMP)
    if stamp and tail[:-1].replace(b".", b"", 1).isdigit():
        return head  # written last, by the client
    return with_fields(raw, {"enqueued_at": None})[:-1]


def with_fields(raw: bytes, changes: Mapping[str, object]) -> bytes:
    """The payload with other fields; those that are None are left out, all others keep their bytes.

    Raises:
        PayloadError: *raw* is not a JSON object.
    """
    fields = {**_raw_fields(raw), **changes}
    return to_json({key: value for key, value in fields.items() if value is not None})


def with_queue(raw: bytes, queue: str) -> bytes:
    """The payload of a job that is moved to another queue; other bytes are unchanged."""
    try:
        return with_fields(raw, {"queue": queue})
    except PayloadError:
        return raw


def with_retry_by_hand(
    raw: bytes, now: float, changes: Mapping[str, object] | None = None
) -> tuple[str, bytes]:
    """The payload of a job that a user moves back to its queue: this does not count as a retry.

    Args:
        changes: fields to replace, as for a push by name.

    Returns:
        The queue's name, and the new bytes.

    Raises:
        PayloadError: *raw* is not a JSON object, or its queue is not a string.
        ArgumentError: a change is invalid.
    """
    fields = _raw_fields(raw)
    count = _field(fields, "retry_count", None)
    if type(count) is int:
        fields["retry_count"] = count - 1
    _clear(fields)
    if changes:
        _change(fields, changes)
    return with_enqueued(to_json(fields), now)


def with_changes(raw: bytes, changes: Mapping[str, object]) -> bytes:
    """The payload of a job that stays in a queue, with other values for some fields.

    Args:
        changes: as for :func:`with_retry_by_hand`, which raises the same.
    """
    fields = _raw_fields(raw)
    _change(fields, changes)
    return to_json(fields)


def _change(fields: Object, changes: Mapping[str, object]) -> None:
    if attachments.FIELD in changes:
        raise ArgumentError(f"the field {attachments.FIELD} cannot be changed by hand")
    if "jid" in changes and attachments.FIELD in fields:
        raise ArgumentError("the id of this job cannot be changed: what hangs on it has it")
    # A field that the payload already has is not misspelt: Ruby may read it.
    if wrong := sorted(attachments.OPTIONS & changes.keys() - fields.keys()):
        raise ArgumentError(
            f"{', '.join(wrong)}: such options have an effect only when a job is pushed, not on "
            "one that is there; push another job with them, and delete this one"
        )
    new: Payload = opened({key: value for key, value in changes.items() if key not in fields})
    new |= {key: value for key, value in changes.items() if key in fields}
    validate({"class": "the job", "args": [], **new})
    check_arguments(new.get("args", []), new.get("kwargs", {}), None)
    fields.update((key, _kept(fields.get(key), value)) for key, value in new.items())


def _clear(fields: dict[str, object]) -> None:
    """A job that a person puts into its queue runs, however late it is."""
    try:
        before = attachments.read(_field(fields, attachments.FIELD, None))
    except (attachments.Unknown, PayloadError):
        return
    field = attachments.written(replace(before, expires_at=None, snoozes=0))
    if field is None:
        fields.pop(attachments.FIELD, None)
    else:
        fields[attachments.FIELD] = field


def with_crash(raw: bytes, *, cause: str, owner: str) -> tuple[int, bytes]:
    """The payload of a job that was running when its process died.

    All values except ``crashes`` and ``recovered_from`` keep their bytes.

    Args:
        cause: how the process died, as text for display.
        owner: the identity of the dead process.

    Returns:
        How many processes have died while running this job, and the new bytes.
    """
    fields = _raw_fields(raw)
    before = _field(fields, "crashes", 0)
    crashes = (before if type(before) is int else 0) + 1
    fields["crashes"] = crashes
    fields["recovered_from"] = {"owner": owner, "cause": cause}
    return crashes, to_json(fields)


def _field(fields: Object, key: str, default: object) -> object:
    raw = fields.get(key)
    value = None if raw is None else msgspec.json.decode(raw)
    return default if value is None else value


def with_failure(
    raw: bytes,
    *,
    error: BaseException,
    queue: str,
    now: float,
    backtrace: Iterable[str] | None,
) -> Payload:
    """The payload of a job that has just failed; see :func:`rewritten`.

    Args:
        queue: the queue it was fetched from; its ``retry_queue`` takes precedence.
        now: seconds since the epoch.
        backtrace: the lines to keep, outermost call last; None for none.

    Raises:
        PayloadError: *raw* is not a JSON object.
    """
    payload = decode(raw)
    payload["queue"] = payload.get("retry_queue") or queue
    payload["error_message"] = message_of(error)
    payload["error_class"] = class_of(error)
    if type(payload.get("retry_count")) is int:
        payload["retried_at"] = now
        payload["retry_count"] += 1
    else:
        payload["failed_at"] = now
        payload["retry_count"] = 0
    if backtrace is not None:
        payload["error_backtrace"] = pack_backtrace(backtrace)
    return payload


NOT_A_JOB = "NotAJob"
"""Class of the payload that wraps JSON that is not an object. It is never run."""


def as_object(raw: bytes, *, queue: str, now: float) -> bytes:
    """*raw* for the dead set: JSON that is not an object is wrapped in a payload, because Sidekiq's
    page of dead jobs cannot show it. Bytes that are not JSON it can show."""
    try:
        if type(msgspec.json.decode(raw)) is dict:
            return raw
    except UNREADABLE:
        return raw
    around = {"retry": 0, "queue": queue, "args": [msgspec.Raw(raw)], "class": NOT_A_JOB}
    return to_json({**around, "jid": new_jid(), "created_at": now})


def noted(raw: bytes, *, error: JobdError, queue: str, now: float) -> bytes:
    """The bytes for the dead set, with jobd's *error* added; unchanged if that fails for any
    reason, because an unreadable job must be kept, too."""
    try:
        raw = as_object(raw, queue=queue, now=now)
        failed = with_failure(raw, error=error, queue=queue, now=now, backtrace=None)
        return rewritten(raw, failed)
    except Exception:  # noqa: BLE001 - any defect of the payload, or out of memory
        return raw


def pack_backtrace(lines: Iterable[str]) -> str:
    """Base64 of the deflated JSON array of *lines*, the format that dashboards read."""
    clean = [cut(line, MAX_LINE).encode(errors="replace").decode() for line in lines]
    return base64.b64encode(zlib.compress(to_json(clean))).decode("ascii")
