"""Failed jobs grouped by what went wrong.

After a bad deploy the retry set holds ten thousand jobs and three bugs. Jobs belong together if the
class of the exception is the same and the failure is in the same place of the application: the
first line of the backtrace that is no library's, without its number, which every deploy changes.
Jobs without a backtrace go by the first line of the message, with all numbers taken as equal.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from jobd.api.records import JobRecord, unpacked
from jobd.api.search.scans import Scan, take_steps

MOST_GROUPS = 1_000
"""Groups that are told apart; jobs of further ones are only counted."""

SAMPLES = 5
"""Ids of jobs that a group names."""

_LIBRARY = re.compile(
    r"/(?:site|dist)-packages/|/lib/python\d|/gems/|/lib/ruby/|<(?:frozen|internal|string)"
)
# Nobody knows how long a text is: each of these goes through it once. Without what looks behind and
# what gives nothing back, they would start again at each character.
_NUMBER = re.compile(r":\d++(?=:in |\Z)")
_VARIABLE = re.compile(
    r"0x[0-9a-fA-F]++|(?<![0-9a-fA-F])[a-fA-F]*+[0-9][0-9a-fA-F]*+(?:-[0-9a-fA-F]{4,}+)*+"
)
_LONGEST = 200
_REMEMBERED = 8 * 1024
"""Characters of a packed backtrace that is remembered."""


def is_library(line: str) -> bool:
    """Whether a line of a backtrace, of Python or Ruby, is in a library and not in the application.

    >>> is_library("/srv/shop/jobs.py:7:in 'f'"), is_library("/usr/lib/python3.11/json.py:1:in 'g'")
    (False, True)
    """
    return _LIBRARY.search(line) is not None


def place(record: JobRecord) -> str:
    """Where or how it failed, the same for all jobs that failed so.

    >>> place(JobRecord(b'{"error_backtrace":["app.py:7:in \\'f\\'"]}'))
    'app.py in f'
    >>> place(JobRecord(b'{"error_message":"no user 42\\\\nor so"}'))
    'no user #'
    """
    packed = record["error_backtrace"]
    if isinstance(packed, str) and len(packed) <= _REMEMBERED:
        found = _place_of(packed)
    else:
        found = _place(record.error_backtrace)
    if not found:
        message = record.error_message.partition("\n")[0][:_LONGEST]
        return _VARIABLE.sub("#", message)
    return found


@lru_cache(maxsize=1000)
def _place_of(packed: str) -> str:
    """What fails at one place has the same backtrace, to the last byte: it is unpacked once."""
    return _place(unpacked(packed))


def _place(lines: Sequence[str]) -> str:
    """Of a backtrace; empty if that is."""
    top = next((line for line in lines if not is_library(line)), lines[0] if lines else "")
    if not top:
        return ""
    number = _NUMBER.search(top, 0, 1000)
    if number is None:
        return top[:_LONGEST]
    file, rest = top[: number.start()], top[number.end() : 1000]
    function = rest.removeprefix(":in ").lstrip("`'\"").rstrip("'\"")
    return f"{file} in {function}"[:_LONGEST] if function else file[:_LONGEST]


def group_key(record: JobRecord) -> str:
    """Sixteen hexadecimal digits that stand for the group of a job, e.g. in a URL."""
    text = f"{record.error_class}\0{place(record)}"
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def in_group(key: str) -> Callable[[JobRecord], bool]:
    """What tests whether a job belongs to the group of that key; for ``scan`` and ``sweep``."""
    return lambda record: group_key(record) == key


@dataclass(slots=True)
class FailureGroup:
    """Jobs that failed in the same way.

    Attributes:
        key: stands for the group, also in other processes.
        place: where or how they failed.
        sample: the error message of one of them.
        classes: names of their jobs, and how many of each.
        count: how many have been found so far.
        first_seen, last_seen: their first and last failures, seconds since 1970; None where nobody
            noted them.
        jids: ids of some of them.
    """

    key: str
    error_class: str
    place: str
    sample: str
    classes: dict[str, int] = field(default_factory=dict)
    count: int = 0
    first_seen: float | None = None
    last_seen: float | None = None
    jids: list[str] = field(default_factory=list)

    def _add(self, record: JobRecord) -> None:
        self.count += 1
        name = record.display_class[:_LONGEST]
        if name in self.classes or len(self.classes) < SAMPLES:
            self.classes[name] = self.classes.get(name, 0) + 1
        first, last = record.failed_at, record.retried_at or record.failed_at
        if first is not None:
            self.first_seen = min(first, self.first_seen if self.first_seen is not None else first)
        if last is not None:
            self.last_seen = max(last, self.last_seen if self.last_seen is not None else last)
        if len(self.jids) < SAMPLES and record.jid and record.jid not in self.jids:
            self.jids.append(record.jid[:_LONGEST])


class FailureGroups:
    """Groups the jobs of a search, step by step, so that the first groups can be shown at once.

    Attributes:
        other: jobs of groups beyond the first 1,000.

    Example:
        >>> groups = api.retries.groups()  # doctest: +SKIP
        >>> for group in groups.run(seconds=0.1):  # doctest: +SKIP
        ...     print(group.count, group.error_class, group.place)
        >>> groups.done, groups.scanned  # doctest: +SKIP
        (False, 4210)
    """

    def __init__(self, scan: Scan[JobRecord]) -> None:
        self._scan = scan
        self._groups: dict[str, FailureGroup] = {}
        self.other = 0

    @property
    def done(self) -> bool:
        """Whether all jobs have been looked at."""
        return self._scan.done

    @property
    def scanned(self) -> int:
        """How many have been."""
        return self._scan.scanned

    def step(self) -> None:
        """Look at some more jobs; the cost is that of a step of the search.

        Raises:
            UnavailableError: the server does not answer; the step may be taken again.
        """
        for entry in self._scan.next():
            key = group_key(entry)
            group = self._groups.get(key)
            if group is None:
                if len(self._groups) >= MOST_GROUPS:
                    self.other += 1
                    continue
                group = self._groups[key] = FailureGroup(
                    key, entry.error_class[:_LONGEST], place(entry), entry.error_message[:_LONGEST]
                )
            group._add(entry)

    def run(self, seconds: float | None = None) -> list[FailureGroup]:
        """Take steps until all is done, or for about so many seconds; the groups so far."""
        take_steps(self.step, lambda: self.done, seconds)
        return self.found

    @property
    def found(self) -> list[FailureGroup]:
        """The groups so far, the largest first."""
        return sorted(self._groups.values(), key=lambda group: group.count, reverse=True)

    def __getitem__(self, key: str) -> FailureGroup:
        """The group of that key.

        Raises:
            KeyError: there is none so far.
        """
        return self._groups[key]
