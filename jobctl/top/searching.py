"""What is typed after ``/``: the filters of jobctl in one line."""

from __future__ import annotations

import re
from typing import Any

from jobctl.data.filters import Filters, seconds_of
from jobd.errors import ArgumentError

HINT = "text, or class:NAME queue:NAME error:TEXT tag:TAG arg:VALUE older:2h newer:15m"

_NAMES = {
    "class": "class_name",
    **{name: name for name in ("queue", "error", "tag", "arg", "group", "older", "newer")},
}
_WORD = re.compile(r'([a-z]+):("[^"]*"|\S*)|\S+')


def filters_of(line: str) -> Filters:
    """The filters of a line; what names none of them is one text that the JSON has.

    Raises:
        ArgumentError: a length of time is none, or a filter stands there without a value.

    >>> filters_of('class:Mail newer:1h').class_name, filters_of('class:Mail newer:1h').newer
    ('Mail', 3600.0)
    >>> filters_of('error:"no user" jane doe').error, filters_of('a: b').match
    ('no user', 'a: b')
    """
    given: dict[str, Any] = {}
    rest: list[str] = []
    for word in _WORD.finditer(line):
        name = _NAMES.get(word[1] or "")
        if name is None:
            rest.append(word[0])
            continue
        value = word[2].strip('"')
        if not value:
            raise ArgumentError(f"{word[1]}: needs a value, as in {word[1]}:VALUE")
        given[name] = seconds_of(value) if name in ("older", "newer") else value
    if rest:
        given["match"] = " ".join(rest)
    return Filters(**given)
