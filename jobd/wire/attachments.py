"""Attachments: what hangs on a job beside its call, all in the one payload field ``jobd``.

The field is an object with a version and a key for each kind. Ruby keeps it and ignores it. A
worker that does not know the version or a kind must not run the job without it: :class:`Unknown`.
What an attachment changes in Redis when its job moves or ends is in ``store/lua/attachments.lua``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, NamedTuple

import msgspec

from jobd.errors import ArgumentError, PayloadError
from jobd.wire.json_value import UNWRITABLE, JsonValue, Object
from jobd.wire.ruby_json import as_ruby

FIELD = "jobd"
VERSION = 1

EXPIRES_IN = "expires_in"
KEEP_RESULT = "keep_result"
OPTIONS = frozenset(
    {
        *("unique", "unique_for", "unique_until", "on_conflict", "debounce", "max_wait"),
        *(EXPIRES_IN, KEEP_RESULT),
    }
)
"""The options from which :func:`attach` makes attachments."""

TRACES = OPTIONS | {FIELD}
"""The fields of a push by which it has some."""

DURATIONS = ("unique_for", "debounce", "max_wait", EXPIRES_IN, KEEP_RESULT)
"""Those that are seconds, or a timedelta."""

Until = Literal["success", "start", "expiry"]
"""As an option; a debounced job releases its lock when it is due, in time for the next round."""

OnConflict = Literal["skip", "raise", "holder", "replace", "again"]


class Lock(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """Keeps other jobs with the same key out.

    Attributes:
        key: SHA-256 of the class and the arguments, see :func:`digest`.
        until: when it is released: at the end of the job, at its start, only after *seconds*, or
            when the job is due.
        seconds: after so long it is released in any case, counted from the due time.
        held: the push has taken it. Where a program has written the field without taking the lock,
            the worker takes it before the start.
    """

    key: str
    until: Literal["success", "start", "expiry", "due"] = "success"
    seconds: float | None = None
    held: bool = False

    @property
    def acts_at_start(self) -> bool:
        """Whether the start of the job changes it."""
        return not self.held or self.until in ("start", "due")


class Node(
    msgspec.Struct,
    frozen=True,
    gc=False,
    omit_defaults=True,
    forbid_unknown_fields=True,
    rename={"workflow": "id", "number": "n"},
):
    """The step of a workflow that a job is; everything else about it is stored with the workflow.

    Attributes:
        workflow: id of the workflow.
        number: of the step in it.
        takes: results of other steps are among its arguments; its worker reads them at the start.
        gives: its result is an argument of others.
    """

    workflow: str
    number: int
    takes: bool = False
    gives: bool = False


class Attachments(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True
):
    """What hangs on one job.

    Attributes:
        v: the version of this layout, which every field says.
        expires_at: it does not start after this moment (seconds since 1970).
        lock: it is unique.
        result: seconds for which its result is kept.
        snoozes: how often it has put itself off since it was pushed.
        aside: how often a worker that does not know one of its attachments has set it aside.
        context: values of context variables by their names, set again when the job starts.
        parent: id of the job that has pushed it.
        root: id of the job with which that began: the parent's root, or the parent itself.
        tick: of a periodic job: the moment of its schedule (seconds since 1970).
        schedule: of a periodic job: the name of its schedule.
        batch: it is a member of a batch: the id of that, and its number there.
        callback: it is a callback of a batch: the id of that, and the event.
        node: it is a step of a workflow.
    """

    v: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    expires_at: float | None = None
    lock: Lock | None = None
    result: float | None = None
    snoozes: int = 0
    aside: int = 0
    context: dict[str, JsonValue] | None = None
    parent: str | None = None
    root: str | None = None
    tick: float | None = None
    schedule: str | None = None
    batch: tuple[str, int] | None = None
    callback: tuple[str, str] | None = None
    node: Node | None = None

    @property
    def ends_apart(self) -> bool:
        """Whether the end of the job changes more than the job."""
        return (
            self.batch is not None
            or self.lock is not None
            or self.result is not None
            or self.node is not None
        )


class Pushed(NamedTuple):
    """What a push has to do beside storing its job.

    Attributes:
        at: when the job is due (seconds since 1970); None for now.
        on_conflict: what happens where another job holds the lock.
        max_wait: seconds after the first push of a debounced job at which it runs in any case.
    """

    at: float | None
    lock: Lock | None
    result: float | None
    on_conflict: OnConflict = "skip"
    max_wait: float | None = None


class AttachedPush(NamedTuple):
    """A job to push with what hangs on it; *raw* lacks the time of the push to a queue."""

    raw: bytes
    jid: str
    queue: str
    pushed: Pushed


class Unknown(Exception):
    """A newer version of jobd has pushed this job; the text says what is not known here."""


NONE = Attachments(VERSION)
_KINDS = frozenset(Attachments.__struct_fields__)
_sorted = msgspec.json.Encoder(order="sorted").encode


def read(value: object) -> Attachments:
    """The attachments in the field of a payload, which may have been read before.

    Raises:
        Unknown: of another version, or of a kind that this version does not have.
        PayloadError: no version of jobd has written it.

    >>> read({"v": 1, "snoozes": 2}).snoozes, read(None) is NONE
    (2, True)
    """
    if type(value) is Attachments:
        return value
    if value is None:
        return NONE
    if type(value) is not dict:
        raise PayloadError(f"the field {FIELD} must be an object, not {type(value).__name__}")
    if value.get("v") != VERSION:
        raise Unknown(f"attachments of version {str(value.get('v'))[:20]}")
    if unknown := sorted(value.keys() - _KINDS):
        raise Unknown(f"attachments of the kind {', '.join(unknown)[:100]}")
    try:
        return msgspec.convert(value, Attachments)
    except msgspec.ValidationError as error:
        raise PayloadError(f"the field {FIELD}: {error}") from None


def known(value: object) -> Attachments:
    """What this version knows of a field that a newer one may have written: to find a job, not to
    run it.

    >>> known({"v": 1, "later": 5, "snoozes": 2}).snoozes, known("?") is NONE
    (2, True)
    """
    try:
        return read(value)
    except (Unknown, PayloadError):
        fields = value if type(value) is dict else {}
    found = NONE
    for name in fields.keys() & _KINDS - {"v"}:
        with contextlib.suppress(msgspec.ValidationError):
            part = msgspec.convert({"v": VERSION, name: fields[name]}, Attachments)
            found = msgspec.structs.replace(found, **{name: getattr(part, name)})
    return found


def attach(
    payload: Object,
    at: float | None,
    now: float,
    identity: Callable[[list[object], dict[str, object]], object],
) -> Pushed | None:
    """Write what the options of *payload* attach to it into its field, in their place.

    Args:
        at: when the job is due (seconds since 1970); None for now.
        identity: what tells two calls apart that must not both be there, from their arguments.

    Returns:
        What its push has to do; None if it is stored as any other.

    Raises:
        ArgumentError: the options contradict each other, or *identity* has failed.

    >>> payload = {"class": "Add", "args": [], "expires_in": 60}
    >>> attach(payload, None, 100.0, lambda args, kwargs: args)
    >>> payload
    {'class': 'Add', 'args': [], 'jobd': {'v': 1, 'expires_at': 160.0}}
    """
    options = {name: payload.pop(name) for name in OPTIONS & payload.keys()}
    before = msgspec.structs.replace(read(payload.get(FIELD)), batch=None, callback=None)
    if before.lock is not None:
        held = msgspec.structs.replace(before.lock, held=True)
        before = msgspec.structs.replace(before, lock=held)
    debounce = options.get("debounce")
    if debounce is not None:
        at = max(now + debounce, at or 0.0)
    lock = _lock(payload, options, identity) or before.lock
    expires_in, result = options.get(EXPIRES_IN), options.get(KEEP_RESULT, before.result)
    after = msgspec.structs.replace(
        before,
        lock=lock,
        result=result,
        expires_at=before.expires_at if expires_in is None else (at or now) + expires_in,
    )
    payload[FIELD] = written(after)
    if payload[FIELD] is None:
        del payload[FIELD]
    if not after.ends_apart:
        return None
    on_conflict = options.get("on_conflict", "skip" if debounce is None else "replace")
    return Pushed(at, lock, result, on_conflict, options.get("max_wait"))


def _lock(
    payload: Object,
    options: Object,
    identity: Callable[[list[object], dict[str, object]], object],
) -> Lock | None:
    """The lock that the options ask for.

    Raises:
        ArgumentError: see :func:`attach`.
    """
    debounced = "debounce" in options
    seconds = options.get("unique_for")
    if not options.get("unique", seconds is not None or debounced):
        _refuse_lonely(payload, options)
        return None
    until = options.get("unique_until", "due" if debounced else "success")
    if until == "expiry" and seconds is None:
        raise ArgumentError(f"{payload['class']}: unique_until='expiry' needs unique_for")
    if until != "success" and options.get("on_conflict") == "again":
        raise ArgumentError(
            f"{payload['class']}: on_conflict='again' pushes the next one when this one has ended, "
            "so it needs unique_until='success'"
        )
    if debounced and "unique_until" in options:
        raise ArgumentError(f"{payload['class']}: debounce sets unique_until itself")
    if debounced and options.get("on_conflict", "replace") != "replace":
        raise ArgumentError(f"{payload['class']}: debounce always has on_conflict='replace'")
    if "max_wait" in options and not debounced:
        raise ArgumentError(f"{payload['class']}: max_wait needs debounce")
    key = digest(payload["class"], identity(payload["args"], payload.get("kwargs", {})))
    return Lock(key, until, seconds, held=True)


def _refuse_lonely(payload: Mapping[str, object], options: Mapping[str, object]) -> None:
    if "unique" in options:
        return  # switched off for this call
    for name in ("unique_until", "on_conflict", "max_wait"):
        if name in options:
            raise ArgumentError(f"{payload['class']}: {name} needs unique=True or unique_for")


def digest(name: str, identity: object) -> str:
    """The key of a lock: SHA-256 of the class and of what makes a call unique, as JSON with sorted
    keys, so that 1, 1.0 and true differ.

    Raises:
        ArgumentError: JSON cannot carry *identity*.

    >>> digest("Add", {"a": 1, "b": 2}) == digest("Add", {"b": 2, "a": 1})
    True
    >>> digest("Add", {"a": 1}) == digest("Add", {"a": 1.0})
    False
    """
    import hashlib  # loads OpenSSL, which only unique jobs need

    try:
        canonical = _sorted([name, identity])
    except UNWRITABLE as error:
        raise ArgumentError(
            f"{name}: what makes the job unique is not JSON: {error}; name arguments in unique_by"
        ) from None
    return hashlib.sha256(canonical).hexdigest()


def add(payload: dict[str, object], **changes: object) -> None:
    """Attach *changes* to a payload, beside or instead of what hangs on it.

    >>> payload = {"class": "Add", "jobd": {"v": 1, "snoozes": 1}}
    >>> add(payload, parent="ab"); payload
    {'class': 'Add', 'jobd': {'v': 1, 'snoozes': 1, 'parent': 'ab'}}
    """
    payload[FIELD] = written(msgspec.structs.replace(read(payload.get(FIELD)), **changes))


def written(attached: Attachments) -> dict[str, object] | None:
    """The field for a payload; None if nothing hangs on the job.

    >>> written(Attachments(VERSION, expires_at=9.0)), written(NONE)
    ({'v': 1, 'expires_at': 9.0}, None)
    """
    if attached == NONE:
        return None
    plain = msgspec.structs.replace(attached, context=None)
    fields: dict[str, object] = msgspec.to_builtins(plain)
    if attached.context is not None:
        fields["context"] = as_ruby(attached.context)
    return fields


def aside(value: object) -> tuple[int, dict[str, object]]:
    """The field of a job that is set aside once more, and how often it has been before."""
    assert isinstance(value, dict)  # anything else is malformed, not unknown
    before = value.get("aside")
    times = before if type(before) is int and before >= 0 else 0
    return times, {**value, "aside": times + 1}
