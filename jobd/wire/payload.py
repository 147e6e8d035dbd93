"""The payload: the JSON object that stands for one job in Redis.

The only module that knows the payload's fields, their order and their rules, so that a Ruby
Sidekiq and jobd can read each other's jobs. What is not to be changed keeps its very bytes, whoever
has written it: Sidekiq's dashboard would not find a job again whose numbers are spelled otherwise.

Times are float seconds since the epoch, always written with a fraction: new Sidekiqs read an
integer as milliseconds.
"""

from __future__ import annotations

import base64
import math
import secrets
import zlib
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import msgspec

from jobd.errors import ArgumentError, JobdError, PayloadError
from jobd.text.printable import cut, valid
from jobd.wire.arguments import check_arguments, name_of
from jobd.wire.options import CALL_FIELDS, DEFAULT_QUEUE, check_options, opened
from jobd.wire.pushed import LISTS, TEXTS, Jid
from jobd.wire.ruby_json import as_ruby

Payload = dict[str, Any]

MAX_MESSAGE = 10_000
"""Characters of an exception's message that are kept."""

MAX_CLASS = 500
"""Characters of the name of its class."""

MAX_LINE = 1000
"""Characters of a line of a backtrace that are kept."""


def _plain(value: object) -> str:
    if type(value) is Jid:
        return str(value)
    raise TypeError(f"Encoding objects of type {type(value).__name__} is unsupported")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_decode_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Work(msgspec.Struct, gc=False):
    """What running a job needs of its payload, decoded straight from the bytes.

    ``retry`` is ``UNSET`` where the payload does not say, which is not the same as ``null``.
    """

    class_: str = msgspec.field(name="class")
    args: list[Any]
    kwargs: dict[str, Any] = {}
    jid: str = ""
    retry: Any = msgspec.UNSET
    wrapped: Any = None


class _Loose(msgspec.Struct, gc=False):
    """The same of what other programs write: Sidekiq itself looks at none of these types."""

    class_: str = msgspec.field(name="class")
    args: Any = None
    kwargs: Any = None
    jid: Any = None
    retry: Any = msgspec.UNSET
    wrapped: Any = None


_decode_work = msgspec.json.Decoder(Work).decode
_decode_loose = msgspec.json.Decoder(_Loose).decode


def new_jid() -> str:
    """A job id: 24 lower-case hexadecimal digits."""
    return secrets.token_hex(12)


# --- making a payload -----------------------------------------------------------------------


def create(
    name: str,
    args: list[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    jid: str,
    now: float,
) -> Payload:
    """The payload of a call of a registered job.

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


def complete(item: Mapping[str, Any], options: Mapping[str, Any], *, now: float) -> Payload:
    """The payload of a push by name: *item* as given over *options*, with an id and a time."""
    payload: Payload = {**options, **item}
    if not payload.get("kwargs", True):
        del payload["kwargs"]
    if not payload.get("jid"):
        payload["jid"] = new_jid()
    if not payload.get("created_at"):
        payload["created_at"] = now
    return payload


def stamp(payload: Payload, now: float) -> None:
    """Note the time of the push to a queue; scheduled payloads have none."""
    payload["enqueued_at"] = now


# --- checking -------------------------------------------------------------------------------


def fields(item: Mapping[str, Any]) -> Payload:
    """What a push by name says, as fields of a payload.

    Raises:
        ArgumentError: as :func:`validate`; or a field is misspelt.
    """
    if isinstance(item, Mapping):
        try:
            item = opened(item)
        except ArgumentError as error:
            raise ArgumentError(f"{item.get('class', 'a push')}: {error}") from None
    validate(item)
    return dict(item)


def validate(item: Mapping[str, Any]) -> None:
    """Refuse what a push may not contain.

    Raises:
        ArgumentError: names the field and what it may hold.
    """
    if not isinstance(item, Mapping):
        raise ArgumentError(f"a push needs a dict with 'class' and 'args', not {repr(item)[:100]}")
    if "class" not in item or "args" not in item:
        raise ArgumentError(
            f"a push needs 'class' and 'args', but got only {sorted(map(str, item))}"
        )
    name, args, kwargs = item["class"], item["args"], item.get("kwargs", {})
    if type(name) is not str or not name:
        advice = "; it pushes itself: perform_async" if hasattr(name, "perform_async") else ""
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
        check_options({key: item[key] for key in item if key not in CALL_FIELDS})
    except ArgumentError as error:
        raise ArgumentError(f"{name}: {error}") from None


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


# --- bytes ----------------------------------------------------------------------------------


def encode(payload: Payload, limit: int | None = None, names: Sequence[str] | None = None) -> bytes:
    """The bytes for Redis: compact JSON in raw UTF-8, as Ruby would write them.

    Args:
        limit: most bytes allowed (``max_payload``); None for no limit.
        names: names of the positional parameters, for the message.

    Raises:
        ArgumentError: something in it is no JSON, or it is larger than *limit*.
    """
    try:
        raw = _encode(payload)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"the payload of {payload.get('class')} is no JSON: {error}") from error
    if limit is not None and len(raw) > limit:
        raise ArgumentError(_too_large(payload, len(raw), limit, names))
    return raw


def encode_again(payload: Payload) -> bytes:
    """The bytes of a payload that has been in Redis before, whoever wrote it.

    Raises:
        ArgumentError: something in it is no JSON.
    """
    try:
        spelled = as_ruby(payload)
    except RecursionError as error:
        raise ArgumentError("the payload is nested too deeply") from error
    return encode(spelled)


def _too_large(payload: Payload, size: int, limit: int, names: Sequence[str] | None) -> str:
    sizes = {name_of(index, names): len(_encode(a)) for index, a in enumerate(payload["args"])}
    sizes.update({key: len(_encode(a)) for key, a in payload.get("kwargs", {}).items()})
    largest = max(sizes, key=lambda name: sizes[name], default="")
    where = f"; its largest argument, {largest}, takes {sizes[largest]:,}" if largest else ""
    return (
        f"the payload of {payload['class']} has {size:,} bytes, but max_payload allows {limit:,}"
        f"{where}. Store the data elsewhere and pass a reference to it"
    )


def decode(raw: bytes) -> Payload:
    """All fields of a payload.

    Raises:
        PayloadError: *raw* is not a JSON object.
    """
    try:
        return _decode_object(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PayloadError(f"Invalid JSON for job: {_reason(error)}") from error


def parse(raw: bytes) -> Work:
    """What running the job needs.

    Raises:
        PayloadError: *raw* is no JSON object, its class is no text, or its kwargs are no object.
    """
    try:
        return _decode_work(raw)
    except msgspec.ValidationError:
        return _parse_loose(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PayloadError(f"Invalid JSON for job: {_reason(error)}") from error


def _parse_loose(raw: bytes) -> Work:
    """A job that has something else where text or a list belongs, as Sidekiq would run it.

    Null is absent, a single argument needs no list, and an object is the list of its pairs: what
    ``perform(*args)`` makes of them in Ruby. A jid may be anything; here it is its JSON.
    """
    try:
        loose = _decode_loose(raw)
        jid = "" if loose.jid is None else loose.jid
        jid = jid if type(jid) is str else _encode(jid).decode()
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PayloadError(f"Invalid JSON for job: {_reason(error)}") from error
    args = [] if loose.args is None else loose.args
    if type(args) is dict:
        args = [[key, value] for key, value in args.items()]
    elif type(args) is not list:
        args = [args]
    kwargs = loose.kwargs or {}  # PHP writes an empty object as []
    if type(kwargs) is not dict:
        raise PayloadError(f"the kwargs of a job must be an object, not {type(kwargs).__name__}")
    return Work(loose.class_, args, kwargs, jid, loose.retry, loose.wrapped)


def _reason(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


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
        if before is not None and _encode(msgspec.json.decode(before)) == _encode(value):
            return before
        return as_ruby(value)
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(f"the payload is not JSON: {error}") from error


def _raw_fields(raw: bytes) -> dict[str, Any]:
    try:
        return _decode_raw_fields(raw)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PayloadError(f"Invalid JSON for job: {_reason(error)}") from error


# --- transitions ----------------------------------------------------------------------------


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
    return queue, _encode(fields)


def with_queue(raw: bytes, queue: str) -> bytes:
    """The payload of a job that goes to another queue; what is no job stays as it is."""
    try:
        fields = _raw_fields(raw)
    except PayloadError:
        return raw
    return _encode({**fields, "queue": queue})


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
    return with_enqueued(_encode(fields), now)


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
    return crashes, _encode(fields)


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
    return _encode({**around, "jid": new_jid(), "created_at": now})


def noted(raw: bytes, *, error: JobdError, queue: str, now: float) -> bytes:
    """The bytes for the dead set with an *error* of ours; as they are where there is no place for
    one, for whatever reason: a job that cannot be read must be kept all the same."""
    try:
        raw = as_object(raw, queue=queue, now=now)
        failed = with_failure(raw, error=error, queue=queue, now=now, backtrace=None)
        return rewritten(raw, failed)
    except Exception:  # noqa: BLE001 - whatever is odd about it, or without memory
        return raw


def message_of(error: BaseException) -> str:
    """What *error* says, as valid text of at most :data:`MAX_MESSAGE` characters."""
    try:
        text = str.__str__(str(error))  # which may be of a class of the application's own
    except BaseException as second:  # noqa: BLE001 - the application's code, and it is broken
        text = f"(no message: {class_of(error)}.__str__ raised {class_of(second)})"
    return text[:MAX_MESSAGE].encode(errors="replace").decode()


def class_of(error: BaseException) -> str:
    """
    >>> class_of(KeyError()), class_of(PayloadError())
    ('KeyError', 'jobd.errors.PayloadError')
    """
    # Neither the class nor its own class is asked: they may say anything, or raise.
    kind = type(error)
    module, name = _MODULE.__get__(kind), _QUALNAME.__get__(kind)
    if module != "builtins" and type(module) is str:
        name = f"{module}.{name}"
    return valid(cut(name, MAX_CLASS))


_MODULE, _QUALNAME = type.__dict__["__module__"], type.__dict__["__qualname__"]
_TRACEBACK = BaseException.__dict__["__traceback__"]


def traceback_of(error: BaseException) -> TracebackType | None:
    """Its traceback, also where its class has another idea of it."""
    found: TracebackType | None = _TRACEBACK.__get__(error)
    return found


def pack_backtrace(lines: Iterable[str]) -> str:
    """Base64 of the deflated JSON array of *lines*, as dashboards read it."""
    clean = [cut(line, MAX_LINE).encode(errors="replace").decode() for line in lines]
    return base64.b64encode(zlib.compress(_encode(clean))).decode("ascii")
