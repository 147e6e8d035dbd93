"""What people call a job, and which of its arguments they may see.

Active Job wraps the real job and encodes some arguments in its own way; an encrypted argument is
never shown.
"""

from __future__ import annotations

from jobd.wire.json_value import JsonValue

ENCRYPTED = "[encrypted data]"

_WRAPPERS = frozenset(
    {
        "Sidekiq::ActiveJob::Wrapper",
        "ActiveJob::QueueAdapters::SidekiqAdapter::JobWrapper",
    }
)
_MAILERS = frozenset(
    {
        "ActionMailer::DeliveryJob",
        "ActionMailer::MailDeliveryJob",
        "ActionMailer::Parameterized::DeliveryJob",
    }
)
_MAIL_WORDS = 3
"""Arguments of a mailer's job in front of those of the mail: mailer, method, manner of delivery."""

_DEPTH = 20
"""Levels of an Active Job argument that are unwrapped."""


def class_name(item: dict[str, JsonValue]) -> str:
    """The name of the job in *item* as people know it; empty if it has none.

    >>> class_name({"class": "A", "display_class": "B#c"})
    'B#c'
    """
    name = _text(item.get("class"))
    if shown := _text(item.get("display_class")):
        return shown
    if name not in _WRAPPERS:
        return name
    wrapped = _text(item.get("wrapped")) or _text(_active_job(item).get("job_class")) or name
    words = _active_job_arguments(item)
    if wrapped in _MAILERS and len(words) >= 2 and all(type(w) is str for w in words[:2]):
        return f"{words[0]}#{words[1]}"
    return wrapped


def arguments(item: dict[str, JsonValue]) -> tuple[list[JsonValue], dict[str, JsonValue]]:
    """The arguments of the job in *item* as people know them, secrets hidden.

    >>> arguments({"args": [1, "key"], "encrypt": True})
    ([1, '[encrypted data]'], {})
    """
    if item.get("encrypt"):
        item = hidden(item)
    found, named = item.get("args"), item.get("kwargs")
    args = list(found) if isinstance(found, list) else []
    kwargs = dict(named) if isinstance(named, dict) else {}
    # Of one that is encrypted there is nothing left to unwrap.
    if _active_job(item) and _text(item.get("class")) in _WRAPPERS:
        wrapped = _text(item.get("wrapped")) or _text(_active_job(item).get("job_class"))
        args = _active_job_arguments(item)
        if wrapped in _MAILERS:
            args = _mail_arguments(args[_MAIL_WORDS:])
    return args, kwargs


def hidden(item: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """All fields of a job with ``encrypt``, its secrets hidden: the last argument, and those that
    have names. What is neither a list nor an object may be a secret as a whole.

    >>> hidden({"args": [1, "key"], "kwargs": "key", "encrypt": True})
    {'args': [1, '[encrypted data]'], 'kwargs': '[encrypted data]', 'encrypt': True}
    """
    shown = dict(item)
    if "args" in item:
        args = item["args"]
        shown["args"] = ENCRYPTED
        if isinstance(args, list):
            shown["args"] = [*args[:-1], ENCRYPTED] if args else []
    if "kwargs" in item:
        named = item["kwargs"]
        shown["kwargs"] = dict.fromkeys(named, ENCRYPTED) if isinstance(named, dict) else ENCRYPTED
    return shown


def _active_job(item: dict[str, JsonValue]) -> dict[str, JsonValue]:
    args = item.get("args")
    first = args[0] if isinstance(args, list) and args else None
    return first if isinstance(first, dict) else {}


def _active_job_arguments(item: dict[str, JsonValue]) -> list[JsonValue]:
    found = _active_job(item).get("arguments")
    return [_unwrapped(value, _DEPTH) for value in found] if isinstance(found, list) else []


def _unwrapped(value: JsonValue, depth: int) -> JsonValue:
    """An argument without what Active Job has put around it."""
    if depth == 0:
        return value
    if isinstance(value, list):
        return [_unwrapped(item, depth - 1) for item in value]
    if not isinstance(value, dict):
        return value
    fields: dict[str, JsonValue] = value
    if "_aj_globalid" in fields:
        return fields["_aj_globalid"]
    if "_aj_serialized" in fields and "value" in fields:
        return fields["value"]
    return {
        key: _unwrapped(item, depth - 1)
        for key, item in fields.items()
        if not key.startswith("_aj_")
    }


def _mail_arguments(rest: list[JsonValue]) -> list[JsonValue]:
    """Newer mailers put parameters and arguments into one object, older ones list them."""
    if len(rest) == 1 and isinstance(rest[0], dict) and "args" in rest[0]:
        parts = [rest[0].get("params"), rest[0].get("args")]
        return [part for part in parts if part is not None]
    return rest


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
