"""What the lists have in common: which part of a list is asked for, and the finds of a search."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.datastructures import FormData, QueryParams
from starlette.requests import Request

from jobd.api import Page, Scan
from jobd.api.reading import unsigned
from jobd.text.translatable import Text
from jobd.web.http_errors import Refusal
from jobd.web.job_address import PAGES
from jobd.web.request import state_of, url
from jobd.web.views.present import clip
from jobd.web.views.rows import Row
from jobd.web.views.search import for_tag

COUNTS = (25, 50, 100)
"""Entries that a page may have."""

FRESH = 1.5
"""Seconds for which everybody sees the same page of a list."""

FIRST, NEXT = 0.08, 0.4
"""Seconds that the first answer to a search may take, and each one that goes on with it."""

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of a list; what cannot be read is the beginning.

    Attributes:
        start, count: of a page.
        q: text of a search.
        cursor: where the search is; found, scanned: what it has found and looked at until there.
        other: whether the list is in the other order.
        group, error: only jobs of a group of failures; the class of its exception.
    """

    start: int
    count: int
    q: str = ""
    cursor: str = ""
    found: int = 0
    scanned: int = 0
    other: bool = False
    group: str = ""
    error: str = ""

    @classmethod
    def of(cls, given: QueryParams | FormData) -> Part:
        """That of an address or a form.

        Raises:
            Refusal: its cursor is none: what follows would be another search.
        """
        count = number_of(given.get("count"))
        return cls(
            start=number_of(given.get("start")),
            count=count if count in COUNTS else COUNTS[0],
            q=str(given.get("q", "")).strip()[:1000],
            cursor=cursor_of(given.get("cursor")),
            found=number_of(given.get("found")),
            scanned=number_of(given.get("scanned")),
            other=given.get("order") == "other",
            group=str(given.get("group", ""))[:16],
            error=str(given.get("error", ""))[:200],
        )

    @property
    def searching(self) -> bool:
        return bool(self.q or self.group)

    def query(self, **changes: object) -> dict[str, object]:
        """It as the query of an address, with *changes*; None leaves something out."""
        kept = {
            "q": self.q,
            "group": self.group,
            "error": self.error,
            "order": "other" if self.other else None,
            "count": self.count if self.count != COUNTS[0] else None,
            "start": self.start or None,
        }
        return {**kept, **changes}


@dataclass(frozen=True, slots=True)
class Finds:
    """What one request of a search has found.

    Attributes:
        rows: the finds.
        found, scanned: finds until here, and entries that have been looked at.
        size: entries that there are.
        cursor: from which it goes on; empty when everything has been looked at.
        by_itself: whether it should go on without being asked.
    """

    rows: tuple[Row, ...]
    found: int
    scanned: int
    size: int
    cursor: str
    by_itself: bool


def search(scan: Scan[R], part: Part, size: int, row: Callable[[R], Row]) -> Finds:
    """Go on with a search until there is a page of finds, or the time is over."""
    wanted = max(1, part.count - part.found)
    seconds = NEXT if part.cursor else FIRST
    rows = tuple(map(row, scan.first(wanted, seconds=seconds)))
    found = part.found + len(rows)
    return Finds(
        rows=rows,
        found=found,
        scanned=min(part.scanned + scan.scanned, size),
        size=size,
        cursor="" if scan.done else scan.cursor,
        by_itself=not scan.done and found < part.count,
    )


def remembered(
    request: Request, key: tuple[object, ...], make: Callable[[], Page[Row]]
) -> Page[Row]:
    """A page of a list as somebody else may have seen it just now."""
    return state_of(request).snapshots.get(("page", *key), FRESH, make)


def tag_url(request: Request, name: str, tag: str) -> str:
    """The address of the jobs of the set *name* that have that tag; empty where no search can say
    which."""
    if name == "work":
        return url(request, "busy", q=tag)
    kind, _, queue = name.partition(":")
    if not (wanted := for_tag(tag)):
        return ""
    if kind == "queue":
        return url(request, "queue", name=queue, q=wanted)
    return url(request, PAGES[name], q=wanted) if name in PAGES else ""


def chosen_keys(form: FormData) -> list[str]:
    """The keys of the jobs that were chosen on a page: by the button of one, or by their boxes."""
    only = str(form.get("only", ""))
    return [only] if only else [str(key) for key in form.getlist("key")][:1000]


def number_of(value: object) -> int:
    """A number of an address or a form; 0 for what is none."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


_CURSOR = re.compile(r"[0-9]{1,20}(-[0-9a-f]{16})?")


def cursor_of(value: object) -> str:
    """A cursor of an address or a form, "" for the beginning. Redis has them of 64 bits.

    Raises:
        Refusal: it is none.

    >>> cursor_of("17"), cursor_of(None)
    ('17', '')
    """
    text = str(value or "")
    if text and not (_CURSOR.fullmatch(text) and unsigned(text.partition("-")[0]) is not None):
        raise Refusal(
            Text(
                "%(cursor)s is not a cursor of a search; leave it out to start again",
                cursor=clip(text, 50),
            )
        )
    return text
