"""The options of a job: the payload fields that its author sets, and their validation."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import get_args

from jobd.errors import MAX_SECONDS, ArgumentError
from jobd.text.spelling import LOOSE, NEAR, meant
from jobd.wire import attachments
from jobd.wire.arguments import refuse_foreign
from jobd.wire.attachments import OnConflict, Until
from jobd.wire.pushed import TEXTS

DEFAULT_QUEUE = "default"

STALLED_AFTER = "stalled_after"
"""The option by which a running job that reports no progress counts as stalled."""

DEFAULTS: Mapping[str, object] = {"retry": True, "queue": DEFAULT_QUEUE}
"""Default options of a job, and of every push by name."""

CALL_FIELDS = frozenset(
    {
        *("class", "args", "kwargs", "jid", "created_at", "enqueued_at", "at"),
        *("error_message", "error_class", "error_backtrace"),
        *("failed_at", "retried_at", "retry_count", "crashes", "recovered_from", attachments.FIELD),
    }
)
"""Fields of one call or its history, which are not options."""

EXTRA = "extra"
"""Option that holds fields unknown to jobd: those of the application and of middleware."""

_ELSEWHERE = {
    "name": "it is how the job is registered; give it to @job or to the class",
    "timeout": "it is part of the job, not of its payload; give it to @job or to the class",
    "retry_in": "it is a function, which no payload carries; give it to @job or to the class",
    "on_exhausted": "it is a function, which no payload carries; give it to @job or to the class",
    "unique_by": "it is about the signature of the job; give it to @job or to the class",
    "on_cancel": "it is a function, which no payload carries; give it to @job or to the class",
    "cancellable": "it is part of the job, not of its payload; give it to @job or to the class",
    "at": "use perform_at or perform_in; with Client.push it is a field of the item",
    "spread": "perform_bulk takes it; with Client.push_bulk it is called spread_interval",
    "spread_interval": "Client.push_bulk takes it",
}
"""Names that belong elsewhere, with the hint to show."""

_WRONG_WORDS = {
    **dict.fromkeys(("retries", "max_retries", "max_attempts"), "retry"),
    **dict.fromkeys(("retry_delay", "retry_backoff", "default_retry_delay"), "retry_in"),
    **dict.fromkeys(("time_limit", "soft_time_limit", "job_timeout"), "timeout"),
    "on_failure": "on_exhausted",
    "crontab": "cron",
    **dict.fromkeys(("expires", "ttl"), attachments.EXPIRES_IN),
    "queue_name": "queue",
    "spread": "spread_interval",  # of an item only: it is called spread elsewhere
}
"""Names from other tools, and jobd's names for them."""

_WHEN = frozenset({"countdown", "eta", "delay", "wait", "wait_until", "run_at"})
"""Other tools' names for the time of a job. Also refused in a push by name: the job would run at
once."""

_LACKING = {
    "priority": "jobs have no priority, but queues can",
    "rate_limit": "rate limits are not supported",
}
"""Options of other tools for features that jobd lacks. Some Ruby gems use them as fields."""

_INSTEAD = {
    **dict.fromkeys(("lock", "unique_jobs", "once"), "use unique=True"),
    **dict.fromkeys(
        ("ignore_result", "store_result", "store_results", "result_ttl"), "use keep_result=SECONDS"
    ),
    **dict.fromkeys(("depends_on", "link", "link_error"), "use a workflow, see docs/workflows.md"),
    **dict.fromkeys(
        ("autoretry_for", "dont_autoretry_for", "retry_kwargs", "throws"),
        "every exception is retried, unless retry_in returns KILL or DISCARD for it",
    ),
    **dict.fromkeys(
        ("acks_late", "reject_on_worker_lost"),
        "a job is always kept until it has ended, and runs again if its worker dies",
    ),
    "bind": "the job that runs is current_job()",
    "headers": "context variables named by carry travel with the job, see docs/jobs.md",
    **dict.fromkeys(("task_id", "job_id"), "the push returns the id of the job"),
    **dict.fromkeys(
        ("cron", "every", "tz", "catch_up", "grace", "overlap", "jitter"),
        "it says when a job is pushed by itself: give it to @job or to the class",
    ),
}
"""Options of other tools, and what to use here; also fields of some Ruby gems."""

LONGEST = 366 * 86400
"""Seconds for which a lock or a result may be kept."""

QUEUE_NAME = re.compile(r"[A-Za-z0-9_:.\-]+")


def check_queue(name: object) -> str:
    """*name*, if it is a valid queue name; raises ArgumentError otherwise."""
    if type(name) is not str or not name:
        raise ArgumentError(f"queue must be a non-empty string, not {name!r}")
    if not QUEUE_NAME.fullmatch(name):
        raise ArgumentError(
            f"queue {name!r} cannot be shown by dashboards: use only the letters A-Z and a-z, "
            "digits and the characters _ : . -"
        )
    return name


def check_options(options: Mapping[str, object]) -> None:
    """Refuse invalid options.

    Raises:
        ArgumentError: names the option, its value and what is allowed.
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
        raise ArgumentError(f"{key} must be True, False or a number of at least 0, not {value!r}")


def _check_retry(key: str, value: object) -> None:
    if value is not None:  # Sidekiq writes null if the class does not set it
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
    """*value*, if it is a valid duration; raises ArgumentError otherwise."""
    if (type(value) is int or type(value) is float) and 0 < value <= MAX_SECONDS:
        return value
    raise ArgumentError(
        f"{key} must be a number of seconds above 0 and up to {MAX_SECONDS:,}, not {value!r}"
    )


def _check_duration(key: str, value: object) -> None:
    check_seconds(key, value)
    if key != attachments.EXPIRES_IN and value > LONGEST:  # type: ignore[operator]
        raise ArgumentError(f"{key} must be at most {LONGEST:,} s (a year), not {value!r}")


def _one_of(choices: object) -> Callable[[str, object], None]:
    words = get_args(choices)

    def check(key: str, value: object) -> None:
        if value not in words:
            raise ArgumentError(f"{key} must be one of {', '.join(words)}, not {value!r}")

    return check


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
    "unique": _check_flag,
    "unique_until": _one_of(Until),
    "on_conflict": _one_of(OnConflict),
    **dict.fromkeys(attachments.DURATIONS, _check_duration),
    STALLED_AFTER: check_seconds,
}


KNOWN = CALL_FIELDS | _OPTION_RULES.keys()
"""The payload fields that jobd knows."""

OPTIONS = (
    *_OPTION_RULES,
    *("timeout", "retry_in", "on_exhausted", "unique_by", "on_cancel", "cancellable"),
    EXTRA,
)
"""Names of the options of a job, except ``name``."""
_ITEM = (*OPTIONS, "class", "args", "kwargs", "spread_interval")
"""Names to suggest in a push by name, without the shorter fields of an item, which resemble too
many names."""


def merged(options: Mapping[str, object], given: Mapping[str, object]) -> dict[str, object]:
    """*options* updated with *given*, in the form of the payload; None means not given.

    Raises:
        ArgumentError: an option is unknown or has an invalid value.
    """
    new = {key: value for key, value in given.items() if value is not None}
    extra = _extra(new.pop(EXTRA, {}))
    for name in new.keys() - KNOWN:
        raise ArgumentError(
            _unknown(name, _meant(name, (*OPTIONS, "name", "cron", "every"), LOOSE))
        )
    if isinstance(tags := new.get("tags"), tuple):
        new["tags"] = list(tags)
    for name in ("retry_for", STALLED_AFTER, *attachments.DURATIONS):
        if isinstance(seconds := new.get(name), timedelta):
            new[name] = seconds.total_seconds()
    window = new.get("retry_for")
    if isinstance(window, float) and math.isfinite(window):
        new["retry_for"] = math.ceil(window)
    new.update(extra)
    check_options(new)
    return {**options, **new}


def opened(item: Mapping[str, object]) -> dict[str, object]:
    """The payload fields of a push by name, with those of ``extra`` at the top level.

    As in Sidekiq, unknown fields are accepted, unless the name looks like a typing error.

    Raises:
        ArgumentError: a name looks like a typing error, or belongs elsewhere.
    """
    fields = dict(item)
    extra = _extra(fields.pop(EXTRA, {}))
    for name in fields.keys() - KNOWN:
        close = _meant(name, _ITEM, NEAR) if type(name) is str else None
        if close is not None or name in _ELSEWHERE or name in _WHEN:
            raise ArgumentError(_unknown(name, close))
    return {**fields, **extra}


def _extra(extra: object) -> Mapping[str, object]:
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
            f"{name!r} is not an option: use perform_in or perform_at to set when a job is due, or "
            "with Client.push the field 'at' of the item"
        )
    guess = "." if close is None else f"; did you mean {close!r}?"
    if name in _LACKING:
        guess = f": {_LACKING[name]}; see docs/limits.md for alternatives."
    if name in _INSTEAD:
        guess = f"; {_INSTEAD[name]}."
    return f"{name!r} is not an option{guess} A field of your own goes into {EXTRA}={{...}}"
