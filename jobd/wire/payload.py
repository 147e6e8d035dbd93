"""The payload: the JSON object that represents a job in Redis.

This module defines the payload's fields, their order and their rules, so that Sidekiq (Ruby) and
jobd can read each other's jobs. Changes of a payload are in transitions.py.

Times are float seconds since the epoch, always written with a fraction: newer versions of Sidekiq
read an integer as milliseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from jobd.ambient import chance
from jobd.errors import ArgumentError, PayloadError
from jobd.wire import attachments
from jobd.wire.arguments import name_of
from jobd.wire.json_value import UNREADABLE, UNWRITABLE, Array, JsonValue, Object
from jobd.wire.options import CALL_FIELDS, check_options, opened
from jobd.wire.pushed import LISTS, TEXTS, Jid
from jobd.wire.ruby_json import as_ruby

Payload = Object
"""Its fields have the types that :func:`validate` checks; what else is in it, and in its arguments,
is known to the application only."""


def _plain(value: object) -> str:
    if type(value) is Jid:
        return str(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


to_json = msgspec.json.Encoder(enc_hook=_plain).encode
_decode_object = msgspec.json.Decoder(Payload).decode


class Work(msgspec.Struct, gc=False):
    """The fields of a payload that are needed to run the job.

    ``retry`` is ``UNSET`` if the payload does not have it, which differs from ``null``. ``jobd`` is
    for :func:`~jobd.wire.attachments.read`.
    """

    class_: str = msgspec.field(name="class")
    args: Array
    kwargs: Object = {}
    jid: str = ""
    retry: JsonValue | msgspec.UnsetType = msgspec.UNSET
    wrapped: JsonValue = None
    jobd: object = None


class _Known(Work, gc=False):
    """The same, with what hangs on the job read at once: nothing has to look at it again."""

    jobd: attachments.Attachments | None = None


class _Loose(msgspec.Struct, gc=False):
    """The same fields with any types, for payloads of other programs; Sidekiq checks no types."""

    class_: str = msgspec.field(name="class")
    args: JsonValue = None
    kwargs: JsonValue = None
    jid: JsonValue = None
    retry: JsonValue | msgspec.UnsetType = msgspec.UNSET
    wrapped: JsonValue = None
    jobd: JsonValue = None


class _Beside(msgspec.Struct, gc=False):
    """The fields before or after the arguments."""

    class_: str = msgspec.field(name="class")


_decode_work = msgspec.json.Decoder(_Known).decode
_decode_loose = msgspec.json.Decoder(_Loose).decode
_decode_beside = msgspec.json.Decoder(_Beside).decode


def new_jid() -> str:
    """A job id: 24 lower-case hexadecimal digits."""
    return chance.token(12)


# --- making a payload -----------------------------------------------------------------------


def create(
    name: str,
    args: list[object],
    kwargs: Mapping[str, object],
    options: Mapping[str, object],
    *,
    jid: str,
    now: float,
) -> Payload:
    """The payload for a call of a registered job.

    Example:
        >>> create("Add", [1, 2], {}, {"retry": True, "queue": "low"}, jid="ab", now=1.0)
        {'retry': True, 'queue': 'low', 'args': [1, 2], 'class': 'Add', 'jid': 'ab', 'created_at': 1.0}
    """  # noqa: E501
    payload: Payload = {**options, "args": args, "class": name}
    if kwargs:
        payload["kwargs"] = kwargs
    payload["jid"] = jid
    payload["created_at"] = now
    return payload


def complete(item: Mapping[str, object], options: Mapping[str, object], *, now: float) -> Payload:
    """The payload of a push by name: *options* updated with *item*, with an id and a time."""
    payload: Payload = {**options, **item}
    if not payload.get("kwargs", True):
        del payload["kwargs"]
    if not payload.get("jid"):
        payload["jid"] = new_jid()
    if not payload.get("created_at"):
        payload["created_at"] = now
    return payload


def stamp(payload: Payload, now: float) -> None:
    """Set the time of the push to a queue; scheduled payloads have none."""
    payload["enqueued_at"] = now


# --- checking -------------------------------------------------------------------------------


def fields(item: Mapping[str, object]) -> Payload:
    """The payload fields of a push by name.

    Raises:
        ArgumentError: see :func:`validate`; or a field is misspelt.
    """
    if isinstance(item, Mapping):
        try:
            item = opened(item)
        except ArgumentError as error:
            raise ArgumentError(f"{item.get('class', 'a push')}: {error}") from None
    validate(item)
    return dict(item)


def validate(item: Mapping[str, object]) -> None:
    """Refuse an invalid push.

    Raises:
        ArgumentError: names the field and what is allowed.
    """
    if not isinstance(item, Mapping):
        raise ArgumentError(f"a push needs a dict with 'class' and 'args', not {repr(item)[:100]}")
    if "class" not in item or "args" not in item:
        raise ArgumentError(
            f"a push needs 'class' and 'args', but got only {sorted(map(str, item))}"
        )
    name, args, kwargs = item["class"], item["args"], item.get("kwargs", {})
    if type(name) is not str or not name:
        advice = "; use its perform_async" if hasattr(name, "perform_async") else ""
        raise ArgumentError(f"'class' must be the name of a job, not {name!r}{advice}")
    if type(args) not in LISTS:
        raise ArgumentError(f"'args' of {name} must be a list, not {type(args).__name__}")
    if type(kwargs) is not dict:
        raise ArgumentError(f"'kwargs' of {name} must be a dict, not {type(kwargs).__name__}")
    if "jid" in item and (type(item["jid"]) not in TEXTS or not item["jid"]):
        raise ArgumentError(f"'jid' of {name} must be a non-empty string, not {item['jid']!r}")
    if "at" in item and not _is_time(item["at"]):
        raise ArgumentError(f"'at' of {name} must be a number of seconds, not {item['at']!r}")
    try:
        attachments.read(item.get(attachments.FIELD))
        check_options({key: item[key] for key in item if key not in CALL_FIELDS})
    except (ArgumentError, PayloadError, attachments.Unknown) as error:
        raise ArgumentError(f"{name}: {error}") from None


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


# --- bytes ----------------------------------------------------------------------------------


def encode(payload: Payload, limit: int | None = None, names: Sequence[str] | None = None) -> bytes:
    """The bytes for Redis: compact JSON in UTF-8 without escapes, as Ruby writes it.

    Args:
        limit: maximum size in bytes (``max_payload``); None for no limit.
        names: names of the positional parameters, for the message.

    Raises:
        ArgumentError: a value is not valid JSON, or the payload is larger than *limit*.
    """
    try:
        raw = to_json(payload)
    except UNWRITABLE as error:
        raise ArgumentError(
            f"the payload of {payload.get('class')} is not valid JSON: {error}"
        ) from error
    if limit is not None and len(raw) > limit:
        raise ArgumentError(_too_large(payload, len(raw), limit, names))
    return raw


def encode_again(payload: Payload) -> bytes:
    """The bytes of a payload that was read from Redis, in Ruby's notation.

    Raises:
        ArgumentError: a value is not valid JSON.
    """
    try:
        spelled = as_ruby(payload)
    except RecursionError as error:
        raise ArgumentError("the payload is nested too deeply") from error
    return encode(spelled)


def _too_large(payload: Payload, size: int, limit: int, names: Sequence[str] | None) -> str:
    sizes = {name_of(index, names): len(to_json(a)) for index, a in enumerate(payload["args"])}
    sizes.update({key: len(to_json(a)) for key, a in payload.get("kwargs", {}).items()})
    largest = max(sizes, key=lambda name: sizes[name], default="")
    where = f"; its largest argument, {largest}, takes {sizes[largest]:,}" if largest else ""
    return (
        f"the payload of {payload['class']} has {size:,} bytes, but max_payload is {limit:,}"
        f"{where}. Store the data elsewhere and pass a reference to it"
    )


def decode(raw: bytes) -> Payload:
    """All fields of a payload.

    Raises:
        PayloadError: *raw* is not a JSON object.
    """
    try:
        return _decode_object(raw)
    except UNREADABLE as error:
        raise PayloadError(f"Invalid JSON for job: {reason_of(error)}") from error


def parse(raw: bytes) -> Work:
    """The fields that are needed to run the job.

    Raises:
        PayloadError: *raw* is not a JSON object, its class is not a string, or its kwargs are not
            an object.
    """
    try:
        return _decode_work(raw)
    except msgspec.ValidationError:
        return _parse_loose(raw)
    except UNREADABLE as error:
        raise PayloadError(f"Invalid JSON for job: {reason_of(error)}") from error


def _parse_loose(raw: bytes) -> Work:
    """Parse a payload with unexpected types the way Sidekiq does.

    Null counts as absent, a single argument as a list of one, and an object as the list of its
    pairs, as ``perform(*args)`` treats them in Ruby. A jid that is not a string becomes its JSON.
    """
    try:
        loose = _decode_loose(raw)
        jid = "" if loose.jid is None else loose.jid
        jid = jid if type(jid) is str else to_json(jid).decode()
    except UNREADABLE as error:
        raise PayloadError(f"Invalid JSON for job: {reason_of(error)}") from error
    args = [] if loose.args is None else loose.args
    if type(args) is dict:
        args = [[key, value] for key, value in args.items()]
    elif type(args) is not list:
        args = [args]
    kwargs = loose.kwargs or {}  # PHP writes an empty object as []
    if type(kwargs) is not dict:
        raise PayloadError(f"the kwargs of a job must be an object, not {type(kwargs).__name__}")
    return Work(loose.class_, args, kwargs, jid, loose.retry, loose.wrapped, loose.jobd)


_CLASS = b'"class":"'


def class_beside(raw: bytes, most: int) -> str | None:
    """The class of the job, if it is among the first or the last *most* bytes: then the arguments,
    which come after or before it, need not be parsed to know it.

    What is found is a field, as quotes inside of a string have a backslash before them; and it is
    one of the payload, not of an object in the arguments, if one brace completes what comes before
    or after it.

    >>> class_beside(b'{"class":"Add","args":[1]}', 15)
    'Add'
    >>> class_beside(b'{"args":[{"class":"x"}]}', 24)
    """
    at = raw.find(_CLASS, 0, most)
    if at >= 0:
        part = raw[: raw.find(b'"', at + len(_CLASS)) + 1] + b"}"
    elif (at := raw.rfind(_CLASS, -most)) >= 0:
        part = b"{" + raw[at:]
    else:
        return None
    try:
        return _decode_beside(part).class_
    except UNREADABLE:
        return None


def reason_of(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)
