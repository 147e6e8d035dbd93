"""The options of a job: payload fields that its author chooses, and what they may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from jobd.arguments import refuse_foreign
from jobd.errors import ArgumentError
from jobd.pushed import TEXTS

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

_QUEUE_NAME = re.compile(r"[A-Za-z0-9_:.\-]+")


def check_queue(name: object) -> str:
    """*name* if it is a queue's name, else ArgumentError."""
    if type(name) is not str or not name:
        raise ArgumentError(f"queue must be a non-empty string, not {name!r}")
    if not _QUEUE_NAME.fullmatch(name):
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
            raise ArgumentError(f"{key!r} is no option: jobd writes this field of the payload")
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


def merged(options: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """*given* over *options*, in their wire forms; None means not given.

    Raises:
        ArgumentError: an option holds what it may not hold.
    """
    new = {key: value for key, value in given.items() if value is not None}
    if isinstance(new.get("tags"), tuple):
        new["tags"] = list(new["tags"])
    window = new.get("retry_for")
    if isinstance(window, timedelta):
        window = window.total_seconds()
    if isinstance(window, float) and math.isfinite(window):
        window = math.ceil(window)
    if window is not None:
        new["retry_for"] = window
    check_options(new)
    return {**options, **new}
