"""How a payload changes on its way: put into a queue, failed, recovered, moved, edited.

What is not to be changed keeps its very bytes, whoever has written it: Sidekiq's dashboard would
not find a job again whose numbers are spelled otherwise.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from jobd.errors import ArgumentError, JobdError, PayloadError
from jobd.text.exceptions import class_of, message_of
from jobd.text.printable import cut
from jobd.wire.arguments import check_arguments
from jobd.wire.options import DEFAULT_QUEUE, opened
from jobd.wire.payload import Payload, decode, encode, new_jid, reason_of, to_json, validate
from jobd.wire.ruby_json import as_ruby

MAX_LINE = 1000
"""Characters of a line of a backtrace that are kept."""

_decode_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def rewritten(raw: bytes, payload: Payload) -> bytes:
    """The bytes of *payload*, in which each value that is as it was in *raw* keeps its bytes.

    Raises:
        PayloadError: *raw* is not a JSON object.
        ArgumentError: something in *payload* is no JSON.
    """
    before = decode(raw)
    try:
        if encode(before) == raw:  # in our own spelling; this is the short way to the same bytes
            known = before.get
            return encode({k: v if known(k) == v else as_ruby(v) for k, v in payload.items()})
    except RecursionError as error:
        raise ArgumentError("the payload is nested too deeply") from error
    fields = _raw_fields(raw)
    return encode({key: _kept(fields.get(key), value) for key, value in payload.items()})


def _kept(before: Any, value: Any) -> Any:
    """*value* for the encoder: its bytes *before*, if they say the same."""
    try:
        if before is not None and to_json(msgspec.json.decode(before)) == to_json(value):
            return before
        return as_ruby(value)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"the payload is not JSON: {error}") from error


def _raw_fields(raw: bytes) -> dict[str, Any]:
    try:
        return _decode_raw_fields(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PayloadError(f"Invalid JSON for job: {reason_of(error)}") from error


def with_enqueued(raw: bytes, now: float) -> tuple[str, bytes]:
    """A scheduled or failed job's payload as it goes (back) to its queue.

    Every value but ``enqueued_at`` keeps its bytes.

    Returns:
        The queue's name, and the new bytes.

    Raises:
        PayloadError: *raw* is not a JSON object, or its queue is not a string.
    """
    fields = _raw_fields(raw)
    queue = _field(fields, "queue", DEFAULT_QUEUE)
    if type(queue) is int:
        queue = str(queue)  # as in Ruby, where the name of a key is text in any case
    if type(queue) is not str or not queue:
        raise PayloadError(f"the queue of a job must be a non-empty string, not {queue!r}")
    fields["enqueued_at"] = now
    return queue, to_json(fields)


def with_queue(raw: bytes, queue: str) -> bytes:
    """The payload of a job that goes to another queue; what is no job stays as it is."""
    try:
        fields = _raw_fields(raw)
    except PayloadError:
        return raw
    return to_json({**fields, "queue": queue})


def with_retry_by_hand(
    raw: bytes, now: float, changes: Mapping[str, Any] | None = None
) -> tuple[str, bytes]:
    """The payload of a job that somebody puts back into its queue: that uses up no retry.

    Args:
        changes: fields to replace, as for a push by name.

    Returns:
        The queue's name, and the new bytes.

    Raises:
        PayloadError: *raw* is not a JSON object, or its queue is not a string.
        ArgumentError: a change is not acceptable.
    """
    fields = _raw_fields(raw)
    count = _field(fields, "retry_count", None)
    if type(count) is int:
        fields["retry_count"] = count - 1
    if changes:
        # A field that it has already is not misspelt.
        new = opened({key: value for key, value in changes.items() if key not in fields})
        new |= {key: value for key, value in changes.items() if key in fields}
        validate({"class": "the job", "args": [], **new})
        check_arguments(new.get("args", []), new.get("kwargs", {}), None)
        fields.update((key, _kept(fields.get(key), value)) for key, value in new.items())
    return with_enqueued(to_json(fields), now)


def with_crash(raw: bytes, *, cause: str, owner: str) -> tuple[int, bytes]:
    """The payload of a job that was running when its process died.

    Every value but ``crashes`` and ``recovered_from`` keeps its bytes.

    Args:
        cause: how the process died, for people.
        owner: the identity of the dead process.

    Returns:
        How many processes have died on this job, and the new bytes.
    """
    fields = _raw_fields(raw)
    before = _field(fields, "crashes", 0)
    crashes = (before if type(before) is int else 0) + 1
    fields["crashes"] = crashes
    fields["recovered_from"] = {"owner": owner, "cause": cause}
    return crashes, to_json(fields)


def _field(fields: Mapping[str, Any], key: str, default: Any) -> Any:
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
        queue: where it was fetched from; its ``retry_queue`` goes first.
        now: seconds since the epoch.
        backtrace: the lines to keep, outermost call last; None keeps none.

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
"""The class of the payload that is put around JSON that is not an object. Nothing runs it."""


def as_object(raw: bytes, *, queue: str, now: float) -> bytes:
    """*raw* for the dead set: JSON that is not an object becomes the argument of one, for Sidekiq's
    page of the dead cannot show it. What is not JSON at all it can."""
    try:
        if type(msgspec.json.decode(raw)) is dict:
            return raw
    except (msgspec.DecodeError, ValueError, RecursionError):
        return raw
    around = {"retry": 0, "queue": queue, "args": [msgspec.Raw(raw)], "class": NOT_A_JOB}
    return to_json({**around, "jid": new_jid(), "created_at": now})


def noted(raw: bytes, *, error: JobdError, queue: str, now: float) -> bytes:
    """The bytes for the dead set with an *error* of ours; as they are where there is no place for
    one, for whatever reason: a job that cannot be read must be kept all the same."""
    try:
        raw = as_object(raw, queue=queue, now=now)
        failed = with_failure(raw, error=error, queue=queue, now=now, backtrace=None)
        return rewritten(raw, failed)
    except Exception:  # noqa: BLE001 - whatever is odd about it, or without memory
        return raw


def pack_backtrace(lines: Iterable[str]) -> str:
    """Base64 of the deflated JSON array of *lines*, as dashboards read it."""
    clean = [cut(line, MAX_LINE).encode(errors="replace").decode() for line in lines]
    return base64.b64encode(zlib.compress(to_json(clean))).decode("ascii")
