"""The options of a job: payload fields that its author chooses, and what they may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jobd.errors import ArgumentError
from jobd.text.spelling import LOOSE, NEAR, meant
from jobd.wire.arguments import refuse_foreign
from jobd.wire.pushed import TEXTS

DEFAULT_QUEUE = "default"

DEFAULTS: Mapping[str, Any] = {"retry": True, "queue": DEFAULT_QUEUE}
"""Options of a job that gives none, and of every push by name."""

MAX_SECONDS = 1_000_000_000
"""A longer time is a point in time by mistake."""

CALL_FIELDS = frozenset(
    {
        *("class", "args", "kwargs", "jid", "created_at", "enqueued_at", "at"),
        *("error_message", "error_class", "error_backtrace"),
        *("failed_at", "retried_at", "retry_count", "crashes", "recovered_from"),
    }
)
"""Fields that belong to one call or its history, hence no options."""

EXTRA = "extra"
"""What holds the fields that jobd does not know: those of the application and of middleware."""

_ELSEWHERE = {
    "name": "it is how the job is registered; give it to @job or to the class",
    "timeout": "it is part of the job, not of its payload; give it to @job or to the class",
    "retry_in": "it is a function, which no payload carries; give it to @job or to the class",
    "on_exhausted": "it is a function, which no payload carries; give it to @job or to the class",
    "at": "use perform_at or perform_in; with Client.push it is a field of the item",
    "spread": "perform_bulk takes it; with Client.push_bulk it is called spread_interval",
    "spread_interval": "Client.push_bulk takes it",
}
"""Names that are given in another place, and what to say where they are not."""

_WRONG_WORDS = {
    **dict.fromkeys(("retries", "max_retries", "max_attempts"), "retry"),
    **dict.fromkeys(("retry_delay", "retry_backoff", "default_retry_delay"), "retry_in"),
    **dict.fromkeys(("time_limit", "soft_time_limit", "job_timeout"), "timeout"),
    "on_failure": "on_exhausted",
    "queue_name": "queue",
    "spread": "spread_interval",  # of an item only: it is called spread elsewhere
}
"""What people write who think of another tool, beside mere slips."""

_WHEN = frozenset({"countdown", "eta", "delay", "wait", "wait_until", "run_at"})
"""What other tools call the time of a push. Refused by name too: such a job would run at once."""

_LACKING = {
    "priority": "a job has no priority, but its queue may have",
    **dict.fromkeys(("expires", "expires_in", "ttl"), "a job that waits does not expire"),
    **dict.fromkeys(("cron", "crontab", "every"), "there are no periodic jobs"),
    **dict.fromkeys(("unique", "unique_for", "lock"), "there are no unique jobs"),
    "rate_limit": "there are no rate limits",
    "depends_on": "a job does not wait for another one",
    **dict.fromkeys(("ignore_result", "store_result", "result_ttl"), "results are not kept"),
}
"""Options of other tools for what jobd does not do. Ruby's gems take some of them as fields."""

QUEUE_NAME = re.compile(r"[A-Za-z0-9_:.\-]+")


def check_queue(name: object) -> str:
    """*name* if it is a queue's name, else ArgumentError."""
    if type(name) is not str or not name:
        raise ArgumentError(f"queue must be a non-empty string, not {name!r}")
    if not QUEUE_NAME.fullmatch(name):
        raise ArgumentError(
            f"queue {name!r} cannot be shown by dashboards: use only the letters A-Z and a-z, "
            "digits and the characters _ : . -"
        )
    return name


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that no worker could follow.

    Raises:
        ArgumentError: names the option, what it holds and what it may hold.
    """
    for key, value in options.items():
        if type(key) is not str:
            raise ArgumentError(f"option {key!r} must have a string as its name")
        if key in CALL_FIELDS:
            why = _ELSEWHERE.get(key, "jobd writes this field of the payload")
            raise ArgumentError(f"{key!r} is not an option: {why}")
        rule = _OPTION_RULES.get(key)
        if rule is not None:
            rule(key, value)
        else:
            refuse_foreign(f"option {key}", value)


def _check_count(key: str, value: object) -> None:
    if type(value) is not bool and not (type(value) is int and value >= 0):
        raise ArgumentError(f"{key} must be True, False or a number from 0 up, not {value!r}")


def _check_retry(key: str, value: object) -> None:
    if value is not None:  # Sidekiq writes null where a class leaves it open
        _check_count(key, value)


def _check_flag(key: str, value: object) -> None:
    if type(value) is not bool:
        raise ArgumentError(f"{key} must be True or False, not {value!r}")


def _check_queue_option(key: str, value: object) -> None:
    try:
        check_queue(value)
    except ArgumentError as error:
        raise ArgumentError(f"{key}: {error}") from None


def check_seconds(key: str, value: object) -> float:
    """*value* if it is a length of time, else ArgumentError."""
    if (type(value) is int or type(value) is float) and 0 < value <= MAX_SECONDS:
        return value
    raise ArgumentError(
        f"{key} must be a number of seconds above 0 and up to {MAX_SECONDS:,}, not {value!r}"
    )


def _check_tags(key: str, value: object) -> None:
    if type(value) is not list or not all(type(tag) in TEXTS for tag in value):
        raise ArgumentError(f"{key} must be a list of strings, not {value!r}")
    refuse_foreign(f"option {key}", value)


_OPTION_RULES = {
    "retry": _check_retry,
    "queue": _check_queue_option,
    "retry_queue": _check_queue_option,
    "retry_for": check_seconds,
    "backtrace": _check_count,
    "dead": _check_flag,
    "tags": _check_tags,
}


KNOWN = CALL_FIELDS | _OPTION_RULES.keys()
"""The fields of a payload that are not the application's own."""

OPTIONS = (*_OPTION_RULES, "timeout", "retry_in", "on_exhausted", EXTRA)
"""Names of the options of a job, but for its ``name``."""
_ITEM = (*OPTIONS, "class", "args", "kwargs", "spread_interval")
"""What people may have meant, in a call and in a push by name. The shorter ones of an item are not
among them: they are like too many names."""


def merged(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """*given* over *options*, in their wire forms; None means not given.

    Raises:
        ArgumentError: an option holds what it may not hold, or there is none of that name.
    """
    new = {key: value for key, value in given.items() if value is not None}
    extra = _extra(new.pop(EXTRA, {}))
    for name in new.keys() - KNOWN:
        raise ArgumentError(_unknown(name, _meant(name, (*OPTIONS, "name"), LOOSE)))
    if isinstance(new.get("tags"), tuple):
        new["tags"] = list(new["tags"])
    window = new.get("retry_for")
    if isinstance(window, timedelta):
        window = window.total_seconds()
    if isinstance(window, float) and math.isfinite(window):
        window = math.ceil(window)
    if window is not None:
        new["retry_for"] = window
    new.update(extra)
    check_options(new)
    return {**options, **new}


def opened(item: Mapping[str, Any]) -> dict[str, Any]:
    """The payload fields that a push by name gives: those of its ``extra`` beside the others.

    A field that jobd does not know passes, as in Sidekiq, unless it looks like a slip.

    Raises:
        ArgumentError: one of them does, or belongs into another place.
    """
    fields = dict(item)
    extra = _extra(fields.pop(EXTRA, {}))
    for name in fields.keys() - KNOWN:
        close = _meant(name, _ITEM, NEAR) if type(name) is str else None
        if close is not None or name in _ELSEWHERE or name in _WHEN:
            raise ArgumentError(_unknown(name, close))
    return {**fields, **extra}


def _extra(extra: object) -> Mapping[str, Any]:
    if not isinstance(extra, Mapping):
        raise ArgumentError(f"{EXTRA} must be a dict of payload fields, not {extra!r}")
    for name in extra:
        if name in CALL_FIELDS or name in OPTIONS:
            raise ArgumentError(
                f"{EXTRA} is for fields that jobd does not know, and {name!r} is not one of them"
            )
    return extra


def _meant(name: str, known: tuple[str, ...], alike: float) -> str | None:
    words = [wrong for wrong, right in _WRONG_WORDS.items() if right in known]
    close = meant(name, (*known, *words), alike)
    return _WRONG_WORDS.get(close, close) if close is not None else None


def _unknown(name: str, close: str | None) -> str:
    if name in _ELSEWHERE:
        return f"{name!r} cannot be given here: {_ELSEWHERE[name]}"
    if name in _WHEN:
        return (
            f"{name!r} is not an option: perform_in and perform_at say when a job is due; with "
            "Client.push, the field 'at' of the item does"
        )
    guess = "." if close is None else f"; did you mean {close!r}?"
    if name in _LACKING:
        guess = f": {_LACKING[name]}; docs/limits.md says what to do instead."
    return f"{name!r} is not an option{guess} A field of your own goes into {EXTRA}={{...}}"
