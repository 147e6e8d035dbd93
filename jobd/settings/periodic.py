"""The sections ``[[periodic]]`` of the configuration: jobs that are pushed by themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jobd.errors import ArgumentError
from jobd.schedules.schedule import OPTIONS, Schedule, Written
from jobd.text.spelling import meant
from jobd.wire.options import check_options

_JOB_OPTIONS = ("queue", "retry", "tags", "dead", "retry_queue", "expires_in", "extra")
_KNOWN = ("job", "name", "args", "kwargs", "foreign", *sorted(OPTIONS), *_JOB_OPTIONS)


def read(raw: object, place: str) -> tuple[list[Written], list[str]]:
    """The sections, and what is wrong with others."""
    if not isinstance(raw, list) or not all(isinstance(one, dict) for one in raw):
        return [], [f"{place} must be sections, [[periodic]]"]
    found, problems = [], []
    for number, table in enumerate(raw, 1):
        here = f"{place} {number}"
        if isinstance(table.get("job"), str):
            here += f" ({table['job'][:100]})"
        try:
            found.append(_written(table, here))
        except ArgumentError as error:
            problems.append(f"{here}: {error}")
    return found, problems


def _written(table: Mapping[str, Any], place: str) -> Written:
    for key in table:
        if key not in _KNOWN:
            close = meant(key, _KNOWN)
            guess = f"; did you mean {close}?" if close else ""
            raise ArgumentError(f"{key} is not known here{guess}")
    job, foreign = table.get("job"), table.get("foreign", False)
    if type(job) is not str or not job:
        raise ArgumentError('job must be the class name of a job, as in job = "shop.jobs.report"')
    if type(foreign) is not bool:
        raise ArgumentError(f"foreign must be true or false, not {foreign!r}")
    kwargs = table.get("kwargs", {})
    if type(kwargs) is not dict:
        raise ArgumentError(f"kwargs must be a table, not {kwargs!r}")
    if not isinstance(table.get("cron", ""), str):
        raise ArgumentError(
            f"cron must be text, not {table['cron']!r}; write a section for each line"
        )
    times = {key: table[key] for key in (*OPTIONS, "args", "name") if key in table}
    options = {key: table[key] for key in _JOB_OPTIONS if key in table}
    extra = options.pop("extra", {})
    if type(extra) is not dict:
        raise ArgumentError(f"extra must be a table, not {extra!r}")
    check_options(options)
    if extra:
        options["extra"] = extra
    try:
        source = json.dumps(table, sort_keys=True)
    except TypeError as error:  # dates of TOML
        raise ArgumentError(f"a value is not JSON: {error}") from None
    return Written(job, Schedule(**times, kwargs=kwargs), source, options, foreign, place)
